"""Any multi-dimensional acquisition of useq-schema, as a plan."""

from functools import partial
from typing import Annotated, Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator
from pydantic import Field

from devices import (
    FocusDrive,
    Labels,
    LightSheet,
    LimitError,
    Stage,
    VolumeRequest,
    XYStage,
)
from plans.acquisition import take_volume
from plans.messages import acquisition, alike, clock, wait_until
from plans.parameters import (
    AcquisitionUid,
    CompressionParameter,
    ExposureMs,
    FileFormatParameter,
    all_devices,
    inject,
)
from plans.sequence import Sequence, Stack, Sweep, stacks, sweep

__all__ = ["run_mda"]

_ONLY = "only"
"""How the channel is called where a sequence has none."""


def run_mda(
    sequence: Annotated[
        Sequence,
        Field(
            description="An MDASequence of useq-schema: stage_positions, grid_plan, time_plan, "
            "z_plan, axis_order. A stack is one volume, swept by the slice drive."
        ),
    ],
    exposure_ms: ExposureMs = 10.0,
    center_um: Annotated[
        float | None,
        Field(
            description="Middle of a relative z_plan on the slice drive, in µm; by default where "
            "it is."
        ),
    ] = None,
    acquisition_uid: AcquisitionUid = "",
    file_format: FileFormatParameter = "ome-tiff",
    compression: CompressionParameter = "none",
    stage: XYStage = inject("xy_stage"),
    focus: FocusDrive = inject("focus"),
    light_sheet: LightSheet = inject("light_sheet"),
    stages: list[Stage] = all_devices(),
) -> MsgGenerator[dict[str, Any]]:
    """Carry out a multi-dimensional acquisition as useq-schema describes it.

    Returns
    -------
    dict
        ``{acquisition_uid, num_taken, num_found}``; the volumes are those of the acquisition, with
        the position as `embryo`.
    """
    found = yield from acquisition(acquisition_uid)
    there = {(point.embryo, point.time_point, point.channel) for point in found.points}
    began_s = yield from clock()
    slices, taken, at = sweep(sequence), 0, None
    middle_um = _middle_um(slices, center_um)

    def take(stack: Stack) -> MsgGenerator[Any]:
        request = VolumeRequest(
            num_slices=slices.num_slices,
            exposure_ms=exposure_ms if stack.exposure_ms is None else stack.exposure_ms,
            step_um=slices.step_um,
            center_um=middle_um,
            file_format=file_format,
            compression=compression,
            line=stack.line,
            labels=Labels(
                embryo=stack.place,
                acquisition_uid=found.uid,
                time_point=stack.time_point,
                channel=stack.line or _ONLY,
            ),
        )
        volume = take_volume(request, light_sheet, stages)
        return (yield from bpp.stage_wrapper(volume, [light_sheet]))

    for stack in stacks(sequence):
        yield Msg("checkpoint")
        if stack.restarts_clock:
            began_s = yield from clock()
        if (stack.place, stack.time_point, stack.line or _ONLY) in there:
            continue
        if at != stack.place:
            way = ("go", at, stack.place)
            yield from alike(way, partial(_go, stack, stage, focus))
            at = stack.place
        yield from wait_until(began_s + stack.min_start_s)
        key = ("take", stack.place, stack.line, stack.exposure_ms)
        yield from alike(key, partial(take, stack))
        taken += 1
    return {"acquisition_uid": found.uid, "num_taken": taken, "num_found": len(there)}


def _middle_um(slices: Sweep, center_um: float | None) -> float | None:
    """Return the middle of the sweep on the slice drive; None where the drive is."""
    if not slices.is_relative:
        return slices.offset_um
    if center_um is not None:
        return center_um + slices.offset_um
    if slices.offset_um:
        raise LimitError(
            f"the z_plan is {slices.offset_um:g} µm off its middle: say with center_um of what",
            field="center_um",
        )
    return None


def _go(stack: Stack, stage: XYStage, focus: FocusDrive) -> MsgGenerator[None]:
    where: list[Any] = []
    if stack.x_um is not None and stack.y_um is not None:
        where += [stage, (stack.x_um, stack.y_um)]
    if stack.z_um is not None:
        where += [focus, stack.z_um]
    if where:
        yield from bps.mv(*where)
