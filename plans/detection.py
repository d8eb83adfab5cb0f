"""Plans that find embryos in what was taken, and go on with what they find."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import Msg, MsgGenerator
from pydantic import Field

from devices import Finder, FindRequest, LightSheet, Projection, Stage, XYStage
from plans.acquisition import acquire_volume
from plans.parameters import (
    ExposureMs,
    NumSlices,
    StepUm,
    all_devices,
    inject,
)
from plans.tiles import Tile, place_of, tiles

__all__ = ["Sighting", "detect", "find_embryos", "merged"]

DetectorName = Literal["classical", "sam"]
_TOLD = ("name", "x_um", "y_um", "certain")
_SAME_UM = 20.0
"""Nearer to each other are no two embryos: an embryo is 30 µm wide."""


def detect(
    finder: Finder,
    uid: str,
    *,
    detector: str = "classical",
    plane: int | None = None,
    projection: Projection = "max",
    settings: Mapping[str, Any] | None = None,
    timeout_s: float = 120.0,
) -> MsgGenerator[Mapping[str, Any]]:
    """Find embryos in the volume of this uid; a stub, for use in the middle of a plan.

    Parameters
    ----------
    finder
        The device that has it done.
    uid, detector, plane, projection, settings, timeout_s
        As of `devices.FindRequest`.

    Returns
    -------
    dict
        ``{"detection_uid": …, "objects": [{"name": …, "x_um": …, "y_um": …, …}, …]}``. Without
        objects in a preflight, where no volume was taken.
    """
    request = FindRequest(
        uid=uid,
        detector=detector,
        plane=plane,
        projection=projection,
        settings=settings or {},
        timeout_s=timeout_s,
    )

    def search() -> MsgGenerator[Mapping[str, Any]]:
        yield from bps.checkpoint()  # after a pause it is looked for anew
        yield from bps.prepare(finder, request, wait=True)
        yield from bps.trigger(finder, wait=True)
        readings = yield from bps.read(finder)
        yield from bps.checkpoint()
        return finder.found(readings[f"{finder.name}_detection"]["value"])

    return (yield from bpp.stage_wrapper(search(), [finder]))


def find_embryos(
    width_um: Annotated[
        float, Field(ge=0, le=1e5, description="Of the area, along x, in µm; 0 is one picture.")
    ] = 0.0,
    height_um: Annotated[
        float, Field(ge=0, le=1e5, description="Of the area, along y, in µm; 0 is one picture.")
    ] = 0.0,
    overlap_um: Annotated[
        float,
        Field(
            ge=0,
            le=1e4,
            description="Of two neighbouring pictures, in µm: as much as an embryo is long, so "
            "that each is whole in one of them.",
        ),
    ] = 60.0,
    num_slices: NumSlices = 1,
    exposure_ms: ExposureMs = 10.0,
    step_um: StepUm = 0.0,
    detector: Annotated[DetectorName, Field(description="Who looks.")] = "classical",
    timeout_s: Annotated[
        float, Field(ge=1, le=3600, description="How long finding may take, in s.")
    ] = 120.0,
    light_sheet: LightSheet = inject("light_sheet"),
    stage: XYStage = inject("xy_stage"),
    stages: list[Stage] = all_devices(),
    finder: Finder = inject("finder"),
) -> MsgGenerator[dict[str, Any]]:
    """Look at an area around where the stage is, and find the embryos in it.

    Of one that is seen in several pictures the one counts in which it is nearest to the middle.
    The stage is back where it was in the end.

    Returns
    -------
    dict
        ``pictures``, each with its ``uid`` and ``detection_uid``, and ``objects``, each with its
        ``name``, its place ``x_um``, ``y_um`` on the stage, and whether it is ``certain``.
    """
    was_um = yield from place_of(stage)
    pictures: list[dict[str, Any]] = []
    sightings: list[Sighting] = []
    is_area = bool(width_um or height_um)
    places = [Tile(0, 0, *was_um)]
    if is_area:
        places = tiles(was_um, (width_um, height_um), light_sheet.field_um, overlap_um)
    for tile in places:
        if is_area:
            yield Msg("checkpoint")
            yield from bps.mv(stage, (tile.x_um, tile.y_um))
        volume = yield from acquire_volume(
            num_slices=num_slices,
            exposure_ms=exposure_ms,
            step_um=step_um,
            light_sheet=light_sheet,
            stages=stages,
        )
        found = yield from detect(
            finder,
            volume["uid"],
            detector=detector,
            # What fluoresces is bright; in the light of a lamp behind it, it is dark.
            settings={"contrast": "bright" if light_sheet.has_sheet else "dark"},
            timeout_s=timeout_s,
        )
        pictures.append({"uid": volume["uid"], "detection_uid": found["detection_uid"]})
        sightings += [Sighting.of(one, tile) for one in found["objects"]]
    if is_area:
        yield from bps.mv(stage, was_um)
    return {"pictures": pictures, "objects": [one.told for one in merged(sightings)]}


@dataclass(frozen=True)
class Sighting:
    """An object as one picture shows it.

    Parameters
    ----------
    told
        What is told of it.
    from_middle_um
        How far from the middle of the picture.
    """

    told: Mapping[str, Any]
    from_middle_um: float

    @classmethod
    def of(cls, found: Mapping[str, Any], tile: Tile) -> Self:
        """Return an object that was found in the picture of a tile."""
        away_um = math.hypot(found["x_um"] - tile.x_um, found["y_um"] - tile.y_um)
        return cls({key: found[key] for key in _TOLD}, away_um)

    def is_same(self, other: Self) -> bool:
        """Whether both are one object, cut by the border of a picture or not."""
        mine, yours = self.told, other.told
        apart_um = math.hypot(mine["x_um"] - yours["x_um"], mine["y_um"] - yours["y_um"])
        return mine["name"] == yours["name"] or apart_um < _SAME_UM


def merged(sightings: Iterable[Sighting]) -> list[Sighting]:
    """Return each object once: as the picture shows it in which it is nearest to the middle."""
    kept: list[Sighting] = []
    for one in sorted(sightings, key=lambda sighting: sighting.from_middle_um):
        if not any(one.is_same(other) for other in kept):
            kept.append(one)
    return sorted(kept, key=lambda sighting: str(sighting.told["name"]))
