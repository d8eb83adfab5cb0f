"""How the sample looks through the light sheet: one plane, sharp, without noise.

An embryo is painted once, into a volume of brightness, when it first comes into view;
a frame is then a slice of it. Image convention: columns grow with stage x, rows against
stage y, so that moving the stage by +x moves a sample left, by +y down.
"""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.twin.chance import Chance, mix
from devices.twin.phantom import Embryo, Nucleus, Phantom

__all__ = ["PIXEL_UM", "UNIT_MS", "LightSheet", "Window"]

# 6.5 µm at 40×.
PIXEL_UM = 0.1625
# A brightness is the counts that this much light gives.
UNIT_MS = 100.0

_SLICE_UM = 0.5
_MEDIUM = 150.0
_HAZE = 700.0
_CYTOPLASM = 3200.0
_NUCLEUS = 26000.0
# The haze of scattered light reaches to this q² (1 on the surface of the ellipsoid).
_HAZE_ENDS = 1.55
# Over this much of q² the surface of the ellipsoid is soft.
_SOFT = 0.1
# Pixels and slices from one node of a texture to the next.
_GRANULES = (9, 3)
_CHROMATIN = (6, 2)
# The sheet is thicker than the lens resolves: a nucleus looks longer along z by this much.
_SHEET_UM = 0.9


class Window(NamedTuple):
    """The part of the sensor that is read, in pixels, and the sensor's own size."""

    x: int
    y: int
    width: int
    height: int
    sensor_px: int


class _Painted(NamedTuple):
    """A volume (z, y, x) in image orientation, and the stage µm of its middle."""

    brightness: NDArray[np.uint16]
    centre_um: tuple[float, float, float]


class LightSheet:
    """Looks at a sample.

    Parameters
    ----------
    phantom
        The sample.
    """

    def __init__(self, phantom: Phantom) -> None:
        self._embryos = phantom.embryos
        self._painted = cache(_paint)

    def look(
        self, x_um: float, y_um: float, z_um: float, lit_ms: float, window: Window
    ) -> NDArray[np.float32]:
        """Return the counts (y, x) that `lit_ms` of light give, without offset and noise."""
        gain = lit_ms / UNIT_MS
        seen = np.full((window.height, window.width), _MEDIUM * gain, np.float32)
        if gain == 0:
            return seen
        for embryo in self._embryos:
            if _in_view(embryo, x_um, y_um, z_um, window.sensor_px):
                _add(seen, self._painted(embryo), (x_um, y_um, z_um), gain, window)
        return seen


def _half_box_um(embryo: Embryo) -> tuple[float, float, float]:
    """Half the box (x, y, z) around an embryo with its haze."""
    a, b, c = (half * math.sqrt(_HAZE_ENDS) for half in embryo.semi_axes_um)
    cos, sin = embryo.long_axis
    return (
        math.sqrt(a * a * cos * cos + b * b * sin * sin),
        math.sqrt(a * a * sin * sin + b * b * cos * cos),
        c,
    )


def _in_view(embryo: Embryo, x_um: float, y_um: float, z_um: float, sensor_px: int) -> bool:
    half_field = sensor_px * PIXEL_UM / 2
    reach = _half_box_um(embryo)
    away = [abs(p - q) for p, q in zip(embryo.centre_um, (x_um, y_um, z_um), strict=True)]
    return (
        away[0] < reach[0] + half_field and away[1] < reach[1] + half_field and away[2] < reach[2]
    )


def _add(
    seen: NDArray[np.float32],
    painted: _Painted,
    at_um: tuple[float, float, float],
    gain: float,
    window: Window,
) -> None:
    volume, centre = painted
    planes, rows, columns = volume.shape
    depth = (at_um[2] - centre[2]) / _SLICE_UM + (planes - 1) / 2
    plane = math.floor(depth)
    if not 0 <= plane < planes - 1:
        return
    left = _nearest((centre[0] - at_um[0]) / PIXEL_UM + (window.sensor_px - columns) / 2) - window.x
    top = _nearest((at_um[1] - centre[1]) / PIXEL_UM + (window.sensor_px - rows) / 2) - window.y
    x0, x1 = max(left, 0), min(left + columns, window.width)
    y0, y1 = max(top, 0), min(top + rows, window.height)
    if x0 >= x1 or y0 >= y1:
        return
    near, far = volume[plane : plane + 2, y0 - top : y1 - top, x0 - left : x1 - left]
    share = depth - plane
    part = seen[y0:y1, x0:x1]
    part += near * np.float32(gain * (1 - share))
    if share:
        part += far * np.float32(gain * share)


def _nearest(pixels: float) -> int:
    return math.floor(pixels + 0.5)


# ---------------------------------------------------------------------- painting


