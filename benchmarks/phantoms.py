"""Pictures of embryos that never were, with the truth beside them.

Ovals of about 50 × 30 µm with granules in them, on a background that is uneven by more than the
embryos are bright, seen through photon and read noise. One seed is one picture, the same
on every machine.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["EMPTY", "FAINT", "LOW", "ORDINARY", "TOUCHING", "Oval", "Phantom", "Scene"]

Counts = NDArray[np.float32]

_LENGTH_UM: Final = (45.0, 55.0)
_WIDTH_UM: Final = (27.0, 33.0)
_GAP_UM: Final = 6.0
_EDGE_UM: Final = 0.7
_GRANULES_UM: Final = 1.5
_GRAININESS: Final = 0.12
_CLOUDS_UM: Final = 70.0
_CLOUDINESS: Final = 0.15
_READ_NOISE: Final = 20.0
_COUNTS_PER_ELECTRON: Final = 3.0


@dataclass(frozen=True)
class Scene:
    """What kind of picture.

    Parameters
    ----------
    name
        For tables.
    contrast
        How much brighter than the background an embryo is, in counts.
    embryos
        How many, each apart from the others.
    pairs
        How many pairs that touch, besides.
    background
        Mean counts where there is nothing; with 400, the noise of a pixel is 40 counts.
    unevenness
        How far the background goes up and down, as a share of it.
    shape
        Rows, columns.
    pixel_size_um
        At the sample.
    """

    name: str
    contrast: float
    embryos: int = 7
    pairs: int = 0
    background: float = 400.0
    unevenness: float = 0.4
    shape: tuple[int, int] = (2048, 2048)
    pixel_size_um: float = 0.1625

    def resized(self, shape: tuple[int, int], pixel_size_um: float) -> Self:
        """Return the same kind of scene with other pixels."""
        return replace(self, shape=shape, pixel_size_um=pixel_size_um)


ORDINARY: Final = Scene("ordinary", contrast=300)
TOUCHING: Final = Scene("touching", contrast=300, embryos=2, pairs=2)
LOW: Final = Scene("low", contrast=60)
FAINT: Final = Scene("faint", contrast=12, embryos=5)
EMPTY: Final = Scene("empty", contrast=0, embryos=0)


@dataclass(frozen=True)
class Oval:
    """An embryo: its middle and half axes in µm from the picture's centre (x right, y down)."""

    x_um: float
    y_um: float
    half_length_um: float
    half_width_um: float
    angle_rad: float

    def radius_um(self, direction_rad: float) -> float:
        """Return how far its border is from its middle in a direction."""
        turned = direction_rad - self.angle_rad
        along, across = np.cos(turned) / self.half_length_um, np.sin(turned) / self.half_width_um
        return float(1 / np.hypot(along, across))

    def depth(self, x_um: Counts, y_um: Counts) -> Counts:
        """Return how far inside places are, in µm along the shorter axis; negative is outside."""
        cos, sin = np.float32(np.cos(self.angle_rad)), np.float32(np.sin(self.angle_rad))
        dx, dy = x_um - np.float32(self.x_um), y_um - np.float32(self.y_um)
        along = (dx * cos + dy * sin) / np.float32(self.half_length_um)
        across = (dy * cos - dx * sin) / np.float32(self.half_width_um)
        return np.float32(self.half_width_um) * (1 - np.hypot(along, across))


