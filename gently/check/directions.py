"""Which way a picture goes when the stage does, and how far: by the shift of its content.

The convention is that of `docs/how-to/check-an-instrument.md`: stage +x moves a sample left in the
image, +y moves it down.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.registration import phase_cross_correlation

from devices import Camera, LightSheet, VolumeRequest, XYStage
from gently.check.bench import Axis, Bench, Step, axes_of
from gently.check.report import Finding, Group, Status, measured

__all__ = ["Shift", "directions", "shift_between"]

_EXPOSURE_MS = 10.0
_PART_OF_FIELD = 0.05
_MOST_PX = 512
_FINENESS = 20
# Of the width of a picture: what is wider than this is illumination.
_BLUR = 0.05
_ALIKE = 0.5
# Of the way that is due: less is none, and more is none that a sample went.
_STILL, _FAR = 0.1, 5.0
_TURNED_DEG, _OTHER_DEG = 3.0, 15.0
_SCALE_OK, _SCALE_WRONG = 0.02, 0.05
# Columns and rows per µm of a stage's motion, of a pixel of 1 µm; rows are counted downwards.
_CONVENTION = {"x": (-1.0, 0.0), "y": (0.0, 1.0)}
_WORDS = {"x": "left", "y": "down"}
_STAYS = (
    "the picture stays where it is, although the stage was read back elsewhere: it does not move, "
    "or the camera sees nothing but its own dust"
)
_REMEDY = (
    "Look at the label of the stage, at the camera's mounting and at its mirror and transpose "
    "properties; if it has to stay so, go to no place that was found in a picture."
)
_SOURCE = "stage +x moves a sample left in the image, +y moves it down"


@dataclass(frozen=True)
class Shift:
    """By how much a picture's content has moved.

    Parameters
    ----------
    columns, rows
        To the right and down, in pixels.
    likeness
        How alike the two are where they overlap: the correlation of their structure, 1 at most.
    """

    columns: float
    rows: float
    likeness: float

    @property
    def length(self) -> float:
        """How far, in pixels."""
        return math.hypot(self.columns, self.rows)


def shift_between(before: NDArray[np.generic], after: NDArray[np.generic]) -> Shift:
    """Return by how much the content of a picture has moved until it was taken again.

    Parameters
    ----------
    before, after
        Pictures (y, x) of the same shape.
    """
    binning = max(1, math.ceil(max(before.shape) / _MOST_PX))
    first, second = _structure(before, binning), _structure(after, binning)
    to_register, _, _ = phase_cross_correlation(
        first, second, upsample_factor=_FINENESS, normalization=None
    )
    rows, columns = (-float(one) for one in to_register)
    return Shift(columns * binning, rows * binning, _likeness(first, second, rows, columns))


def _structure(picture: NDArray[np.generic], binning: int) -> NDArray[np.float64]:
    """Return a picture with fewer pixels, without what is uneven in its illumination."""
    height, width = (size - size % binning for size in picture.shape)
    blocks = picture[:height, :width].astype(np.float64)
    blocks = blocks.reshape(height // binning, binning, width // binning, binning)
    small = blocks.mean(axis=(1, 3))
    found: NDArray[np.float64] = small - gaussian_filter(small, _BLUR * small.shape[1])
    return found


def _likeness(
    first: NDArray[np.float64], second: NDArray[np.float64], rows: float, columns: float
) -> float:
    down, right = round(rows), round(columns)
    a, b = _overlap(first, -down, -right), _overlap(second, down, right)
    if not a.size or not a.std() or not b.std():
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def _overlap(picture: NDArray[np.float64], down: int, right: int) -> NDArray[np.float64]:
    """Return what is left of a picture without so many rows and columns at one side of it."""
    height, width = picture.shape
    rows = slice(max(0, down), height + min(0, down))
    columns = slice(max(0, right), width + min(0, right))
    return picture[rows, columns]


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
                f"{lamp.name} ({_exposure_ms(camera):g} ms each), and move {stage.name} by {parts} "
                "and back between them?",
                run=partial(_seen, bench, stage, sheet, known),
                needs=(stage.name, sheet.name, camera.name, lamp.name),
                is_lit=True,
            )


def _exposure_ms(camera: Camera) -> float:
    limits = camera.limits["exposure_ms"]
    return min(max(_EXPOSURE_MS, limits.low), limits.high)


def _seen(
    bench: Bench, stage: XYStage, sheet: LightSheet, ways: dict[str, float]
) -> Iterator[Finding]:
    camera = sheet.slicer.views["a"].camera
    start = _picture(bench, sheet)
    still = shift_between(start, _picture(bench, sheet))
    for name, way_um in ways.items():
        stage.read()
        (axis,) = (one for one in axes_of(stage) if one.name == name)
        _go(stage, axis, axis.value + way_um)
        there = _picture(bench, sheet)
        _go(stage, axis, axis.value)
        seen = _Seen(f"{stage.name}.{name}", camera, way_um, shift_between(start, there), still)
        yield from _judged(bench, seen)


@dataclass(frozen=True)
class _Seen:
    """What a camera saw of the motion of an axis, and of none."""

    axis: str
    camera: Camera
    way_um: float
    shift: Shift
    still: Shift

    @property
    def due_px(self) -> float:
        """How far the picture should have moved."""
        return abs(self.way_um) / self.camera.pixel_size_um

    @property
    def why_unknown(self) -> str:
        """Why nothing can be said; empty if something can."""
        is_far = self.shift.length > _FAR * self.due_px  # as two pictures of noise may seem
        if is_far or min(self.still.likeness, self.shift.likeness) < _ALIKE:
            return "there is nothing in the pictures that could be seen to move"
        if self.still.length > _STILL * self.due_px:
            return "the picture moves by itself while the stage stands still"
        return ""

    @property
    def angle_deg(self) -> float:
        """How far the direction is turned from the convention."""
        columns, rows = _CONVENTION[self.axis[-1]]
        way = math.copysign(1.0, self.way_um)
        across = way * (columns * self.shift.rows - rows * self.shift.columns)
        along = way * (columns * self.shift.columns + rows * self.shift.rows)
        return math.degrees(math.atan2(across, along))


def _picture(bench: Bench, sheet: LightSheet) -> NDArray[np.generic]:
    exposure_ms = _exposure_ms(sheet.slicer.views["a"].camera)
    request = VolumeRequest(num_slices=1, exposure_ms=exposure_ms, step_um=0.0)
    found: NDArray[np.generic] = bench.take(sheet, request)["a"].frames[0]
    return found


def _go(stage: XYStage, axis: Axis, um: float) -> None:
    stage.set(axis.asked(um)).wait_answered(stage.timeout_s)


def _judged(bench: Bench, seen: _Seen) -> Iterator[Finding]:
    """Yield what a shift says of the direction, and of the size of a pixel."""
    name, letter = f"{seen.axis} seen by {seen.camera.name}", seen.axis[-1]
    values = (
        measured("the stage went", seen.way_um, "um"),
        measured("the picture to the right", seen.shift.columns, "px"),
        measured("and down", seen.shift.rows, "px"),
        measured("likeness", seen.shift.likeness),
    )
    if seen.why_unknown:
        yield Finding(
            group=Group.DIRECTIONS,
            name=name,
            status=Status.NOT_DONE,
            says=seen.why_unknown,
            measured=values,
            source=_SOURCE,
            remedy="Bring a sample into view and into focus, then check again.",
        )
        return
    part = seen.shift.length / seen.due_px
    says, status = _direction(part, seen.angle_deg)
    yield Finding(
        group=Group.DIRECTIONS,
        name=name,
        status=status,
        says=says,
        measured=(*values, measured("turned by", seen.angle_deg, "deg")),
        expected=f"{_WORDS[letter]} for {letter} upwards, turned by {_TURNED_DEG:g} deg at most",
        source=_SOURCE,
        remedy="" if status is Status.OK else _REMEDY,
    )
    if part >= _STILL:
        yield _scale(bench, seen)


def _direction(part: float, angle_deg: float) -> tuple[str, Status]:
    """Return what is wrong with a direction, from how much of the way is seen, and its angle."""
    off_deg = abs(angle_deg)
    if part < _STILL:
        return _STAYS, Status.FAILED
    if off_deg <= _TURNED_DEG:
        return "", Status.OK
    if off_deg <= _OTHER_DEG:
        return "the camera is turned against the stage", Status.ATTENTION
    if off_deg >= 180 - _OTHER_DEG:
        return "the picture moves the opposite way", Status.FAILED
    if abs(off_deg - 90) <= _OTHER_DEG:
        return "the picture moves along the other axis: x and y are swapped", Status.FAILED
    return "the picture moves in another direction", Status.FAILED


def _scale(bench: Bench, seen: _Seen) -> Finding:
    found_um = abs(seen.way_um) / seen.shift.length
    ratio = found_um / seen.camera.pixel_size_um
    status, says, remedy = Status.OK, "", ""
    if abs(ratio - 1) > _SCALE_OK:
        status = Status.ATTENTION if abs(ratio - 1) <= _SCALE_WRONG else Status.FAILED
        says = "a pixel is not as large as the instrument file says"
        remedy = (
            f"Put pixel_size_um: {found_um:.4g} into the instrument file, unless another "
            "objective, binning or a slipping stage is the cause."
        )
    return Finding(
        group=Group.DIRECTIONS,
        name=f"{seen.camera.name} pixel size along {seen.axis}",
        status=status,
        says=says,
        measured=(
            measured("a pixel", found_um, "um"),
            measured("ratio to the instrument file", ratio),
        ),
        expected=f"{seen.camera.pixel_size_um:g} µm, to {100 * _SCALE_OK:g} %",
        source=bench.source,
        remedy=remedy,
    )