def _paint(embryo: Embryo) -> _Painted:
    half_x, half_y, half_z = _half_box_um(embryo)
    columns, rows = (2 * math.ceil(half / PIXEL_UM) for half in (half_x, half_y))
    planes = 2 * math.ceil(half_z / _SLICE_UM) + 1
    x, y, z = (
        _ticks(count, pitch)
        for count, pitch in ((columns, PIXEL_UM), (rows, -PIXEL_UM), (planes, _SLICE_UM))
    )
    flat = _flat_distance(embryo, x, y)
    granules = _Texture(embryo.texture_seed, (planes, rows, columns), _GRANULES)
    volume = np.empty((planes, rows, columns), np.uint16)
    for index, height in enumerate(z):
        up = height / np.float32(embryo.semi_axes_um[2])
        q2 = flat + up * up
        haze = np.maximum(np.float32(_HAZE_ENDS) - q2, 0) / np.float32(_HAZE_ENDS)
        body = _smooth((np.float32(1 + _SOFT / 2) - q2) / np.float32(_SOFT))
        cytoplasm = np.float32(_CYTOPLASM) * (np.float32(0.5) + granules.plane(index))
        volume[index] = np.float32(_HAZE) * haze * haze + cytoplasm * body
    for index, nucleus in enumerate(embryo.nuclei):
        _paint_nucleus(volume, nucleus, embryo, (x, y, z), mix(embryo.texture_seed, index))
    return _Painted(volume, embryo.centre_um)


def _ticks(count: int, pitch_um: float) -> NDArray[np.float32]:
    """Positions of `count` samples about 0, in µm."""
    return ((np.arange(count) - (count - 1) / 2) * pitch_um).astype(np.float32)


def _flat_distance(
    embryo: Embryo, x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the part of q² that does not depend on z, as (y, x)."""
    cos, sin = (np.float32(part) for part in embryo.long_axis)
    a, b = (np.float32(half) for half in embryo.semi_axes_um[:2])
    along = (x * cos)[None, :] + (y * sin)[:, None]
    across = (y * cos)[:, None] - (x * sin)[None, :]
    along /= a
    across /= b
    q2: NDArray[np.float32] = along * along + across * across
    return q2


def _paint_nucleus(
    volume: NDArray[np.uint16],
    nucleus: Nucleus,
    embryo: Embryo,
    ticks: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
    seed: int,
) -> None:
    radius = nucleus.radius_um
    reaches = (radius, radius, radius + _SHEET_UM)
    squares = []
    box = []
    for axis in range(3):
        away = (
            ticks[axis] - np.float32(nucleus.centre_um[axis] - embryo.centre_um[axis])
        ) / np.float32(reaches[axis])
        inside = np.flatnonzero(np.abs(away) < np.float32(1.3))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
        squares.append(away[box[-1]] * away[box[-1]])
    q2 = squares[2][:, None, None] + squares[1][None, :, None] + squares[0][None, None, :]
    ball = _smooth((np.float32(1.6) - q2) / np.float32(1.2))
    ball *= np.float32(_NUCLEUS * nucleus.brightness)
    planes, rows, columns = ball.shape
    chromatin = _Texture(seed, (planes, rows, columns), _CHROMATIN)
    for index in range(planes):
        ball[index] *= np.float32(0.6) + np.float32(0.8) * chromatin.plane(index)
    there = volume[box[2], box[1], box[0]]
    np.maximum(there, ball.astype(np.uint16), out=there)


def _smooth(t: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rise from 0 at t = 0 to 1 at t = 1 without a kink."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


class _Texture:
    """A coarse lattice of chance, smoothed up to the size of a volume."""

    def __init__(self, seed: int, shape: tuple[int, int, int], pitch: tuple[int, int]) -> None:
        planes, rows, columns = shape
        pixels, self._slices = pitch
        coarse = (planes // self._slices + 2, rows // pixels + 2, columns // pixels + 2)
        self._lattice = Chance(seed).lattice(coarse)
        self._rows = _between_nodes(rows, pixels)
        self._columns = _between_nodes(columns, pixels)

    def plane(self, index: int) -> NDArray[np.float32]:
        """Return one plane (y, x) of numbers of 0…1."""
        node, step = divmod(index, self._slices)
        low, high = self._lattice[node : node + 2]
        coarse = low + (high - low) * np.float32(step / self._slices)
        nodes, shares = self._rows
        tall = coarse[nodes] + (coarse[nodes + 1] - coarse[nodes]) * shares[:, None]
        nodes, shares = self._columns
        wide: NDArray[np.float32] = tall[:, nodes]
        wide += (tall[:, nodes + 1] - wide) * shares
        return wide


def _between_nodes(count: int, pitch: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    nodes, steps = np.divmod(np.arange(count), pitch)
    return nodes, (steps / pitch).astype(np.float32)
