"""Smaller pictures: the means of blocks of pixels."""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["block_means", "repeated"]

T = TypeVar("T", np.bool_, np.uint16)


def block_means(image: NDArray[Any], size: int) -> NDArray[np.float32]:
    """Return the means of blocks of `size` × `size` pixels.

    A last block that is not full is completed with the picture's border. What lies at row r of the
    result is at row ``size * r + (size - 1) / 2`` of the picture.
    """
    missing = [-n % size for n in image.shape]
    if any(missing):
        image = np.pad(image, [(0, n) for n in missing], mode="edge")
    rows, columns = (n // size for n in image.shape)
    # Rows first: along them memory is read in order.
    lines = image.reshape(rows, size, -1).sum(axis=1, dtype=np.float32)
    sums: NDArray[np.float32] = lines.reshape(rows, columns, size).sum(axis=2)
    return sums / np.float32(size * size)


def repeated(blocks: NDArray[T], size: int, shape: tuple[int, ...]) -> NDArray[T]:
    """Return a picture of this shape with the value of each block in all of its pixels."""
    rows, columns = shape
    return blocks.repeat(size, axis=0).repeat(size, axis=1)[:rows, :columns]
