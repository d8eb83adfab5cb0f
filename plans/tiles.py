"""Tiles: pictures or volumes side by side, until an area is covered."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator
from pydantic import Field

from devices import LightSheet, LimitError, Stage, VolumeRequest, XYStage
from plans.acquisition import take_volume
from plans.messages import alike
from plans.parameters import (
    ExposureMs,
    LineParameter,
    NumSlices,
    PowerParameter,
    StepUm,
    all_devices,
    inject,
)

__all__ = ["Tile", "place_of", "tile_scan", "tiles"]

_MOST: Final = 250
"""So many are told in one answer."""


@dataclass(frozen=True)
class Tile:
    """One of the places at which an area is looked at.

    Parameters
    ----------
    row, column
        Its number, from the lowest y and the lowest x.
    x_um, y_um
        Where the stage is to be.
    """

    row: int
    column: int
    x_um: float
    y_um: float


def tiles(
    center_um: tuple[float, float],
    size_um: tuple[float, float],
    field_um: tuple[float, float],
    overlap_um: float,
) -> list[Tile]:
    """Return the tiles that cover an area, in the order of a way without long jumps.

    Parameters
    ----------
    center_um, size_um
        The area: its middle, width and height.
    field_um
        What one tile shows.
    overlap_um
        Of two neighbours, at least.

    Raises
    ------
    LimitError
        If they do not fit together, or are too many for one answer.
    """
    xs_um = _along(center_um[0], size_um[0], field_um[0], overlap_um)
    ys_um = _along(center_um[1], size_um[1], field_um[1], overlap_um)
    if len(xs_um) * len(ys_um) > _MOST:
        raise LimitError(
            f"{len(xs_um)} × {len(ys_um)} tiles are more than {_MOST}; lower width_um, height_um "
            "or overlap_um, or scan in parts",
            field="width_um",
        )
    return list(_serpentine(xs_um, ys_um))


def _along(center_um: float, size_um: float, field_um: float, overlap_um: float) -> list[float]:
    """Return the middles of the fields that cover a line."""
    pitch_um = field_um - overlap_um
    if pitch_um <= 0:
        raise LimitError(
            f"fields of {field_um:g} µm cannot overlap by {overlap_um:g} µm; lower overlap_um",
            field="overlap_um",
        )
    count = max(1, math.ceil((size_um - overlap_um) / pitch_um - 1e-9))
    return [center_um + (index - (count - 1) / 2) * pitch_um for index in range(count)]


def _serpentine(xs_um: list[float], ys_um: list[float]) -> Iterator[Tile]:
    for row, y_um in enumerate(ys_um):
        columns = list(enumerate(xs_um))
        for column, x_um in reversed(columns) if row % 2 else columns:
            yield Tile(row, column, x_um, y_um)


def tile_scan(
    width_um: Annotated[float, Field(ge=0, le=1e5, description="Of the area, along x, in µm.")],
    height_um: Annotated[float, Field(ge=0, le=1e5, description="Of the area, along y, in µm.")],
    x_um: Annotated[
        float | None,
        Field(ge=-1e6, le=1e6, description="Its middle, in µm; by default where the stage is."),
    ] = None,
    y_um: Annotated[
        float | None,
        Field(ge=-1e6, le=1e6, description="Its middle, in µm; by default where the stage is."),
    ] = None,
    overlap_um: Annotated[
        float, Field(ge=0, le=1e4, description="Of two neighbours, at least, in µm.")
    ] = 10.0,
    num_slices: NumSlices = 1,
    exposure_ms: ExposureMs = 10.0,
    step_um: StepUm = 0.5,
    line: LineParameter = None,
    power_percent: PowerParameter = None,
    stage: XYStage = inject("xy_stage"),
    light_sheet: LightSheet = inject("light_sheet"),
    stages: list[Stage] = all_devices(),
) -> MsgGenerator[dict[str, Any]]:
    """Take pictures or volumes side by side, until an area is covered.

    Returns
    -------
    dict
        ``{field_um, tiles: [{uid, row, column, x_um, y_um}]}``: what one shows, and where each was
        taken, as read back.
    """
    here = yield from place_of(stage)
    center_um = (here[0] if x_um is None else x_um, here[1] if y_um is None else y_um)
    field_um = light_sheet.field_um
    request = VolumeRequest(
        num_slices=num_slices,
        exposure_ms=exposure_ms,
        step_um=step_um if num_slices > 1 else 0.0,
        line=line or "",
        power_percent=power_percent,
    )

    def take() -> MsgGenerator[Any]:
        volume = take_volume(request, light_sheet, stages)
        return (yield from bpp.stage_wrapper(volume, [light_sheet]))

    found = []
    for tile in tiles(center_um, (width_um, height_um), field_um, overlap_um):
        yield Msg("checkpoint")
        yield from bps.mv(stage, (tile.x_um, tile.y_um))
        volume = yield from alike("tile", take)
        at_um = yield from place_of(stage)
        place = {"row": tile.row, "column": tile.column, "x_um": at_um[0], "y_um": at_um[1]}
        found.append({"uid": volume[0]["uid"] if volume else "", **place})
    return {"field_um": list(field_um), "tiles": found}


def place_of(stage: XYStage) -> MsgGenerator[tuple[float, float]]:
    """Read where a stage is: x and y in µm."""
    found = yield from bps.read(stage)
    return found[f"{stage.name}_x"]["value"], found[f"{stage.name}_y"]["value"]
