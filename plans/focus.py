"""Focus: the place of the slice drive at which the light sheet is seen sharpest."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator
from pydantic import Field

from devices import Dose, LightSheet, Stage, ViewName, VolumeRequest
from plans.acquisition import take_volume
from plans.messages import calibrate, sharpest
from plans.parameters import (
    ExposureMs,
    LineParameter,
    PowerParameter,
    SideParameter,
    all_devices,
    inject,
)

__all__ = ["Focuser", "Metric", "focus"]

Metric = Annotated[
    Literal["vollath_f4", "tenengrad", "variance", "band_pass"],
    Field(description="By which sharpness is measured."),
]
_FINE_UM = (3.0, 0.5)
_EXTENT_UM = (24.0, 3.0)
_LEAST_UM = 0.1
_MOST_UM = 5.0
"""What a sheet drifts by. It is no drift what is less, nor what is more: that asks for a slope."""


def focus(
    range_um: Annotated[
        float,
        Field(ge=0.1, le=100, description="How far to both sides the first sweep goes, in µm."),
    ] = 15.0,
    step_um: Annotated[float, Field(ge=0.1, le=100, description="Its steps, in µm.")] = 5.0,
    exposure_ms: ExposureMs = 5.0,
    metric: Metric = "vollath_f4",
    view: SideParameter = "a",
    line: LineParameter = None,
    power_percent: PowerParameter = None,
    light_sheet: LightSheet = inject("light_sheet"),
    stages: list[Stage] = all_devices(),
) -> MsgGenerator[dict[str, Any]]:
    """Find where the light sheet is seen sharpest, and leave the slice drive there.

    The sheet stays where it is while the focal plane sweeps: first far, then ±3 µm by 0.5 µm. Where
    the sheet has drifted, by 0.1 to 5 µm, the offset of its calibration is corrected.

    Returns
    -------
    dict
        ``{quality, best_um, offset_um, r2, width_um, reason, at_um, uids, calibration_uid}``:
        `quality` is good, moderate or refused. Refused, the drive is back where it was. `offset_um`
        is from where it was, `at_um` where it is, `uids` the sweeps. `calibration_uid` is of the
        calibration whose offset was corrected by a good focus; empty where that was not needed, or
        is too far off.
    """
    request = focus_request(exposure_ms, view, line, power_percent)
    focuser = Focuser(light_sheet, stages, request, metric, range_um, step_um)
    return (yield from focuser.go())


def focus_request(
    exposure_ms: float, view: ViewName, line: str | None, power_percent: float | None
) -> VolumeRequest:
    """Return what asks for pictures of one side, wherever they are to be taken."""
    return VolumeRequest(
        num_slices=1,
        exposure_ms=exposure_ms,
        step_um=0.0,
        view=view,
        line=line or "",
        power_percent=power_percent,
    )


@dataclass(frozen=True)
class Focuser:
    """Sweeps the focal plane of one side through its sheet, far and then near.

    Parameters
    ----------
    light_sheet, stages
        Which sweeps, and what is read with it.
    request
        For any picture of the side.
    metric
        What is measured of each picture.
    range_um, step_um
        Of the first sweep, to each side.
    """

    light_sheet: LightSheet
    stages: list[Stage]
    request: VolumeRequest
    metric: str
    range_um: float
    step_um: float

    @property
    def drive(self) -> Stage:
        """What moves the focal plane."""
        return self.light_sheet.slicer.views[self.request.views[0]].drive

    @property
    def dose(self) -> Dose:
        """The light that both sweeps take, by the power that is asked for."""
        slices = _num_slices((self.range_um, self.step_um)) + _num_slices(_FINE_UM)
        return self.light_sheet.dose(replace(self.request, num_slices=slices))

    def where(self) -> MsgGenerator[float]:
        """Return where the drive is, in µm."""
        found = yield from bps.read(self.drive)
        return float(found[self.drive.name]["value"])

    def go(self) -> MsgGenerator[dict[str, Any]]:
        """Find the focus, leave the drive there, and let the calibration follow.

        Refused, the drive is back where it was.
        """
        was_um = yield from self.where()
        found = yield from self.around(was_um)
        best_um = was_um if found["best_um"] is None else found["best_um"]
        yield Msg("checkpoint")
        yield from bps.mv(self.drive, best_um)
        uid = yield from self._corrected(found["quality"], best_um - was_um)
        told = {"offset_um": best_um - was_um, "calibration_uid": uid}
        return {**found, **told, "at_um": (yield from self.where())}

    def middle(self, center_um: float) -> MsgGenerator[dict[str, Any]]:
        """Return where the middle of what is in the middle of the picture lies on the drive."""
        uids: list[str] = []
        whole = replace(self, metric="extent")
        found = yield from whole._sweep(self.request, center_um, _EXTENT_UM, uids)
        return {**found, "uids": uids}

    def _corrected(self, quality: str, off_um: float) -> MsgGenerator[str]:
        """Correct the offset of the calibration by what it was off; its slope stays."""
        is_drift = _LEAST_UM <= abs(off_um) <= _MOST_UM
        if not (self.light_sheet.has_sheet and quality == "good" and is_drift):
            return ""
        view = self.request.views[0]
        used = self.light_sheet.calibration(view)
        told = {
            "slope_um_per_deg": used.slope_um_per_deg,
            "offset_um": used.offset_um + off_um,
            "residual_um": None,
            "drift_um": abs(off_um),
            "quality": quality,
        }
        uid = yield from calibrate(self.light_sheet, view, told, None)
        yield Msg("checkpoint")
        return uid

    def around(self, sheet_um: float) -> MsgGenerator[dict[str, Any]]:
        """Return where a sheet is seen sharpest that is calibrated to a place of the drive."""
        sheet = sheet_um if self.light_sheet.has_sheet else None
        request = replace(self.request, sheet_um=sheet)
        uids: list[str] = []
        found = yield from self._sweep(request, sheet_um, (self.range_um, self.step_um), uids)
        if found["best_um"] is not None:
            found = yield from self._sweep(request, found["best_um"], _FINE_UM, uids)
        return {**found, "uids": uids}

    def _sweep(
        self,
        request: VolumeRequest,
        center_um: float,
        reach_um: tuple[float, float],
        uids: list[str],
    ) -> MsgGenerator[dict[str, Any]]:
        request = replace(
            request, num_slices=_num_slices(reach_um), step_um=reach_um[1], center_um=center_um
        )
        volume = take_volume(request, self.light_sheet, self.stages)
        ((taken,)) = yield from bpp.stage_wrapper(volume, [self.light_sheet])
        uids.append(taken["uid"])
        found = yield from sharpest(taken["uid"], self.metric)
        if found is None:  # in a preflight it is taken to be where it was looked for
            return {"quality": "", "best_um": center_um, "r2": 0.0, "width_um": None, "reason": ""}
        names = ("quality", "best_um", "r2", "width_um", "reason")
        return {name: getattr(found, name) for name in names}


def _num_slices(reach_um: tuple[float, float]) -> int:
    """Return how many slices reach so far to both sides, by such steps."""
    return 2 * round(reach_um[0] / reach_um[1]) + 1
