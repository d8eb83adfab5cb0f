"""The sample: where its embryos and their nuclei truly are.

Positions are stage µm: an object at (x, y) is in the middle of the picture when the stage
reads (x, y), and in focus when focus + piezo reads its z. How it looks is `optics`.
"""

from dataclasses import dataclass
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
    """

    centre_um: tuple[float, float, float]
    radius_um: float
    brightness: float


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
    return Embryo(
        centre_um=centre,
        semi_axes_um=(a, b, c),
        long_axis=long_axis,
        nuclei=_nuclei(centre, (a, b, c), long_axis, chance),
        texture_seed=chance.integer(0, 2**32 - 1),
    )


def _nuclei(
    centre: tuple[float, float, float],
    semi_axes: tuple[float, float, float],
    long_axis: tuple[float, float],
    chance: Chance,
) -> tuple[Nucleus, ...]:
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
    return tuple(
        Nucleus(
            centre_um=(x + along * cos - across * sin, y + along * sin + across * cos, z + up),
            radius_um=chance.between(*_NUCLEUS_RADIUS_UM),
            brightness=chance.between(0.75, 1.25),
        )
        for along, across, up in places
    )


def _square(*lengths: float) -> float:
    return sum(length * length for length in lengths)