class Phantom:
    """One picture and its truth.

    Parameters
    ----------
    scene
        What kind of picture.
    seed
        Non-negative; which one.
    """

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self._chance = np.random.default_rng((seed, 20261121))
        self.ovals = self._place()

    @cached_property
    def truth(self) -> NDArray[np.uint16]:
        """The embryos (y, x), numbered from 1; 0 is background."""
        labels = np.zeros(self.scene.shape, np.uint16)
        deepest = np.zeros(self.scene.shape, np.float32)
        for number, oval in enumerate(self.ovals, start=1):
            depth = oval.depth(*self._grid)
            labels[depth > deepest] = number
            np.maximum(deepest, depth, out=deepest)
        return labels

    @cached_property
    def pixels(self) -> NDArray[np.uint16]:
        """What the camera saw (y, x)."""
        chance, scene = self._chance, self.scene
        seen = self._background()
        granules = self._texture(_GRANULES_UM, _GRAININESS)
        for oval in self.ovals:
            share = np.clip(oval.depth(*self._grid) / _EDGE_UM + 0.5, 0, 1)
            seen += scene.contrast * chance.uniform(0.85, 1.15) * share * (1 + granules)
        electrons = chance.poisson(seen / _COUNTS_PER_ELECTRON)
        counts = electrons * _COUNTS_PER_ELECTRON + chance.normal(0, _READ_NOISE, seen.shape)
        return np.clip(np.rint(counts + 100), 0, 65535).astype(np.uint16)

    @cached_property
    def _grid(self) -> tuple[Counts, Counts]:
        """(x, y) of every pixel, µm from the centre."""
        rows, columns = (
            (np.arange(n, dtype=np.float32) - (n - 1) / 2) * self.scene.pixel_size_um
            for n in self.scene.shape
        )
        return columns[None, :], rows[:, None]

    def _background(self) -> Counts:
        x, y = self._grid
        half = max(self.scene.shape) * self.scene.pixel_size_um / 2
        angle = self._chance.uniform(0, 2 * np.pi)
        tilt = (x * np.cos(angle) + y * np.sin(angle)) / half
        x0, y0 = self._chance.uniform(-0.5, 0.5, 2) * half
        bulge = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / half**2) - 0.5
        shape = 0.5 * tilt + bulge + self._texture(_CLOUDS_UM, _CLOUDINESS)
        seen: Counts = (self.scene.background * (1 + self.scene.unevenness * shape)).astype(
            np.float32
        )
        return seen

    def _texture(self, grain_um: float, depth: float) -> Counts:
        """Return a random pattern whose standard deviation is `depth`."""
        sigma = grain_um / self.scene.pixel_size_um
        coarse = max(1, int(sigma / 4))
        small = self._chance.normal(0, 1, [-(-n // coarse) + 1 for n in self.scene.shape])
        smooth = ndimage.gaussian_filter(small.astype(np.float32), sigma / coarse)
        smooth *= np.float32(depth / smooth.std())
        rows, columns = self.scene.shape
        pattern: Counts = smooth.repeat(coarse, 0).repeat(coarse, 1)[:rows, :columns]
        return pattern

    def _place(self) -> tuple[Oval, ...]:
        """Return ovals that are wholly in the picture; those of a pair touch, no others do."""
        groups: list[tuple[Oval, ...]] = []
        wanted = [2] * self.scene.pairs + [1] * self.scene.embryos
        for size in wanted:
            while True:
                first = self._oval()
                group = (first,) if size == 1 else (first, self._beside(first))
                others = [oval for placed in groups for oval in placed]
                if all(self._fits(oval, others) for oval in group):
                    groups.append(group)
                    break
        return tuple(oval for group in groups for oval in group)

    def _oval(self) -> Oval:
        half_y, half_x = (n * self.scene.pixel_size_um / 2 for n in self.scene.shape)
        chance = self._chance
        return Oval(
            x_um=chance.uniform(-half_x, half_x),
            y_um=chance.uniform(-half_y, half_y),
            half_length_um=chance.uniform(*_LENGTH_UM) / 2,
            half_width_um=chance.uniform(*_WIDTH_UM) / 2,
            angle_rad=chance.uniform(0, np.pi),
        )

    def _beside(self, first: Oval) -> Oval:
        """Return an oval whose border meets that of another, side by side or end to side."""
        second = self._oval()
        across = first.angle_rad + np.pi / 2 + self._chance.uniform(-0.5, 0.5)
        away = first.radius_um(across) + second.radius_um(across)
        return replace(
            second,
            x_um=first.x_um + away * np.cos(across),
            y_um=first.y_um + away * np.sin(across),
        )

    def _fits(self, oval: Oval, others: list[Oval]) -> bool:
        half_y, half_x = (n * self.scene.pixel_size_um / 2 for n in self.scene.shape)
        reach = oval.half_length_um + _GAP_UM / 2
        inside = abs(oval.x_um) < half_x - reach and abs(oval.y_um) < half_y - reach
        return inside and all(self._apart(oval, other) for other in others)

    @staticmethod
    def _apart(one: Oval, other: Oval) -> bool:
        away = np.hypot(one.x_um - other.x_um, one.y_um - other.y_um)
        direction = np.arctan2(other.y_um - one.y_um, other.x_um - one.x_um)
        reach = one.radius_um(direction) + other.radius_um(direction)
        # Radii meet along the line between the middles; ovals bulge past it by less than the gap.
        return bool(away > max(reach, one.half_width_um + other.half_length_um) + _GAP_UM)
