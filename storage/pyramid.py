"""Coarser levels of a volume, for whoever looks at it from afar. Pure array work: no files.

A pixel of a coarse level is the mean of all pixels that it covers, rounded once, so a level does
not depend on how it was come by.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from storage.values import Shape, VolumeSpec, Voxels

# A plane of this size is looked at whole: nothing coarser is of use.
_SMALLEST_PLANE: Final = 256
# Sums that are worked on at a time: they stay in the processor's cache.
_BAND_PIXELS: Final = 1 << 18
# So many 16-bit numbers cannot overflow a sum of 32 bits.
_SAFE_IN_32_BITS: Final = 1 << 16


@dataclass(frozen=True)
class Level:
    """One resolution of a volume.

    Attributes
    ----------
    factors
        How many pixels of the volume one of this level covers, along (z, y, x).
    shape
        (z, y, x); the last pixel of an axis may cover fewer.
    """

    factors: Shape
    shape: Shape


def levels(spec: VolumeSpec) -> tuple[Level, ...]:
    """Return the resolutions of a volume, the volume itself first.

    Each next one halves the plane, and the slices too once they lie no further apart than pixels
    do: voxels get as even as they can. Slices between which nothing moved are never merged.
    """
    found = [Level((1, 1, 1), spec.shape)]
    while max(found[-1].shape[1:]) > _SMALLEST_PLANE:
        deep, wide, _ = found[-1].factors
        close = 0 < spec.step_um * deep <= spec.pixel_size_um * wide
        factors = (deep * 2 if close and found[-1].shape[0] > 1 else deep, wide * 2, wide * 2)
        found.append(Level(factors, cast("Shape", tuple(map(_covering, spec.shape, factors)))))
    return tuple(found)


def mean(array: Voxels, level: Level, rows: slice, columns: slice, z: int) -> NDArray[Any]:
    """Return a part of one slice of a level.

    Parameters
    ----------
    array
        The volume, (z, y, x); may be far larger than memory.
    rows, columns, z
        Which part, in pixels of the level: within its shape, with both ends given.
    """
    deep, high, wide = level.factors
    part = np.empty((rows.stop - rows.start, columns.stop - columns.start), array.dtype)
    across = _covered(array.shape[2], wide, columns)
    for band in _bands(rows, columns, wide):
        block = array[
            z * deep : (z + 1) * deep,
            band.start * high : band.stop * high,
            columns.start * wide : columns.stop * wide,
        ]
        covered = len(block) * np.outer(_covered(array.shape[1], high, band), across)
        first, last = band.start - rows.start, band.stop - rows.start
        part[first:last] = _mean(block, (high, wide), covered)
    return part


def _mean(
    block: NDArray[Any], factors: tuple[int, int], covered: NDArray[np.int64]
) -> NDArray[Any]:
    whole = block.dtype.kind == "u"
    small = len(block) * factors[0] * factors[1] <= _SAFE_IN_32_BITS
    sums = np.dtype((np.uint32 if small else np.uint64) if whole else np.float64)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ is not a number, and nobody's mistake here
        planes = (
            _summed(_summed(plane, factors[0], sums).T, factors[1], sums).T for plane in block
        )
        total = next(planes)
        for plane in planes:
            total += plane
    if whole:
        covered = covered.astype(sums)
        return (total + covered // 2) // covered
    return total / covered


def _binned(plane: NDArray[Any], factors: tuple[int, int], sums: np.dtype[Any]) -> NDArray[Any]:
    return _summed(_summed(plane, factors[0], sums).T, factors[1], sums).T


def _summed(rows: NDArray[Any], factor: int, sums: np.dtype[Any]) -> NDArray[Any]:
    """Add up each `factor` rows; strided views are far quicker here than ``np.add.reduceat``."""
    total = rows[::factor].astype(sums)
    for offset in range(1, factor):
        part = rows[offset::factor]
        total[: len(part)] += part
    return total


def _bands(rows: slice, columns: slice, wide: int) -> Iterator[slice]:
    step = max(1, _BAND_PIXELS // ((columns.stop - columns.start) * wide))
    for start in range(rows.start, rows.stop, step):
        yield slice(start, min(start + step, rows.stop))


def _covered(extent: int, factor: int, part: slice) -> NDArray[np.int64]:
    """Return how many pixels of the volume's axis each pixel of a part of a level covers."""
    left = extent - np.arange(part.start, part.stop, dtype=np.int64) * factor
    return left.clip(max=factor)


def _covering(extent: int, factor: int) -> int:
    return -(-extent // factor)
