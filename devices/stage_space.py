"""Stage space: where each voxel of a volume lies, in µm of the sample's stages.

The space is that of `xy_stage` and of `focus`, the devices by which plans go somewhere: what is
at (x, y, z) is in the middle of the picture, and in the focal plane of a slice drive that stands
at 0, when the stages read so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.frames import VolumeRequest

__all__ = ["ALONG_Z", "Affine", "Axes", "Vector", "to_stage_um"]

Vector = tuple[float, float, float]
Affine = list[list[float]]
"""Three rows, of x, y and z, by which (z, y, x, 1) of a voxel is multiplied."""

_STAGE: Final = ("xy_stage.x", "xy_stage.y")
_FOCUS: Final = "focus.z"


@dataclass(frozen=True)
class Axes:
    """How the volumes of a side lie in the stage's space: unit vectors, (x, y, z).

    Parameters
    ----------
    columns, rows
        Columns of a picture grow along it, and rows.
    depth
        The focal plane moves along it when the slice drive's position grows.
    """

    columns: Vector
    rows: Vector
    depth: Vector


ALONG_Z: Final = Axes(columns=(1, 0, 0), rows=(0, -1, 0), depth=(0, 0, 1))
"""Stage +x moves a sample left in the picture, +y moves it down, and it is seen along z."""


def to_stage_um(
    axes: Axes | None,
    request: VolumeRequest,
    *,
    drive: str,
    center_um: float,
    size_px: tuple[int, int],
    pixel_size_um: float,
    positions_um: Mapping[str, float],
) -> Affine | None:
    """Return the affine from the voxel (z, y, x) of a volume to (x, y, z) on the stage, in µm.

    A voxel is named by its middle. The axes of the sides cross in the middle of the picture.

    Parameters
    ----------
    axes
        Of the side; None if nobody has said how it lies.
    request, center_um
        For the volume, and its middle on the slice drive. Where the sheet stays, all slices are of
        the place that it lights.
    drive
        The name of the slice drive.
    size_px
        Rows and columns.
    pixel_size_um
        In the sample.
    positions_um
        Every axis by ``"device.axis"``, as read back.

    Returns
    -------
    list or None
        3 × 4; None where it is not known, because nothing is made up.
    """
    if axes is None or not positions_um.keys() >= {*_STAGE, _FOCUS}:
        return None
    # A slice drive that is the focus itself carries the sample: its place is z.
    z_um = 0.0 if f"{drive}.z" == _FOCUS else positions_um[_FOCUS]
    first_um, step_um = request.position_um(center_um, 0), request.step_um
    if request.sheet_um is not None:
        first_um, step_um = request.sheet_um, 0.0
    columns, rows, depth = (np.array(axis, float) for axis in (axes.columns, axes.rows, axes.depth))
    middle_row, middle_column = ((size - 1) / 2 * pixel_size_um for size in size_px)
    origin = np.array([*(positions_um[name] for name in _STAGE), z_um])
    origin += first_um * depth - middle_row * rows - middle_column * columns
    matrix = [step_um * depth, pixel_size_um * rows, pixel_size_um * columns, origin]
    found: Affine = np.stack(matrix, axis=1).tolist()
    return found
