"""How the sample looks through a light sheet: one plane, as sharp as it is in focus, no noise.

What shines lies in the sheet; what is sharp lies in the focal plane. They are brought
together by piezo and mirror, and a frame is bright where they meet.
"""

import math
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from devices.twin.geometry import VIEWS, SheetGeometry
from devices.twin.life import FRESH, Condition
from devices.twin.painting import PIXEL_UM, SLICE_UM, Painted, half_box_um, paint
from devices.twin.phantom import Embryo, Phantom
from devices.twin.spim import Side

__all__ = ["PIXEL_UM", "UNIT_MS", "LightSheet", "Sight", "Window"]

# A brightness is the counts that this much light gives.
UNIT_MS = 100.0

_MEDIUM = 150.0
# Columns that lie in one plane, of a sheet that is tilted.
_STRIP_PX = 64
# µm of blur for a µm out of focus, by an aperture of 0.8 in water.
_BLUR = 0.75
# The rolling shutter is a slit: so far out of focus, half the light does not get through.
_SLIT_UM = 4.0
# Over so much the light fades at the ends of the sheet.
_EDGE_UM = 6.0
# A division is seen in steps of so much of the sample's time.
_REPAINTED_S = 30.0
# Nothing is blurred further; it is faint by then.
_WIDEST_PX = 24.0


class Window(NamedTuple):
    """The part of the sensor that is read, in pixels, and the sensor's own size."""

    x: int
    y: int
    width: int
    height: int
    sensor_px: int


class Sight(NamedTuple):
    """Where a side looks.

    Parameters
    ----------
    x_um, y_um, z_um
        The point of the sample where the axes of both sides cross.
    focal_um
        The depth of the focal plane behind it.
    sheet_um
        The depth of the light sheet, in the middle of the image.
    height_um, height_at_um
        How far the beam is drawn to a sheet along the rows, and around where, towards +y.
    """

    x_um: float
    y_um: float
    z_um: float
    focal_um: float = 0.0
    sheet_um: float = 0.0
    height_um: float = 400.0
    height_at_um: float = 0.0


