"""What a perfect observer would draw: label images of what the twin's cameras see.

Labels are 0 for the background and, for an embryo, its index in the sample plus one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from devices.twin.bright_field import BRIGHT_PIXEL_UM
from devices.twin.geometry import VIEWS, View
from devices.twin.optics import PIXEL_UM, Sight, Window
from devices.twin.phantom import Embryo
from devices.twin.spim import Side

__all__ = ["labels_from_below", "labels_in_sheet"]

Labels = NDArray[np.uint16]
_FROM_BELOW = View(columns=(1, 0, 0), rows=(0, -1, 0), depth=(0, 0, 1))


def labels_in_sheet(embryos: Sequence[Embryo], side: Side, sight: Sight, window: Window) -> Labels:
    """Return what of the embryos a side's sheet cuts, (y, x), for a sheet without tilt."""
    origin = sight.x_um, sight.y_um, sight.z_um
    places = _places(VIEWS[side], origin, window, PIXEL_UM, sight.sheet_um)
    return _labelled(embryos, places, is_flat=False)


def labels_from_below(embryos: Sequence[Embryo], x_um: float, y_um: float, size_px: int) -> Labels:
    """Return the outlines of the embryos as the bottom camera sees them, (y, x)."""
    window = Window(0, 0, size_px, size_px, size_px)
    places = _places(_FROM_BELOW, (x_um, y_um, 0.0), window, BRIGHT_PIXEL_UM, 0.0)
    return _labelled(embryos, places, is_flat=True)


def _places(
    view: View,
    origin: tuple[float, float, float],
    window: Window,
    pixel_um: float,
    depth_um: float,
) -> list[NDArray[np.float64]]:
    """Return the stage x, y and z of every pixel, in µm."""
    middle = (window.sensor_px - 1) / 2
    columns = (np.arange(window.x, window.x + window.width) - middle)[None, :] * pixel_um
    rows = (np.arange(window.y, window.y + window.height) - middle)[:, None] * pixel_um
    return [
        origin[k] + columns * view.columns[k] + rows * view.rows[k] + depth_um * view.depth[k]
        for k in range(3)
    ]


def _labelled(
    embryos: Sequence[Embryo], places: list[NDArray[np.float64]], *, is_flat: bool
) -> Labels:
    labels = np.zeros(np.broadcast_shapes(*(place.shape for place in places)), np.uint16)
    for index, embryo in enumerate(embryos):
        x, y, z = (place - middle for place, middle in zip(places, embryo.centre_um, strict=True))
        cos, sin = embryo.long_axis
        a, b, c = embryo.semi_axes_um
        up = np.zeros_like(z) if is_flat else z / c
        q2 = ((x * cos + y * sin) / a) ** 2 + ((y * cos - x * sin) / b) ** 2 + up**2
        labels[np.broadcast_to(q2 < 1, labels.shape)] = index + 1
    return labels
