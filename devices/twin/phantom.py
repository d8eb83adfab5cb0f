"""The sample: where its embryos and their nuclei truly are.

Positions are stage µm: an object at (x, y) is in the middle of the picture when the stage
reads (x, y), and in focus when focus + piezo reads its z. How it looks is `optics`.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

from devices.twin.chance import Chance, mix

__all__ = ["BOOT_FOCUS_UM", "Embryo", "Nucleus", "Phantom"]

BOOT_FOCUS_UM = 150.0

# An embryo of C. elegans is an oval of about 50 × 30 µm.
_SEMI_AXES_UM = (25.0, 15.0, 15.0)
_EMBRYOS = 7
_SPREAD_UM = 280.0
_APART_UM = 80.0
_HEIGHTS_UM = 4.0
_NUCLEI = (18, 28)
_NUCLEUS_RADIUS_UM = (2.1, 3.0)
_NUCLEI_APART_UM = 6.6
_NUCLEI_WITHIN = 0.82
# When nuclei divide, how long it takes, how far from the middle the daughters come to rest,
# and how large they are.
_DIVIDES_S = (600.0, 10_800.0)
_DIVISION_S = 300.0
_DAUGHTERS_APART_UM = 2.3
_DAUGHTER = 0.8


@dataclass(frozen=True)
class Nucleus:
    """A ball of fluorescence.

    Parameters
    ----------
    centre_um
        (x, y, z), stage µm.
    radius_um
        Where its light has fallen to half.
    brightness
        Relative to the mean nucleus.
    texture_seed
        Of its chromatin.
    divides_s
        When it begins to divide.
    spindle
        The direction in which its daughters part, of length 1.
    """

    centre_um: tuple[float, float, float]
    radius_um: float
    brightness: float
    texture_seed: int
    divides_s: float
    spindle: tuple[float, float, float]

    def at(self, time_s: float) -> "tuple[Nucleus, ...]":
        """Return what has become of it: itself, or its two daughters on their way apart."""
        if time_s < self.divides_s:
            return (self,)
        apart_um = _DAUGHTERS_APART_UM * min(1.0, (time_s - self.divides_s) / _DIVISION_S)
        return tuple(
            replace(
                self,
                centre_um=_along(self.centre_um, self.spindle, sign * apart_um),
                radius_um=_DAUGHTER * self.radius_um,
                texture_seed=mix(self.texture_seed, which),
                divides_s=math.inf,
            )
            for which, sign in enumerate((-1, 1))
        )


@dataclass(frozen=True)
class Embryo:
    """An ellipsoid with nuclei in it.

    Parameters
    ----------
    centre_um
        (x, y, z), stage µm.
    semi_axes_um
        Half lengths along the long axis, across it, and along z.
    long_axis
        (x, y) of length 1: the direction of the long axis in stage coordinates.
    nuclei
        All inside the ellipsoid.
    texture_seed
        Of the granules in its cytoplasm and the chromatin of its nuclei.
    """

    centre_um: tuple[float, float, float]
    semi_axes_um: tuple[float, float, float]
    long_axis: tuple[float, float]
    nuclei: tuple[Nucleus, ...]
    texture_seed: int

    def at(self, time_s: float) -> "Embryo":
        """Return the embryo as it has become."""
        return replace(self, nuclei=tuple(one for old in self.nuclei for one in old.at(time_s)))

    def moved(self, by_um: tuple[float, float, float]) -> "Embryo":
        """Return the embryo, moved along x, y and z."""
        nuclei = (replace(one, centre_um=_along(one.centre_um, by_um, 1)) for one in self.nuclei)
        return replace(self, centre_um=_along(self.centre_um, by_um, 1), nuclei=tuple(nuclei))


@dataclass(frozen=True)
class Phantom:
    """The embryos that a seed stands for; the first is in view at the boot position.

    Parameters
    ----------
    seed
        Non-negative; the same seed gives the same sample on every machine.
    """

    seed: int

    @cached_property
    def embryos(self) -> tuple[Embryo, ...]:
        """Every embryo on the coverslip, none touching another."""
        chance = Chance(mix(self.seed, 1))
        centres = [(0.0, 0.0, BOOT_FOCUS_UM)]
        while len(centres) < _EMBRYOS:
            x, y, z = chance.point((_SPREAD_UM, _SPREAD_UM, _HEIGHTS_UM))
            if all(_square(x - u, y - v) >= _APART_UM**2 for u, v, _ in centres):
                centres.append((x, y, BOOT_FOCUS_UM + z))
        return tuple(_embryo(centre, chance) for centre in centres)


def _embryo(centre: tuple[float, float, float], chance: Chance) -> Embryo:
    a, b, c = (chance.between(0.94, 1.06) * half for half in _SEMI_AXES_UM)
    # (cos, sin) of any angle from −90° to 90°, without calling either.
    t = chance.between(-1, 1)
    long_axis = ((1 - t * t) / (1 + t * t), 2 * t / (1 + t * t))
    nuclei = _nuclei(centre, (a, b, c), long_axis, chance)
    texture_seed = chance.integer(0, 2**32 - 1)
    return Embryo(
        centre_um=centre,
        semi_axes_um=(a, b, c),
        long_axis=long_axis,
        nuclei=tuple(
            _nucleus(*nucleus, mix(texture_seed, index)) for index, nucleus in enumerate(nuclei)
        ),
        texture_seed=texture_seed,
    )


def _nuclei(
    centre: tuple[float, float, float],
    semi_axes: tuple[float, float, float],
    long_axis: tuple[float, float],
    chance: Chance,
) -> list[tuple[tuple[float, float, float], float, float]]:
    """Return the middle of each, its radius and its brightness."""
    places: list[tuple[float, float, float]] = []
    wanted = chance.integer(*_NUCLEI)
    while len(places) < wanted:
        u, v, w = chance.point((1, 1, 1))
        along, across, up = (p * half for p, half in zip((u, v, w), semi_axes, strict=True))
        inside = _square(u, v, w) <= _NUCLEI_WITHIN**2
        if inside and all(
            _square(along - p, across - q, up - r) >= _NUCLEI_APART_UM**2 for p, q, r in places
        ):
            places.append((along, across, up))
    cos, sin = long_axis
    x, y, z = centre
    return [
        (
            (x + along * cos - across * sin, y + along * sin + across * cos, z + up),
            chance.between(*_NUCLEUS_RADIUS_UM),
            chance.between(0.75, 1.25),
        )
        for along, across, up in places
    ]


def _nucleus(
    centre: tuple[float, float, float], radius_um: float, brightness: float, texture_seed: int
) -> Nucleus:
    # By chance of its own, so that how it divides changes nothing else.
    chance = Chance(mix(texture_seed, 5))
    while not 0.01 < (length := _square(*(spindle := chance.point((1, 1, 1))))) <= 1:
        continue
    x, y, z = (part / math.sqrt(length) for part in spindle)
    return Nucleus(
        centre_um=centre,
        radius_um=radius_um,
        brightness=brightness,
        texture_seed=texture_seed,
        divides_s=chance.between(*_DIVIDES_S),
        spindle=(x, y, z),
    )


def _along(
    place: tuple[float, float, float], direction: tuple[float, float, float], way_um: float
) -> tuple[float, float, float]:
    x, y, z = (p + way_um * d for p, d in zip(place, direction, strict=True))
    return x, y, z


def _square(*lengths: float) -> float:
    return sum(length * length for length in lengths)
