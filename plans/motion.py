"""Plans that move, read and wait."""

import math
from typing import Annotated, Any

import bluesky.plan_stubs as bps
from bluesky.utils import Msg, MsgGenerator
from pydantic import Field

from devices import FocusDrive, Stage, XYStage
from plans.parameters import AxisOf, all_devices, inject

__all__ = ["move_focus", "move_stage", "read_position", "sleep"]

_NAP_S = 0.5


def move_stage(
    x_um: Annotated[float, AxisOf("stage", "x"), Field(description="Where to go in x, in µm.")],
    y_um: Annotated[float, AxisOf("stage", "y"), Field(description="Where to go in y, in µm.")],
    stage: XYStage = inject("xy_stage"),
) -> MsgGenerator[dict[str, Any]]:
    """Move the sample in the plane.

    Returns
    -------
    dict
        The position read back: ``{"xy_stage_x": {"value": …, "units": "um"}, …}``.
    """
    yield from bps.checkpoint()
    yield from bps.mv(stage, (x_um, y_um))
    return (yield from read_position([stage]))


def move_focus(
    z_um: Annotated[float, AxisOf("drive", "z"), Field(description="Where to go, in µm.")],
    drive: FocusDrive = inject("focus"),
) -> MsgGenerator[dict[str, Any]]:
    """Move the sample, or another drive, along the optical axis.

    Returns
    -------
    dict
        The position read back, as of `move_stage`.
    """
    yield from bps.checkpoint()
    yield from bps.mv(drive, z_um)
    return (yield from read_position([drive]))


def read_position(stages: list[Stage] = all_devices()) -> MsgGenerator[dict[str, Any]]:
    """Read where everything is; nothing moves.

    Returns
    -------
    dict
        As of `move_stage`, for every axis.
    """
    found: dict[str, Any] = {}
    for stage in stages:
        readings = yield from bps.read(stage)
        for key, description in stage.describe().items():
            found[key] = {"value": readings[key]["value"], "units": description["units"]}
    return found


def sleep(
    duration_s: Annotated[float, Field(ge=0, le=86_400, description="How long, in s.")],
) -> MsgGenerator[None]:
    """Do nothing for a while; can be paused every half second."""
    naps = math.ceil(duration_s / _NAP_S)
    for nap in range(naps):
        # Bare messages: a day has 172,800 naps, and a stub costs 20 times as much.
        yield Msg("checkpoint")
        nap_s = duration_s / naps
        yield Msg("sleep", None, nap_s, done_s=nap * nap_s, of_s=duration_s)
