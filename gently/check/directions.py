"""Which way a picture goes when the stage does, and how far: in the light of a lamp."""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from devices import Camera, LightSheet, VolumeRequest, XYStage
from gently.check.bench import Bench, Step, axes_of, moved
from gently.check.report import Finding, Group
from gently.check.seen import Seen
from gently.check.shifts import shift_between

__all__ = ["directions"]

_EXPOSURE_MS = 10.0
_PART_OF_FIELD = 0.05


def directions(bench: Bench) -> Iterator[Step]:
    """Yield a step for each camera that sees the XY stage move in the light of a lamp."""
    for sheet in bench.all_of(LightSheet):
        for stage in bench.all_of(XYStage)[:1]:
            camera, lamp = sheet.slicer.views["a"].camera, sheet.slicer.light
            width_um, _ = sheet.field_um
            ways = {one.name: one.way(_PART_OF_FIELD * width_um) for one in axes_of(stage)}
            known = {axis: way for axis, way in ways.items() if way}
            if sheet.has_sheet or not known:
                continue
            parts = " and ".join(f"{way:+.0f} µm in {axis}" for axis, way in known.items())
            yield Step(
                group=Group.DIRECTIONS,
                name=sheet.name,
                question=f"Take {2 + len(known)} pictures with {camera.name} in the light of "
                f"{lamp.name} ({_exposure_ms(camera):g} ms, on for less than a second each), and "
                f"move {stage.name} by {parts} and back between them?",
                run=partial(_seen, bench, stage, sheet, known),
                needs=(stage.name, sheet.name, camera.name, lamp.name),
                is_lit=True,
            )


def _exposure_ms(camera: Camera) -> float:
    limits = camera.limits["exposure_ms"]
    return min(max(_EXPOSURE_MS, limits.low), limits.high)


def _seen(
    bench: Bench, stage: XYStage, sheet: LightSheet, ways: Mapping[str, float]
) -> Iterator[Finding]:
    camera = sheet.slicer.views["a"].camera
    start = _picture(bench, sheet)
    still = shift_between(start, _picture(bench, sheet))
    for name, way_um in ways.items():
        with moved(stage, name, way_um) as went_um:
            shift = shift_between(start, _picture(bench, sheet))
        axis = f"{stage.name}.{name}"
        yield from Seen(axis, camera, went_um, shift, still, bench.source).findings()


def _picture(bench: Bench, sheet: LightSheet) -> NDArray[np.generic]:
    exposure_ms = _exposure_ms(sheet.slicer.views["a"].camera)
    request = VolumeRequest(num_slices=1, exposure_ms=exposure_ms, step_um=0.0)
    found: NDArray[np.generic] = bench.take(sheet, request)["a"].frames[0]
    return found
