"""An embryo as a side sees it: a volume of brightness, painted once, of which frames are slices.

The volume's axes are (depth, rows, columns) of a `View`. What is painted is fixed to the
sample, so both sides see the same granules and nuclei, each blurred along its own depth.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.twin.chance import Chance
from devices.twin.geometry import View
from devices.twin.phantom import Embryo, Nucleus

__all__ = ["PIXEL_UM", "SLICE_UM", "Painted", "half_box_um", "paint"]

# 6.5 µm at 40×.
PIXEL_UM = 0.1625
SLICE_UM = 0.5
_HAZE = 700.0
_CYTOPLASM = 3200.0
_NUCLEUS = 26000.0
# The haze of scattered light reaches to this q² (1 on the surface of the ellipsoid).
_HAZE_ENDS = 1.55
# Over this much of q² the surface of the ellipsoid is soft.
_SOFT = 0.1
# Of a texture: µm from one node to the next, and nodes along each axis of the sample.
_GRANULES = (1.5, 48)
_CHROMATIN = (1.0, 16)
# The sheet is thicker than the lens resolves: a nucleus looks longer along the depth by this much.
_SHEET_UM = 0.9

Vector = tuple[float, float, float]
Ticks = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Positions of the samples along columns, rows and depth, in µm from the embryo's middle."""


class Painted(NamedTuple):
    """A volume (depth, rows, columns).

    Parameters
    ----------
    brightness
        Its middle is the embryo's.
    half_um
        Half its size along columns, rows and depth.
    """

    brightness: NDArray[np.uint16]
    half_um: Vector


def half_box_um(embryo: Embryo, view: View) -> Vector:
    """Return half the box around an embryo with its haze, along columns, rows and depth."""
    directions = [view.seen(direction) for direction in _directions(embryo)]
    column, row, depth = (
        math.sqrt(
            _HAZE_ENDS
            * sum(
                (half * direction[axis]) ** 2
                for half, direction in zip(embryo.semi_axes_um, directions, strict=True)
            )
        )
        for axis in range(3)
    )
    return column, row, depth


def paint(embryo: Embryo, view: View) -> Painted:
    """Return an embryo as a side sees it."""
    half_um = half_box_um(embryo, view)
    columns, rows = (2 * math.ceil(half / PIXEL_UM) for half in half_um[:2])
    planes = 2 * math.ceil(half_um[2] / SLICE_UM) + 1
    ticks = _ticks(columns, PIXEL_UM), _ticks(rows, PIXEL_UM), _ticks(planes, SLICE_UM)
    body = _Body(embryo, view, ticks)
    granules = _Texture(embryo.texture_seed, _GRANULES, view, ticks)
    volume = np.empty((planes, rows, columns), np.uint16)
    for index in range(planes):
        q2 = body.q2(index)
        haze = np.maximum(np.float32(_HAZE_ENDS) - q2, 0) / np.float32(_HAZE_ENDS)
        inside = _smooth((np.float32(1 + _SOFT / 2) - q2) / np.float32(_SOFT))
        cytoplasm = np.float32(_CYTOPLASM) * (np.float32(0.5) + granules.plane(index))
        volume[index] = np.float32(_HAZE) * haze * haze + cytoplasm * inside
    for nucleus in embryo.nuclei:
        _paint_nucleus(volume, nucleus, embryo, view, ticks)
    return Painted(volume, half_um)


def _directions(embryo: Embryo) -> tuple[Vector, Vector, Vector]:
    cos, sin = embryo.long_axis
    return (cos, sin, 0.0), (-sin, cos, 0.0), (0.0, 0.0, 1.0)


def _ticks(count: int, pitch_um: float) -> NDArray[np.float32]:
    """Positions of `count` samples about 0, in µm."""
    return ((np.arange(count) - (count - 1) / 2) * pitch_um).astype(np.float32)