class LightSheet:
    """One side, looking at a sample.

    Parameters
    ----------
    phantom
        The sample.
    side
        Whose view it is.
    geometry
        Of its sheet.
    """

    def __init__(self, phantom: Phantom, side: Side, geometry: SheetGeometry) -> None:
        self._view = VIEWS[side]
        self._geometry = geometry
        self._embryos = [_Embryo(embryo, side) for embryo in phantom.embryos]

    def look(
        self, sight: Sight, lit_ms: float, window: Window, condition: Condition = FRESH
    ) -> NDArray[np.float32]:
        """Return the counts (y, x) that `lit_ms` of light give, without offset and noise."""
        gain = lit_ms / UNIT_MS
        seen = np.full((window.height, window.width), _MEDIUM * gain, np.float32)
        if gain == 0:
            return seen
        x, y, z = condition.drift_um
        # What has drifted by so much is seen as from so much on the other side.
        sight = sight._replace(x_um=sight.x_um - x, y_um=sight.y_um - y, z_um=sight.z_um - z)
        for index, embryo in enumerate(self._embryos):
            left = condition.label_left(index)
            self._add(seen, embryo, sight, gain * left, window, condition.time_s)
        seen *= self._brightness(window)
        seen *= _drawn(sight, window)
        return seen

    def _add(
        self,
        seen: NDArray[np.float32],
        embryo: "_Embryo",
        sight: Sight,
        gain: float,
        window: Window,
        time_s: float,
    ) -> None:
        column_um, row_um, depth_um = self._view.seen(embryo.away_um(sight))
        half_um = embryo.half_um
        half_view_um = window.sensor_px * PIXEL_UM / 2
        deep_um = half_um[2] + abs(self._geometry.tilt) * half_view_um
        if (
            abs(column_um) >= half_um[0] + half_view_um
            or abs(row_um) >= half_um[1] + half_view_um
            or abs(sight.sheet_um - depth_um) >= deep_um
        ):
            return
        painted = embryo.painted(time_s)
        _, rows, columns = painted.brightness.shape
        left = _nearest(column_um / PIXEL_UM + (window.sensor_px - columns) / 2)
        top = _nearest(row_um / PIXEL_UM + (window.sensor_px - rows) / 2)
        plane = self._plane(painted, sight.sheet_um - depth_um, left, window.sensor_px)
        away_um = sight.sheet_um - sight.focal_um
        plane *= np.float32(gain / (1 + (away_um / _SLIT_UM) ** 2))
        plane, wider = _blurred(plane, abs(away_um) * _BLUR / PIXEL_UM)
        _paste(seen, plane, left - wider - window.x, top - wider - window.y)

    def _plane(
        self, painted: Painted, sheet_um: float, left: int, sensor_px: int
    ) -> NDArray[np.float32]:
        """Return what the sheet lights up of an embryo; it is at `sheet_um` in the middle."""
        planes, rows, columns = painted.brightness.shape
        lit = np.zeros((rows, columns), np.float32)
        for strip in range(left // _STRIP_PX, (left + columns - 1) // _STRIP_PX + 1):
            begin = max(0, strip * _STRIP_PX - left)
            end = min(columns, (strip + 1) * _STRIP_PX - left)
            middle_um = ((strip + 0.5) * _STRIP_PX - sensor_px / 2) * PIXEL_UM
            depth = (sheet_um + self._geometry.tilt * middle_um) / SLICE_UM + (planes - 1) / 2
            plane = math.floor(depth)
            if 0 <= plane < planes - 1:
                near, far = painted.brightness[plane : plane + 2, :, begin:end]
                share = depth - plane
                lit[:, begin:end] = near * np.float32(1 - share)
                lit[:, begin:end] += far * np.float32(share)
        return lit

    def _brightness(self, window: Window) -> NDArray[np.float32]:
        """Return the sheet's brightness along the columns; 1 at its waist."""
        columns = np.arange(window.x, window.x + window.width) - (window.sensor_px - 1) / 2
        away = (columns * PIXEL_UM - self._geometry.waist_um) / self._geometry.length_um
        brightness: NDArray[np.float32] = (1 / np.sqrt(1 + away * away)).astype(np.float32)
        return brightness


class _Embryo:
    """An embryo as one side sees it; painted when it comes into view, and when it divides."""

    def __init__(self, embryo: Embryo, side: Side) -> None:
        self._embryo = embryo
        self._view = VIEWS[side]
        self._painted: tuple[Embryo, Painted] | None = None

    def away_um(self, sight: Sight) -> tuple[float, float, float]:
        """Return how far its middle is from where the axes cross."""
        x, y, z = self._embryo.centre_um
        return x - sight.x_um, y - sight.y_um, z - sight.z_um

    @cached_property
    def half_um(self) -> tuple[float, float, float]:
        """Half its size along columns, rows and depth."""
        return half_box_um(self._embryo, self._view)

    def painted(self, time_s: float) -> Painted:
        """Return how it looks, as it had become not long before."""
        now = self._embryo.at(time_s - time_s % _REPAINTED_S)
        if self._painted is None or self._painted[0] != now:
            self._painted = now, paint(now, self._view)
        return self._painted[1]


def _drawn(sight: Sight, window: Window) -> NDArray[np.float32]:
    """Return how much of the sheet's light each row gets, as a column; its edges are soft."""
    rows = np.arange(window.y, window.y + window.height) - (window.sensor_px - 1) / 2
    away_um = np.abs(-rows * PIXEL_UM - sight.height_at_um)
    inside = np.clip((sight.height_um / 2 - away_um) / _EDGE_UM + 0.5, 0, 1)
    column: NDArray[np.float32] = inside.astype(np.float32)[:, None]
    return column


def _nearest(pixels: float) -> int:
    return math.floor(pixels + 0.5)


def _paste(seen: NDArray[np.float32], plane: NDArray[np.float32], left: int, top: int) -> None:
    rows, columns = plane.shape
    height, width = seen.shape
    x0, x1 = max(left, 0), min(left + columns, width)
    y0, y1 = max(top, 0), min(top + rows, height)
    if x0 < x1 and y0 < y1:
        seen[y0:y1, x0:x1] += plane[y0 - top : y1 - top, x0 - left : x1 - left]


def _blurred(plane: NDArray[np.float32], radius_px: float) -> tuple[NDArray[np.float32], int]:
    """Return a plane blurred to all sides, and by how many pixels it is wider for it.

    Two running means in each direction, of half the radius each, make a smooth cone.
    """
    size = round(min(radius_px, _WIDEST_PX)) + 1
    if size == 1:
        return plane, 0
    wide = np.pad(plane, size)
    for axis in (1, 0):
        # One of an even number of pixels is off by half a pixel: the second brings it back.
        for origin in (0, -1 + size % 2):
            wide = uniform_filter1d(wide, size, axis=axis, mode="constant", origin=origin)
    return wide, size
