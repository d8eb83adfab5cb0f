"""The finder: it finds objects in volumes that were taken. It moves nothing."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from devices.base import ActionStatus, HardwareDevice
from devices.core import Core
from devices.errors import AcquisitionError, LimitError
from devices.model import DeviceModel, Models
from devices.pace import Line, Pace

__all__ = ["FindRequest", "Finder", "Projection", "Search"]

Projection = Literal["max", "mean"]
_FIRST_S = 3.0
"""What a search takes, until one was made."""


@dataclass(frozen=True, kw_only=True)
class FindRequest:
    """In which volume, and how, is to be looked for objects.

    Parameters
    ----------
    uid
        Of the volume.
    detector
        Who looks.
    plane, projection
        The slice, or None and what is made of all slices.
    settings
        For the detector.
    timeout_s
        After which the search fails.
    """

    uid: str
    detector: str = "classical"
    plane: int | None = None
    projection: Projection = "max"
    settings: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 120.0


class Search(Protocol):
    """Something that is being looked for."""

    @property
    def outcome(self) -> "Future[Mapping[str, Any]]":
        """What was found: `detection_uid`, and `objects` as plain values; or why nothing was."""
        ...

    def cancel(self) -> None:
        """Give it up; returns at once, and `outcome` comes soon."""
        ...


class Finder(HardwareDevice):
    """Finds objects: `prepare` with a `FindRequest`, then `trigger`.

    Parameters
    ----------
    detectors
        The names of those who can be asked.
    search
        Begins a search, and returns at once.
    """

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        detectors: tuple[str, ...],
        search: Callable[[FindRequest], Search],
    ) -> None:
        super().__init__(name, core=core, label=name)
        self.pace = Pace(Line(_FIRST_S))
        """For how long a search takes."""
        self._detectors = detectors
        self._search = search
        self._request: FindRequest | None = None
        self._under_way: Search | None = None
        self._found: Mapping[str, Any] = {}

    def check_prepare(self, request: FindRequest) -> None:
        """Raise `LimitError` if nobody could look like this."""
        if request.detector not in self._detectors:
            raise LimitError(
                f"{self.name} has no detector {request.detector!r}; choose from: "
                f"{', '.join(self._detectors)}",
                field="detector",
            )

    def prepare(self, request: FindRequest) -> ActionStatus:
        """Take note of what is to be looked for."""
        self.check_prepare(request)
        self._request = request
        status = ActionStatus(self)
        status.set_finished()
        return status

    def trigger(self) -> ActionStatus:
        """Begin the search; the status is done when it has ended. Gives up one under way."""
        if self._request is None:
            raise self.unprepared()
        self._give_up()
        status, began = ActionStatus(self), time.monotonic()
        search = self._under_way = self._search(self._request)

        def end(outcome: "Future[Mapping[str, Any]]") -> None:
            is_wanted, error = self._under_way is search, outcome.exception()
            if is_wanted and error is not None:
                status.set_exception(error)
                return
            if is_wanted:
                self._under_way, self._found = None, outcome.result()
                self.pace.learn(0, time.monotonic() - began)
            status.set_finished()

        search.outcome.add_done_callback(end)
        return status

    def found(self, detection_uid: str) -> Mapping[str, Any]:
        """Return what the latest search has found, if it is this one; else that there is nothing.

        A plan asks by the uid that it has read, so that in a preflight, where nothing was looked
        for, nothing is found.
        """
        if detection_uid and self._found.get("detection_uid") == detection_uid:
            return self._found
        return {"detection_uid": detection_uid, "objects": []}

    def unprepared(self) -> AcquisitionError:
        """Return why it cannot be triggered before it was prepared."""
        return AcquisitionError(f"{self.name} was triggered before it was prepared")

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data keys: the uid of the detection, and how many objects there are."""
        return {
            f"{self.name}_detection": self._key("", "string"),
            f"{self.name}_objects": self._key("", "integer"),
        }

    def unstage(self) -> list[Any]:
        """Give up what is under way."""
        self._request = None
        self._give_up()
        unstaged: list[Any] = super().unstage()
        return unstaged

    def stop(self, *, success: bool = False) -> None:  # noqa: ARG002 - bluesky's signature
        """Give up what is under way."""
        self._give_up()

    def check_value(self, value: Any) -> None:
        """Refuse: a finder is prepared and triggered, not set."""
        raise LimitError(f"{self.name} cannot be set to {value!r}", field=self.name)

    def model(self, models: Models) -> "FinderModel":
        """Return a model that finds nothing."""
        return FinderModel(self, models)

    @property
    def pace_source(self) -> str:
        """Where the times of its searches come from."""
        return f"a search: {self.pace.source}"

    def _give_up(self) -> None:
        search, self._under_way = self._under_way, None
        if search is not None:
            search.cancel()

    def _read_hardware(self) -> Mapping[str, Any]:
        return {
            f"{self.name}_detection": self._found.get("detection_uid", ""),
            f"{self.name}_objects": len(self._found.get("objects", ())),
        }


class FinderModel(DeviceModel):
    """A finder that finds nothing: what there is to be found is known only when it was taken."""

    if TYPE_CHECKING:
        device: Finder

    def __init__(self, device: Finder, models: Models) -> None:
        super().__init__(device)
        self._models = models
        self._is_prepared = False

    def read(self) -> dict[str, Any]:
        """Return that nothing was found."""
        return {f"{self.device.name}_detection": "", f"{self.device.name}_objects": 0}

    def prepare(self, value: FindRequest) -> float:
        """Take note of what is to be looked for."""
        self._is_prepared = True
        self.device.check_prepare(value)
        return 0.0

    def trigger(self) -> float:
        """Find nothing, in the time that finding takes."""
        if not self._is_prepared:
            raise self.device.unprepared()
        self._models.complaints.append(
            f"what {self.device.name} finds is known only then, so what the plan does with it was "
            "not checked"
        )
        return max(0.0, self.device.pace.seconds(0))

    def unstage(self) -> None:
        """Forget what was to be looked for."""
        self._is_prepared = False
