"""What a picture would be without objects: a smooth surface under them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from gently.detection.blocks import block_means, repeated

__all__ = ["Background", "background_of"]

Image = NDArray[np.float32]

# Blocks of this share of an object's length: fine enough to look between objects.
_BLOCK: Final = 0.1
_HIGHEST_DEGREE: Final = 6
_ROUNDS: Final = 4
# Blocks this far above the surface, in standard deviations, belong to objects.
_ABOVE: Final = 2.0
_BELOW: Final = 4.0


@dataclass(frozen=True, eq=False)
class Background:
    """A smooth surface, and how far the picture strays from it where there is nothing.

    Attributes
    ----------
    surface
        Of the picture's shape.
    bare
        Where there is nothing, of the same shape.
    """

    surface: Image
    bare: NDArray[np.bool_]


def background_of(image: Image, length_px: float) -> Background:
    """Return the background of a picture whose objects are brighter than it.

    A polynomial is fitted to blocks of pixels again and again, each time without the blocks that
    stand out. Its degree follows from how many objects fit into the picture side by side: it
    cannot follow anything that is as small as an object.
    """
    block = max(1, round(length_px * _BLOCK))
    degree = int(np.clip(round(max(image.shape) / length_px), 1, _HIGHEST_DEGREE))
    blocks = block_means(image, block)
    rows, columns = (
        legendre.legvander((np.arange(n) + 0.5) * block * 2 / size - 1, degree)
        for n, size in zip(blocks.shape, image.shape, strict=True)
    )
    terms = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
    design = np.stack([np.outer(rows[:, i], columns[:, j]).ravel() for i, j in terms], axis=1)
    weights, bare = _fit(design, blocks.ravel().astype(float), np.array(terms).sum(axis=1))
    coefficients = np.zeros((degree + 1, degree + 1))
    coefficients[tuple(zip(*terms, strict=True))] = weights
    rows, columns = (
        legendre.legvander((np.arange(size) + 0.5) * 2 / size - 1, degree) for size in image.shape
    )
    surface = (rows @ coefficients @ columns.T).astype(np.float32)
    return Background(surface, repeated(bare.reshape(blocks.shape), block, surface.shape))


def _fit(
    design: NDArray[np.float64], values: NDArray[np.float64], degrees: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the weights of the terms, and which values they were fitted to in the end.

    The degree rises step by step: a surface that may bend at once goes anywhere where it sees
    nothing.
    """
    kept = np.ones(values.shape, bool)
    weights = np.zeros(degrees.shape)
    for degree in range(1, degrees.max() + 1):
        used = degrees <= degree
        for _ in range(_ROUNDS):
            seen = design[np.ix_(kept, used)]
            # The normal equations: a dozen times faster, and Legendre terms are nearly orthogonal.
            weights[used] = np.linalg.lstsq(seen.T @ seen, seen.T @ values[kept], rcond=None)[0]
            strays = values - design @ weights
            middle = np.median(strays[kept])
            spread = 1.4826 * np.median(np.abs(strays[kept] - middle))
            low, high = middle - _BELOW * spread, middle + _ABOVE * spread
            fitting = (low <= strays) & (strays <= high)
            if not fitting.any() or np.array_equal(fitting, kept):
                break
            kept = fitting
    return weights, kept
