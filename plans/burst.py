"""The burst: volumes back to back, for what moves fast."""

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator
from pydantic import Field

from devices import Labels, LightSheet, VolumeRequest
from plans.acquisition import take_volume
from plans.messages import acquisition, alike, clock
from plans.parameters import (
    CompressionParameter,
    ExposureMs,
    FileFormatParameter,
    LineParameter,
    NumSlices,
    PowerParameter,
    StepUm,
    SweepCenterUm,
    ViewParameter,
    inject,
)

__all__ = ["burst"]


def burst(
    num_volumes: Annotated[int, Field(ge=1, le=100_000, description="How many volumes.")] = 10,
    num_slices: NumSlices = 50,
    exposure_ms: ExposureMs = 5.0,
    step_um: StepUm = 0.5,
    center_um: SweepCenterUm = None,
    view: ViewParameter = "a",
    line: LineParameter = None,
    power_percent: PowerParameter = None,
    file_format: FileFormatParameter = "ome-tiff",
    compression: CompressionParameter = "none",
    light_sheet: LightSheet = inject("light_sheet"),
) -> MsgGenerator[dict[str, Any]]:
    """Take volumes back to back where the microscope is.

    A light sheet with a controller takes them without a pause: it is told once, and the file of
    one volume is finished while the next is taken. Stages are not read between them: a question
    to the controller takes as long as many slices.

    Returns
    -------
    dict
        ``{acquisition_uid, num_volumes, seconds}``; the volumes are the time points of the
        acquisition.
    """
    found = yield from acquisition("")
    request = VolumeRequest(
        num_slices=num_slices,
        exposure_ms=exposure_ms,
        step_um=step_um,
        center_um=center_um,
        view=view,
        line=line or "",
        power_percent=power_percent,
        file_format=file_format,
        compression=compression,
    )

    def take(time_point: int) -> MsgGenerator[Any]:
        labels = Labels(acquisition_uid=found.uid, time_point=time_point)
        following = num_volumes - 1 - time_point
        return take_volume(
            replace(request, labels=labels, num_following=following), light_sheet, []
        )

    def volumes() -> MsgGenerator[float]:
        began_s = yield from clock()
        for time_point in range(num_volumes):
            yield from alike("volume", partial(take, time_point))
        return (yield from clock()) - began_s

    seconds = yield from bpp.stage_wrapper(volumes(), [light_sheet])
    return {"acquisition_uid": found.uid, "num_volumes": num_volumes, "seconds": seconds}
