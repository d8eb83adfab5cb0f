"""Maximum-intensity projections of a volume, all three in one pass over its slices.

Pure array work: no files, no HTTP, no display scaling.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from storage import Shape

Plane = Literal["xy", "xz", "yz"]


@dataclass(frozen=True)
class Projections:
    """The three maximum projections of one volume of shape (z, y, x).

    Attributes
    ----------
    xy : ndarray, shape (y, x)
        The maximum along z.
    xz : ndarray, shape (z, x)
        The maximum along y: drawn beneath ``xy``, their columns line up.
    yz : ndarray, shape (y, z)
        The maximum along x: drawn to the right of ``xy``, their rows line up.
    """

    xy: NDArray[Any]
    xz: NDArray[Any]
    yz: NDArray[Any]

    def onto(self, plane: Plane) -> NDArray[Any]:
        """Return the projection onto one plane."""
        return {"xy": self.xy, "xz": self.xz, "yz": self.yz}[plane]


def project(shape: Shape, slices: Iterable[NDArray[Any]]) -> Projections:
    """Compute the three maximum projections, reading each slice once.

    Parameters
    ----------
    shape
        (z, y, x).
    slices
        Looked at one by one, so that memory stays at the size of the results whatever their number.

    Notes
    -----
    Blocks for as long as reading the volume takes; call it on a worker thread.
    """
    depth, rows, columns = shape
    rest = iter(slices)
    first = next(rest)
    xy = np.array(first)
    xz = np.empty((depth, columns), first.dtype)
    zy = np.empty((depth, rows), first.dtype)
    for z, image in enumerate(chain([first], rest)):
        np.maximum(xy, image, out=xy)
        image.max(axis=0, out=xz[z])
        image.max(axis=1, out=zy[z])
    return Projections(xy=xy, xz=xz, yz=np.ascontiguousarray(zy.T))
