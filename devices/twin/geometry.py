"""Where the two sides look from, and where their light sheets are: the one place of both.

Stage axes are x, y and z. Both sides look at the origin, the point of the sample that stands
where their axes cross: (x, y) of the XY stage, and the focus drive plus the head's height.
"""

from dataclasses import dataclass

from devices.twin.chance import Chance, mix
from devices.twin.spim import Side

__all__ = ["UM_PER_DEG", "VIEWS", "SheetGeometry", "View", "sheets"]

Vector = tuple[float, float, float]

UM_PER_DEG = 100.0
"""Of the mirror that draws the beam to a sheet, along the image's rows towards +y."""


@dataclass(frozen=True)
class View:
    """How a side sees the sample: unit vectors in stage axes.

    Parameters
    ----------
    columns
        Columns of the image grow along it.
    rows
        Rows grow along it.
    depth
        The focal plane moves along it when the piezo's position grows.
    """

    columns: Vector
    rows: Vector
    depth: Vector

    def seen(self, away_um: Vector) -> Vector:
        """Return (column, row, depth) in µm of a point that is so far from the origin."""
        column, row, depth = (
            sum(a * b for a, b in zip(axis, away_um, strict=True))
            for axis in (self.columns, self.rows, self.depth)
        )
        return column, row, depth

    def away(self, seen_um: Vector) -> Vector:
        """Return how far from the origin a point is that is seen at (column, row, depth)."""
        x, y, z = (
            sum(part * axis[k] for part, axis in zip(seen_um, self.axes, strict=True))
            for k in range(3)
        )
        return x, y, z

    @property
    def axes(self) -> tuple[Vector, Vector, Vector]:
        """Columns, rows and depth."""
        return self.columns, self.rows, self.depth


VIEWS: dict[Side, View] = {
    # Stage +x moves a sample left in the image, +y moves it down.
    "A": View(columns=(1, 0, 0), rows=(0, -1, 0), depth=(0, 0, 1)),
    # A, turned by 90° about y.
    "B": View(columns=(0, 0, 1), rows=(0, -1, 0), depth=(-1, 0, 0)),
}


@dataclass(frozen=True)
class SheetGeometry:
    """Where a side's light sheet is, in µm along its depth, and how thick.

    Parameters
    ----------
    slope_um_per_deg, offset_um
        Of the mirror: sheet = slope · degrees + offset. A plane is sharp if the piezo is there.
    tilt
        µm of depth per µm of columns.
    waist_um
        Where along the columns the sheet is thinnest and brightest.
    length_um
        So far from the waist its brightness has fallen to 1/√2.
    """

    slope_um_per_deg: float
    offset_um: float
    tilt: float
    waist_um: float
    length_um: float

    def sheet_um(self, galvo_deg: float) -> float:
        """Return the depth of the sheet in the middle of the image."""
        return self.slope_um_per_deg * galvo_deg + self.offset_um


def sheets(seed: int) -> dict[Side, SheetGeometry]:
    """Return the sheets of both sides that a seed stands for."""
    chance = Chance(mix(seed, 3))
    return {side: _sheet(chance) for side in VIEWS}


def _sheet(chance: Chance) -> SheetGeometry:
    return SheetGeometry(
        slope_um_per_deg=chance.between(90, 110),
        offset_um=chance.between(-10, 10),
        tilt=chance.between(-0.005, 0.005),
        waist_um=chance.between(-10, 10),
        length_um=chance.between(60, 80),
    )
