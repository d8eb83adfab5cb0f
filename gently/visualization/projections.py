"""Maximum-intensity projections of a volume, all three in one pass over its slices.

Pure array work: no files, no HTTP, no display scaling.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from storage import Voxels

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


def project(volume: Voxels) -> Projections:
    """Compute the three maximum projections, reading each slice once.

    Parameters
    ----------
    volume : ndarray, shape (z, y, x)
        May be a memory-mapped file: one slice is looked at at a time, so memory stays at the size
        of the results whatever the number of slices.

    Notes
    -----
    Blocks for as long as reading the volume takes; call it on a worker thread.
    """
    slices, rows, columns = volume.shape
    xy = np.array(volume[0])
    xz = np.empty((slices, columns), volume.dtype)
    zy = np.empty((slices, rows), volume.dtype)
    for z, image in enumerate(volume):
        np.maximum(xy, image, out=xy)
        image.max(axis=0, out=xz[z])
        image.max(axis=1, out=zy[z])
    return Projections(xy=xy, xz=xz, yz=np.ascontiguousarray(zy.T))
