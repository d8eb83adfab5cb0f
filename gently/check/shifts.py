"""By how much the content of pictures and of volumes has moved."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from skimage.registration import phase_cross_correlation

__all__ = ["Shift", "shift_between", "slices_between"]

_MOST_PX = 512
_FINENESS = 20
# Of the width of a picture: what is wider than this is illumination.
_BLUR = 0.15
_COARSE_PX = 64


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
    found: NDArray[np.float64] = small - uniform_filter(small, round(_BLUR * small.shape[1]))
    return found


def _likeness(
    first: NDArray[np.float64], second: NDArray[np.float64], rows: float, columns: float
) -> float:
    down, right = round(rows), round(columns)
    a, b = _overlap(first, -down, -right), _overlap(second, down, right)
    return _correlation(a, b) if a.size else 0.0


def _overlap(picture: NDArray[np.float64], down: int, right: int) -> NDArray[np.float64]:
    """Return what is left of a picture without so many rows and columns at one side of it."""
    height, width = picture.shape
    rows = slice(max(0, down), height + min(0, down))
    columns = slice(max(0, right), width + min(0, right))
    return picture[rows, columns]


def slices_between(before: NDArray[np.generic], after: NDArray[np.generic]) -> tuple[float, float]:
    """Return by how many slices the content of a volume has moved, and how alike the two are.

    Up to half of the slices; positive is towards the last one.

    Parameters
    ----------
    before, after
        Volumes (z, y, x) of the same shape.
    """
    first, second = _changing(before), _changing(after)
    most = len(first) // 2
    shifts = range(-most, most + 1)
    alike = [_correlation(_from(first, -shift), _from(second, shift)) for shift in shifts]
    best = int(np.argmax(alike))
    if not 0 < best < len(alike) - 1:
        return float(shifts[best]), alike[best]
    left, peak, right = alike[best - 1 : best + 2]
    return shifts[best] + (left - right) / (2 * (left - 2 * peak + right)), peak


def _from(slices: NDArray[np.float64], first: int) -> NDArray[np.float64]:
    """Return the slices from a first one on, or without so many of the last."""
    return slices[first:] if first >= 0 else slices[:first]


def _changing(volume: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return a volume of fewer pixels without what is the same in all its slices."""
    binning = max(1, math.ceil(max(volume.shape[1:]) / _COARSE_PX))
    depth = len(volume)
    height, width = (size // binning for size in volume.shape[1:])
    blocks = volume[:, : height * binning, : width * binning].astype(np.float64)
    small = blocks.reshape(depth, height, binning, width, binning).mean(axis=(2, 4))
    found: NDArray[np.float64] = small - small.mean(axis=0)
    return found


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if not first.std() or not second.std():
        return 0.0
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])
