"""A picture, and where in stage coordinates it was taken."""

import math
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = ["Picture"]

Sign = Literal[1, -1]
_SIGNS: Final = get_args(Sign)


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """One plane, or one projection, of a place on the stage.

    A pixel is named by its middle: row 0, column 0 is the middle of the first pixel, and the
    middle of a picture of (rows, columns) is at row (rows − 1)/2, column (columns − 1)/2: between
    two pixels where the number is even. With the usual signs, what lies (dx, dy) pixels right and
    down of the middle is at stage (x + dx·s, y − dy·s).

    Parameters
    ----------
    pixels
        (y, x), any integer or real type; it is read, never written, and may be mapped.
    pixel_size_um
        At the sample, the same in both directions.
    centre_um
        Stage (x, y) of the middle of the picture, µm.
    x_sign, y_sign
        Which way stage x goes along the columns and stage y along the rows. Moving the stage by +x
        moves a sample left in the picture and +y moves it down, hence 1 and −1.

    Raises
    ------
    ValueError
        If the pixels are no picture, or a number is not finite.
    """

    pixels: NDArray[Any]
    pixel_size_um: float
    centre_um: tuple[float, float] = (0.0, 0.0)
    x_sign: Sign = 1
    y_sign: Sign = -1

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or not self.pixels.size:
            raise ValueError(
                f"a picture is (y, x), and this is {self.pixels.shape}: choose a plane or a "
                "projection"
            )
        if self.pixels.dtype.kind not in "uif":
            raise ValueError(f"pixels are integers or real numbers, not {self.pixels.dtype}")
        if not (math.isfinite(self.pixel_size_um) and self.pixel_size_um > 0):
            raise ValueError(f"pixel_size_um is {self.pixel_size_um}; it has to be above 0")
        if not all(map(math.isfinite, self.centre_um)):
            raise ValueError(f"centre_um is {self.centre_um}; both have to be finite")
        if self.x_sign not in _SIGNS or self.y_sign not in _SIGNS:
            raise ValueError(f"x_sign {self.x_sign} and y_sign {self.y_sign} have to be 1 or -1")

    def inverted(self) -> Self:
        """Return it with what is dark bright, and what is bright dark."""
        pixels = self.pixels
        top = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else pixels.max()
        return replace(self, pixels=top - pixels)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        rows, columns = self.pixels.shape
        return rows, columns

    @property
    def middle_px(self) -> tuple[float, float]:
        """(row, column) of the middle."""
        rows, columns = self.shape
        return (rows - 1) / 2, (columns - 1) / 2

    def stage_um(self, row: float, column: float) -> tuple[float, float]:
        """Return the stage (x, y), in µm, of a place in the picture."""
        middle_row, middle_column = self.middle_px
        x, y = self.centre_um
        return (
            x + self.x_sign * (column - middle_column) * self.pixel_size_um,
            y + self.y_sign * (row - middle_row) * self.pixel_size_um,
        )

    def place_px(self, x_um: float, y_um: float) -> tuple[float, float]:
        """Return the (row, column) of a place on the stage; it need not be in the picture."""
        middle_row, middle_column = self.middle_px
        x, y = self.centre_um
        return (
            middle_row + self.y_sign * (y_um - y) / self.pixel_size_um,
            middle_column + self.x_sign * (x_um - x) / self.pixel_size_um,
        )
