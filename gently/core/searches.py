"""Searches: detections that a plan asks for, as the finder wants them."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from devices import FindRequest
from gently.core.detection_values import DetectionRecord, DetectionRequest
from gently.core.detections import Detections
from gently.core.errors import GentlyError, WrongStateError
from gently.core.items import Item
from gently.detector_child import View

__all__ = ["SearchFailedError", "Searches"]


class SearchFailedError(GentlyError):
    """A detection that a plan has asked for has not succeeded; says why."""


class Searches:
    """Begins searches for plans.

    Parameters
    ----------
    detections
        Where they are carried out.
    running
        Returns the item that runs, if one does.
    """

    def __init__(self, detections: Detections, running: Callable[[], Item | None]) -> None:
        self._detections = detections
        self._running = running

    def __call__(self, request: FindRequest) -> "_Search":
        """Begin one; raises what `Detections.submit` does."""
        item = self._running()
        return _Search(
            self._detections,
            DetectionRequest(
                source_uid=request.uid,
                detector=request.detector,
                view=View(plane=request.plane, projection=request.projection),
                settings=request.settings,
                item_uid=item.item_uid if item else "",
                timeout_s=request.timeout_s,
            ),
        )


class _Search:
    """One detection, which its plan waits for."""

    def __init__(self, detections: Detections, request: DetectionRequest) -> None:
        self.outcome: Future[Mapping[str, Any]] = Future()
        self._detections = detections
        self._uid = detections.submit(request, self._end).uid

    def cancel(self) -> None:
        with suppress(WrongStateError):  # it has just ended
            self._detections.cancel(self._uid)

    def _end(self, record: DetectionRecord) -> None:
        if record.finding is None:
            problem = f"detection {record.uid} {record.state}: {record.error}"
            self.outcome.set_exception(SearchFailedError(problem))
            return
        objects = [each.model_dump(mode="json") for each in record.finding.objects]
        self.outcome.set_result({"detection_uid": record.uid, "objects": objects})
