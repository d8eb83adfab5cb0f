"""How the sample looks from below: dark ovals with a bright rim in the light of the LED.

The same convention as `optics`: columns grow with stage x, rows against stage y.
"""

import math

import numpy as np
from numpy.typing import NDArray

from devices.twin.phantom import Embryo, Phantom

__all__ = ["BRIGHT_PIXEL_UM", "BrightField"]

# 6.5 µm at 10×.
BRIGHT_PIXEL_UM = 0.65
# Counts of the empty field, for each percent of the LED and ms of exposure.
_GAIN = 24.0
_BODY = np.float32(0.55)
_RIM = np.float32(1.25)
# q² (1 on the surface of the ellipsoid) where the bright rim ends.
_RIM_ENDS = np.float32(1.25)


class BrightField:
    """Looks at a sample from below.

    Parameters
    ----------
    phantom
        The sample.
    size_px
        Rows and columns of the sensor.
    """

    def __init__(self, phantom: Phantom, size_px: int) -> None:
        self._embryos = phantom.embryos
        self._size_px = size_px

    def look(self, x_um: float, y_um: float, light: float) -> NDArray[np.float32]:
        """Return the counts (y, x) that `light` (percent · ms) gives, without offset and noise."""
        size = self._size_px
        seen = np.full((size, size), _GAIN * light, np.float32)
        for embryo in self._embryos:
            self._shade(seen, embryo, x_um, y_um)
        return seen

    def _shade(self, seen: NDArray[np.float32], embryo: Embryo, x_um: float, y_um: float) -> None:
        middle = (self._size_px - 1) / 2
        column = middle + (embryo.centre_um[0] - x_um) / BRIGHT_PIXEL_UM
        row = middle - (embryo.centre_um[1] - y_um) / BRIGHT_PIXEL_UM
        reach = math.ceil(1.2 * max(embryo.semi_axes_um) / BRIGHT_PIXEL_UM)
        columns = _range(column, reach, self._size_px)
        rows = _range(row, reach, self._size_px)
        if not len(columns) or not len(rows):
            return
        q2 = _q2(embryo, (columns - column), (row - rows))
        shade = np.where(q2 < 1, _BODY, np.where(q2 < _RIM_ENDS, _RIM, np.float32(1)))
        seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] *= shade


def _range(middle: float, reach: int, size: int) -> NDArray[np.intp]:
    nearest = math.floor(middle + 0.5)
    return np.arange(max(0, nearest - reach), min(size, nearest + reach + 1))


def _q2(
    embryo: Embryo, columns: NDArray[np.floating], rows: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Return the squared distance from the long axis's middle, in units of the surface."""
    x = (columns * BRIGHT_PIXEL_UM).astype(np.float32)[None, :]
    y = (rows * BRIGHT_PIXEL_UM).astype(np.float32)[:, None]
    cos, sin = (np.float32(part) for part in embryo.long_axis)
    a, b = (np.float32(half) for half in embryo.semi_axes_um[:2])
    along, across = x * cos + y * sin, y * cos - x * sin
    along /= a
    across /= b
    q2: NDArray[np.float32] = along * along + across * across
    return q2
