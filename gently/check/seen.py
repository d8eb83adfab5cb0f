"""What pictures say of the motion of an axis: its direction, and the size of a pixel.

The convention is one: stage +x moves a sample left in the image, +y moves it down.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from devices import Camera
from gently.check.report import Finding, Group, Status, measured
from gently.check.shifts import Shift

__all__ = ["ALIKE", "Seen"]

ALIKE = 0.5
"""Two pictures that are less alike than this may be of anything."""
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
class Seen:
    """What a camera saw of the motion of an axis, and of none.

    Parameters
    ----------
    axis
        Such as ``"xy_stage.x"``.
    camera
        Which saw it.
    way_um
        How far the axis went, as it was read back.
    shift, still
        By how much the picture moved then, and while the axis stood still.
    source
        Where the size of a pixel is written down.
    """

    axis: str
    camera: Camera
    way_um: float
    shift: Shift
    still: Shift
    source: str

    @property
    def due_px(self) -> float:
        """How far the picture should have moved."""
        return abs(self.way_um) / self.camera.pixel_size_um

    @property
    def why_unknown(self) -> str:
        """Why nothing can be said; empty if something can."""
        is_far = self.shift.length > _FAR * self.due_px  # as two pictures of noise may seem
        if is_far or min(self.still.likeness, self.shift.likeness) < ALIKE:
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

    def findings(self) -> Iterator[Finding]:
        """Yield what a shift says of the direction, and of the size of a pixel."""
        name, letter = f"{self.axis} seen by {self.camera.name}", self.axis[-1]
        values = (
            measured("the stage went", self.way_um, "um"),
            measured("the picture to the right", self.shift.columns, "px"),
            measured("and down", self.shift.rows, "px"),
            measured("likeness", self.shift.likeness),
        )
        if self.why_unknown:
            yield Finding(
                group=Group.DIRECTIONS,
                name=name,
                status=Status.NOT_DONE,
                says=self.why_unknown,
                measured=values,
                source=_SOURCE,
                remedy="Bring a sample into view and into focus, then check again.",
            )
            return
        part = self.shift.length / self.due_px
        says, status = _direction(part, self.angle_deg)
        yield Finding(
            group=Group.DIRECTIONS,
            name=name,
            status=status,
            says=says,
            measured=(*values, measured("turned by", self.angle_deg, "deg")),
            expected=f"{_WORDS[letter]} for +{letter}, turned by {_TURNED_DEG:g} deg at most",
            source=_SOURCE,
            remedy="" if status is Status.OK else _REMEDY,
        )
        if part >= _STILL:
            yield self._scale()

    def _scale(self) -> Finding:
        found_um = abs(self.way_um) / self.shift.length
        ratio = found_um / self.camera.pixel_size_um
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
            name=f"{self.camera.name} pixel size along {self.axis}",
            status=status,
            says=says,
            measured=(
                measured("a pixel", found_um, "um"),
                measured("ratio to the instrument file", ratio),
            ),
            expected=f"{self.camera.pixel_size_um:g} µm, to {100 * _SCALE_OK:g} %",
            source=self.source,
            remedy=remedy,
        )


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
