"""The calibration of piezo and galvo: at which angle the sheet lies in the focal plane."""

from dataclasses import dataclass
from statistics import linear_regression
from typing import Annotated, Any, Literal

import bluesky.plan_stubs as bps
from bluesky.utils import Msg, MsgGenerator
from pydantic import Field

from devices import LightSheet, Stage
from plans.focus import Focuser, Metric, focus_request
from plans.messages import calibrate
from plans.parameters import (
    ExposureMs,
    LineParameter,
    PowerParameter,
    SideParameter,
    all_devices,
    inject,
)

__all__ = ["calibrate_piezo_galvo"]

_SLOPES = (80.0, 120.0)
_GOOD_UM = 0.5
_MODERATE_UM = 1.0


def calibrate_piezo_galvo(
    span_um: Annotated[
        float, Field(ge=0.1, le=200, description="From one edge to the other, in µm.")
    ] = 12.0,
    range_um: Annotated[
        float,
        Field(ge=0.1, le=100, description="How far to both sides the focus is looked for, in µm."),
    ] = 15.0,
    step_um: Annotated[float, Field(ge=0.1, le=100, description="The steps of that, in µm.")] = 2.5,
    exposure_ms: ExposureMs = 5.0,
    metric: Metric = "vollath_f4",
    view: SideParameter = "a",
    line: LineParameter = None,
    power_percent: PowerParameter = None,
    purpose: Annotated[
        Literal["calibrate", "check"],
        Field(description="Calibrate, or only see how far what is used has drifted."),
    ] = "calibrate",
    valid_s: Annotated[
        float,
        Field(ge=60, le=31_536_000, description="For how long the calibration may be used, in s."),
    ] = 86_400.0,
    light_sheet: LightSheet = inject("light_sheet"),
    stages: list[Stage] = all_devices(),
) -> MsgGenerator[dict[str, Any]]:
    """Find how piezo and galvo belong together, in the middle and at both edges of the sample.

    ``piezo_um = slope_um_per_deg · galvo_deg + offset_um``. Where the focus is refused, or the
    three places lie on no line, nothing is changed.

    Returns
    -------
    dict
        ``{quality, slope_um_per_deg, offset_um, residual_um, drift_um, reason, uid, points}``:
        `quality` is good, moderate or refused; `drift_um` how far the calibration that was used so
        far is off, at most; `uid` of the new one, empty if none was kept; `points` each with
        ``galvo_deg``, ``piezo_um`` and ``r2``.
    """
    request = focus_request(exposure_ms, view, line, power_percent)
    focuser = Focuser(light_sheet, stages, request, metric, range_um, step_um)
    was_um = yield from focuser.where()
    points: list[_Point] = []
    for away_um in (0.0, -span_um / 2, span_um / 2):
        # The edges are where they are to be by what the middle has told.
        place_um = was_um + away_um - (points[0].drift_um if points else 0.0)
        yield Msg("checkpoint")
        found = yield from focuser.around(place_um)
        if found["best_um"] is None:
            yield from bps.mv(focuser.drive, was_um)
            return _refused(points, f"no focus at {place_um:g} µm: {found['reason']}")
        deg = light_sheet.galvo_deg(view, place_um)
        points.append(_Point(deg, found["best_um"], found["r2"], found["best_um"] - place_um))
    yield from bps.mv(focuser.drive, was_um)
    told = _judged(points)
    if told["quality"] == "refused" or purpose == "check":
        return told
    uid = yield from calibrate(light_sheet, view, told, valid_s)
    return {**told, "uid": uid}


@dataclass(frozen=True)
class _Point:
    """One place at which the focus was found."""

    galvo_deg: float
    piezo_um: float
    r2: float
    drift_um: float

    def message(self) -> dict[str, float]:
        return {"galvo_deg": self.galvo_deg, "piezo_um": self.piezo_um, "r2": self.r2}


def _judged(points: list[_Point]) -> dict[str, Any]:
    """Fit a line, and say whether it is one."""
    slope, offset = linear_regression([p.galvo_deg for p in points], [p.piezo_um for p in points])
    off_um = max(abs(p.piezo_um - slope * p.galvo_deg - offset) for p in points)
    told = {
        "quality": "good" if off_um <= _GOOD_UM else "moderate",
        "slope_um_per_deg": slope,
        "offset_um": offset,
        "residual_um": off_um,
        "drift_um": max(abs(p.drift_um) for p in points),
        "reason": "",
        "uid": "",
        "points": [point.message() for point in points],
    }
    if off_um > _MODERATE_UM:
        reason = f"the places are {off_um:.2f} µm off a line, and may be {_MODERATE_UM:g} µm"
    elif not _SLOPES[0] <= slope <= _SLOPES[1]:
        low, high = _SLOPES
        reason = f"{slope:.1f} µm/deg is no slope of such a microscope: {low:g} to {high:g} are"
    else:
        return told
    return {**told, "quality": "refused", "reason": reason}


def _refused(points: list[_Point], reason: str) -> dict[str, Any]:
    names = ("slope_um_per_deg", "offset_um", "residual_um", "drift_um")
    told = dict.fromkeys(names)
    found = [point.message() for point in points]
    return {"quality": "refused", **told, "reason": reason, "uid": "", "points": found}
