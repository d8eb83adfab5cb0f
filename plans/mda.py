"""Any multi-dimensional acquisition of useq-schema, as a plan."""

from dataclasses import replace
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
    ViewName,
    VolumeRequest,
    XYStage,
)
from plans.acquisition import channels_of, take_volume
from plans.messages import acquisition, alike, clock, wait_until
from plans.parameters import (
    AcquisitionUid,
    CompressionParameter,
    ExposureMs,
    FileFormatParameter,
    PowersParameter,
    ViewParameter,
    all_devices,
    inject,
)
from plans.read_sequence import Sequence
from plans.sequence import Stack, Sweep, has_fields, stacks, sweep, with_fields
from plans.shot import Shot

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
    view: ViewParameter = "a",
    powers_percent: PowersParameter = None,
    file_format: FileFormatParameter = "ome-tiff",
    compression: CompressionParameter = "none",
    stage: XYStage = inject("xy_stage"),
    focus: FocusDrive = inject("focus"),
    light_sheet: LightSheet = inject("light_sheet"),
    stages: list[Stage] = all_devices(),
) -> MsgGenerator[dict[str, Any]]:
    """Carry out a multi-dimensional acquisition as useq-schema describes it.

    A grid that does not say how much a tile shows takes that of the camera of side a.

    Returns
    -------
    dict
        ``{acquisition_uid, num_taken, num_found}``; the volumes are those of the acquisition, with
        the position as `embryo`.
    """
    found = yield from acquisition(acquisition_uid)
    there = {(point.embryo, point.time_point, point.channel) for point in found.points}
    began_s = yield from clock()
    if view == "b" and not has_fields(sequence):
        raise LimitError(
            "grid_plan: the pictures of side b do not lie along x and y; say with fov_width and "
            "fov_height how far apart its tiles are to be",
            field="sequence",
        )
    sequence = with_fields(sequence, light_sheet.field_um)
    slices, taken, at = sweep(sequence), 0, None
    lines = [channel.config for channel in sequence.channels] or None
    shots = {
        line: Shot(line, power, view, line or _ONLY)
        for line, power in channels_of(lines, powers_percent)
    }
    volume = VolumeRequest(
        num_slices=slices.num_slices,
        exposure_ms=exposure_ms,
        step_um=slices.step_um,
        center_um=_middle_um(slices, center_um),
        file_format=file_format,
        compression=compression,
        labels=Labels(acquisition_uid=found.uid),
    )

    def take(stack: Stack, views: list[ViewName]) -> MsgGenerator[Any]:
        request = replace(
            volume,
            exposure_ms=exposure_ms if stack.exposure_ms is None else stack.exposure_ms,
            labels=replace(volume.labels, embryo=stack.place, time_point=stack.time_point),
        )
        plan = take_volume(shots[stack.line].request(request, views), light_sheet, stages)
        return (yield from bpp.stage_wrapper(plan, [light_sheet]))

    for stack in stacks(sequence):
        yield Msg("checkpoint")
        if stack.restarts_clock:
            began_s = yield from clock()
        views = [
            side
            for side, channel in shots[stack.line].channels.items()
            if (stack.place, stack.time_point, channel) not in there
        ]
        if not views:
            continue
        if at != stack.place:
            way = ("go", at, stack.place)
            yield from alike(way, partial(_go, stack, stage, focus))
            at = stack.place
        yield from wait_until(began_s + stack.min_start_s)
        key = ("take", stack.place, stack.line, stack.exposure_ms, tuple(views))
        yield from alike(key, partial(take, stack, views))
        taken += len(views)
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
