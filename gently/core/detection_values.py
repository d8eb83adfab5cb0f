"""Detections as values: what is asked for, where it stands, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from pydantic import JsonValue

from gently.core.errors import FieldError, GentlyError, WrongStateError
from gently.detector_child import Finding, View
from plans import UnansweredError
from storage import LABELS, VolumeRecord

__all__ = [
    "DetectionNotFoundError",
    "DetectionRecord",
    "DetectionRefusedError",
    "DetectionRequest",
    "DetectionState",
    "DetectorBusyError",
    "LookFailedError",
    "SharpestFailedError",
]


class DetectionNotFoundError(GentlyError):
    """There is no such detection."""


class SharpestFailedError(GentlyError, UnansweredError):
    """The pictures of a sweep could not be looked at; says why."""


class LookFailedError(GentlyError):
    """A volume could not be looked at; says why."""


class DetectorBusyError(WrongStateError):
    """As many detections wait as may."""


class DetectionRefusedError(GentlyError):
    """A request that no detector could answer; names every field at fault."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = errors


class DetectionState(StrEnum):
    """Where a detection stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_UNENDED: Final = frozenset({DetectionState.QUEUED, DetectionState.RUNNING})


@dataclass(frozen=True, kw_only=True)
class DetectionRequest:
    """What is asked for.

    Parameters
    ----------
    source_uid
        Of the volume.
    detector
        A name of `gently.detection.KINDS`.
    view
        Which picture of the volume.
    settings
        For the detector.
    session_id
        In which objects keep their names; empty takes that of the volume.
    item_uid
        Of the plan that asks, if one does.
    timeout_s
        After which it fails, wherever it stands.
    """

    source_uid: str
    detector: str = "classical"
    view: View = field(default_factory=View)
    settings: Mapping[str, JsonValue] = field(default_factory=dict)
    session_id: str = ""
    item_uid: str = ""
    timeout_s: float = 120.0


@dataclass(frozen=True, kw_only=True)
class DetectionRecord:
    """A detection, how far it has come, and what came of it.

    Attributes
    ----------
    uid
        Its own, and that of its label image.
    time_queued, time_started, time_stopped
        Seconds since 1970; None where it is not known, or has not come yet.
    error
        Why it failed.
    finding, path
        What was found, and the file of the label image; once it is completed.
    """

    uid: str
    request: DetectionRequest
    state: DetectionState = DetectionState.QUEUED
    time_queued: float | None = None
    time_started: float | None = None
    time_stopped: float | None = None
    error: str = ""
    finding: Finding | None = None
    path: Path | None = None

    @classmethod
    def of(cls, labels: VolumeRecord) -> Self:
        """Read a completed one from its label image; raises ValueError if it is of another kind."""
        finding = Finding.model_validate(labels.spec.metadata.get(LABELS))
        return cls(
            uid=labels.uid,
            request=DetectionRequest(
                source_uid=finding.source_uid,
                detector=finding.asked,
                view=finding.view,
                settings=finding.settings,
                session_id=labels.session_id,
                item_uid=labels.spec.item_uid,
            ),
            state=DetectionState.COMPLETED,
            time_stopped=labels.created.timestamp(),
            finding=finding,
            path=labels.path,
        )

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state not in _UNENDED

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        request, finding = self.request, self.finding
        left_out = {"source_uid", "view", "settings", "asked"}
        return {
            "detection_uid": self.uid,
            "state": str(self.state),
            "source_uid": request.source_uid,
            "detector": request.detector,
            **request.view.model_dump(),
            "settings": dict(request.settings),
            "session_id": request.session_id,
            "item_uid": request.item_uid,
            "time_queued": self.time_queued,
            "time_started": self.time_started,
            "time_stopped": self.time_stopped,
            "error": self.error,
            "result": None
            if finding is None
            else {**finding.model_dump(mode="json", exclude=left_out), "path": str(self.path)},
        }

    def summary(self) -> dict[str, Any]:
        """Return it as events tell it: without the table."""
        objects = self.finding.objects if self.finding else ()
        return {
            "detection_uid": self.uid,
            "state": str(self.state),
            "source_uid": self.request.source_uid,
            "item_uid": self.request.item_uid or None,
            "error": self.error,
            "objects": len(objects),
            "certain": sum(each.certain for each in objects),
        }
