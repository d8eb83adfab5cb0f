"""The focus in the middle of a time-lapse: looked for now and then, and never in its way."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import bluesky.plan_stubs as bps
from bluesky.utils import FailedStatus, MsgGenerator

from devices import (
    AcquisitionError,
    Dose,
    DoseError,
    Labels,
    LightSheet,
    LimitError,
    ViewName,
    VolumeRequest,
)
from plans.focus import Focuser, focus_request
from plans.messages import UnansweredError, alike
from plans.schedule import Course

__all__ = ["Refocus"]

_SWEEP_UM: Final = (15.0, 5.0)
_METRIC: Final = "vollath_f4"


@dataclass
class _Tally:
    """What came of the focus of one embryo."""

    num_tried: int = 0
    num_refused: int = 0
    last: dict[str, Any] = field(default_factory=dict)
    at: int | None = None
    """The time point before which it was looked for last."""


class Refocus:
    """Looks for the focus before every so-many-th time point of an embryo.

    Where the sheet has drifted the calibration is corrected, as `focus` does; the slice drive is
    back where it was afterwards. A focus that is refused, or could not be looked for, changes
    nothing and stops nothing.

    Parameters
    ----------
    every
        How many time points are between; None never looks.
    light_sheet
        Whose.
    request
        For a volume of the time-lapse: its sides, its exposure, its first line and its power.

    Raises
    ------
    LimitError
        If there is no sheet that could have drifted.
    """

    def __init__(self, every: int | None, light_sheet: LightSheet, request: VolumeRequest) -> None:
        if every is not None and not light_sheet.has_sheet:
            raise LimitError(
                f"the light of {light_sheet.name} is no sheet that could drift; leave "
                "num_points_per_focus out",
                field="num_points_per_focus",
            )
        self._every = every
        self._light_sheet = light_sheet
        self._request = request
        self._tallies: dict[str, _Tally] = {}

    def before(self, course: Course) -> MsgGenerator[None]:
        """Look for the focus if that is due before the next time point of an embryo."""
        if not self._is_due(course):
            return
        tally = self._tallies.setdefault(course.name, _Tally())
        tally.at = course.time_point
        for view in self._request.views:
            focuser = self._focuser(course, view)
            found = yield from alike(("focus", course.name, view), partial(self._go, focuser))
            if found is not None:
                tally.num_tried += 1
                tally.num_refused += found["quality"] == "refused"
                tally.last[view] = found

    def dose(self, course: Course) -> Dose:
        """Return the light that this takes before the next time point of an embryo."""
        if not self._is_due(course):
            return Dose()
        return sum((self._focuser(course, view).dose for view in self._request.views), Dose())

    def report(self, name: str) -> dict[str, Any]:
        """Return what is told of an embryo's focus in the end; nothing if it was not asked for."""
        tally = self._tallies.get(name)
        if tally is None:
            return {}
        counted = {"num_tried": tally.num_tried, "num_refused": tally.num_refused}
        return {"focus": {**counted, "last": tally.last}}

    def _is_due(self, course: Course) -> bool:
        if self._every is None or course.time_point % self._every:
            return False
        tally = self._tallies.get(course.name)
        return tally is None or tally.at != course.time_point  # else the point is taken again

    def _focuser(self, course: Course, view: ViewName) -> Focuser:
        request = focus_request(
            self._request.exposure_ms, view, self._request.line, self._request.power_percent
        )
        request = replace(request, labels=Labels(embryo=course.name))
        return Focuser(self._light_sheet, [], request, _METRIC, *_SWEEP_UM)

    def _go(self, focuser: Focuser) -> MsgGenerator[dict[str, Any]]:
        """Look for the focus of one side, and come back."""
        was_um = yield from focuser.where()
        try:
            found = yield from focuser.go()
        except UnansweredError as error:
            found = _refused(str(error))
        except FailedStatus as error:
            cause = error.args[0].exception()
            if not isinstance(cause, AcquisitionError | DoseError):
                raise
            yield from bps.close_run(exit_status="fail", reason=str(cause))
            found = _refused(str(cause))
        yield from bps.mv(focuser.drive, was_um)
        return {key: found[key] for key in ("quality", "offset_um", "calibration_uid", "reason")}


def _refused(reason: str) -> dict[str, Any]:
    return {"quality": "refused", "offset_um": None, "calibration_uid": "", "reason": reason}
