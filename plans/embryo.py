"""One embryo: go there, see that it is in focus, take a volume."""

from dataclasses import replace
from typing import Annotated, Any, Final

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator
from pydantic import Field

from devices import FocusDrive, Labels, LightSheet, Stage, XYStage
from plans.acquisition import take_volume
from plans.focus import Focuser, Metric, focus_request
from plans.parameters import (
    ExposureMs,
    LineParameter,
    NumSlices,
    PowerParameter,
    StepUm,
    all_devices,
    inject,
)
from plans.values import Embryo

__all__ = ["acquire_embryo"]

_SWEEP_UM: Final = (15.0, 5.0)
_MOST_OFF_UM: Final = 1.0
"""As of a calibration that is just good enough: the slices of a volume are lit by calibration."""


def acquire_embryo(
    embryo: Annotated[Embryo, Field(description="Which, and where it is.")],
    num_slices: NumSlices = 50,
    exposure_ms: ExposureMs = 5.0,
    step_um: StepUm = 0.5,
    metric: Metric = "vollath_f4",
    line: LineParameter = None,
    power_percent: PowerParameter = None,
    stage: XYStage = inject("xy_stage"),
    drive: FocusDrive = inject("focus"),
    light_sheet: LightSheet = inject("light_sheet"),
    stages: list[Stage] = all_devices(),
) -> MsgGenerator[dict[str, Any]]:
    """Go to an embryo, see that it is in focus there, and take a volume around its middle.

    Where it is not said how high it lies, its middle is looked for by a sweep through it.

    Returns
    -------
    dict
        ``focus`` as of `focus`; ``middle``, where its middle was found on the slice drive, null
        if `z_um` says it; and ``volume`` as of `acquire_volume`: null if the focus or the middle
        was refused, or the sheet is further from where the calibration has it than a drift: the
        `reason` says so, and there is nothing worth its light.
    """
    where: list[Any] = [stage, (embryo.x_um, embryo.y_um)]
    if embryo.z_um is not None:
        where += [drive, embryo.z_um]
    yield from bps.mv(*where)
    request = replace(
        focus_request(exposure_ms, "a", line, power_percent), labels=Labels(embryo=embryo.name)
    )
    focuser = Focuser(light_sheet, stages, request, metric, *_SWEEP_UM)
    found = yield from focuser.go()
    if found["quality"] == "refused":
        return {"focus": found, "middle": None, "volume": None}
    off_um = 0.0 if found["calibration_uid"] else found["offset_um"]
    if light_sheet.has_sheet and abs(off_um) > _MOST_OFF_UM:
        was_um = found["best_um"] - off_um
        yield from bps.mv(focuser.drive, was_um)
        reason = (
            f"the sheet is seen sharpest {off_um:.2f} µm from where its calibration has it. That "
            "is no drift which a good focus could correct: the slices would be lit beside it. "
            "Calibrate again (calibrate_piezo_galvo)."
        )
        told = {"reason": reason, "at_um": (yield from focuser.where())}
        return {"focus": {**found, **told}, "middle": None, "volume": None}
    middle = None
    if embryo.z_um is None:
        middle = yield from focuser.middle(found["at_um"])
        if middle["quality"] == "refused":
            return {"focus": found, "middle": middle, "volume": None}
        request = replace(request, center_um=middle["best_um"])
    request = replace(request, num_slices=num_slices, step_um=step_um)
    volume = take_volume(request, light_sheet, stages)
    ((taken,)) = yield from bpp.stage_wrapper(volume, [light_sheet])
    return {"focus": found, "middle": middle, "volume": taken}