class _Body:
    """The ellipsoid, plane by plane."""

    def __init__(self, embryo: Embryo, view: View, ticks: Ticks) -> None:
        columns, rows, self._depths = ticks
        self._still = np.zeros((len(rows), len(columns)), np.float32)
        self._moving: list[tuple[NDArray[np.float32], np.float32]] = []
        for half, direction in zip(embryo.semi_axes_um, _directions(embryo), strict=True):
            column, row, depth = (np.float32(part / half) for part in view.seen(direction))
            flat = (columns * column)[None, :] + (rows * row)[:, None]
            if depth:
                self._moving.append((flat if flat.any() else np.zeros((), np.float32), depth))
            else:
                self._still += flat * flat

    def q2(self, index: int) -> NDArray[np.float32]:
        """Return the squared distance (rows, columns) from the middle; 1 on the surface."""
        total = self._still
        for flat, depth in self._moving:
            way = flat + depth * self._depths[index]
            total = total + way * way
        return total


def _paint_nucleus(
    volume: NDArray[np.uint16],
    nucleus: Nucleus,
    embryo: Embryo,
    view: View,
    ticks: Ticks,
) -> None:
    radius = nucleus.radius_um
    reaches = (radius, radius, radius + _SHEET_UM)
    x, y, z = (a - b for a, b in zip(nucleus.centre_um, embryo.centre_um, strict=True))
    squares, box, near = [], [], []
    for middle, reach, along in zip(view.seen((x, y, z)), reaches, ticks, strict=True):
        away = (along - np.float32(middle)) / np.float32(reach)
        inside = np.flatnonzero(np.abs(away) < np.float32(1.3))
        box.append(slice(int(inside[0]), int(inside[-1]) + 1))
        squares.append(away[box[-1]] * away[box[-1]])
        near.append(along[box[-1]] - np.float32(middle))
    q2 = squares[2][:, None, None] + squares[1][None, :, None] + squares[0][None, None, :]
    ball = _smooth((np.float32(1.6) - q2) / np.float32(1.2))
    ball *= np.float32(_NUCLEUS * nucleus.brightness)
    chromatin = _Texture(nucleus.texture_seed, _CHROMATIN, view, (near[0], near[1], near[2]))
    for index in range(len(ball)):
        ball[index] *= np.float32(0.6) + np.float32(0.8) * chromatin.plane(index)
    there = volume[box[2], box[1], box[0]]
    np.maximum(there, ball.astype(np.uint16), out=there)


def _smooth(t: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rise from 0 at t = 0 to 1 at t = 1 without a kink."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


class _Texture:
    """A coarse lattice of chance that is fixed to the sample, smoothed up to a view of it."""

    def __init__(self, seed: int, pattern: tuple[float, int], view: View, ticks: Ticks) -> None:
        pitch_um, nodes = pattern
        lattice = Chance(seed).lattice((nodes, nodes, nodes))  # of x, y, z
        of_sample = [next(k for k in range(3) if axis[k]) for axis in view.axes]
        order = of_sample[2], of_sample[1], of_sample[0]
        self._lattice = lattice.transpose(order)
        self._columns, self._rows, self._planes = (
            _between_nodes(along * np.float32(axis[k]), pitch_um, nodes)
            for along, axis, k in zip(ticks, view.axes, of_sample, strict=True)
        )

    def plane(self, index: int) -> NDArray[np.float32]:
        """Return one plane (rows, columns) of numbers of 0…1."""
        nodes, shares = self._planes
        low, high = self._lattice[nodes[index]], self._lattice[nodes[index] + 1]
        coarse = low + (high - low) * shares[index]
        nodes, shares = self._rows
        tall = coarse[nodes] + (coarse[nodes + 1] - coarse[nodes]) * shares[:, None]
        nodes, shares = self._columns
        wide: NDArray[np.float32] = tall[:, nodes]
        wide += (tall[:, nodes + 1] - wide) * shares
        return wide


def _between_nodes(
    along: NDArray[np.float32], pitch_um: float, count: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the node below each place, the middle one being at 0, and how far it is past it."""
    places = along / np.float32(pitch_um) + np.float32(count // 2)
    nodes = np.floor(places)
    return nodes.astype(np.intp), places - nodes
