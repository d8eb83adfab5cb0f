"""What becomes of the sample: it develops, drifts and bleaches. At first, none of it.

A sample has a time of its own, which stands still unless it is told to go, so that what is
seen depends on nothing but what was commanded.
"""

from dataclasses import dataclass

from devices.twin.chance import Chance, mix
from devices.twin.motion import Clock

__all__ = ["FRESH", "Condition", "Life"]

Vector = tuple[float, float, float]

# An embryo that got this much light shines half as brightly.
_HALF_BLEACHED_UJ = 500_000.0


@dataclass(frozen=True)
class Condition:
    """How the sample is at one moment.

    Parameters
    ----------
    time_s
        Since its embryos were as the seed has them.
    drift_um
        How far it has moved, along x, y and z.
    energies_uj
        What each embryo got of light, by its index; those that got none may be missing.
    """

    time_s: float = 0.0
    drift_um: Vector = (0.0, 0.0, 0.0)
    energies_uj: tuple[tuple[int, float], ...] = ()

    def label_left(self, embryo: int) -> float:
        """Return the part of an embryo's label that is not bleached."""
        got_uj = dict(self.energies_uj).get(embryo, 0.0)
        return 1 / (1 + got_uj / _HALF_BLEACHED_UJ)


FRESH = Condition()


class Life:
    """The sample's own time, and how fast it drifts.

    Parameters
    ----------
    seed
        Of the direction of the drift.
    clock
        The world's.
    """

    def __init__(self, seed: int, clock: Clock) -> None:
        self._clock = clock
        self._set_s = 0.0
        self._since_ns = clock()
        self._speed = 0.0
        self.drift_um_per_h = 0.0
        self.bleaches = False
        self._direction = Chance(mix(seed, 4)).point((1, 1, 0.3))

    def time_s(self, at_ns: int | None = None) -> float:
        """Return the sample's time, now or at a time by the world's clock."""
        now = self._clock() if at_ns is None else at_ns
        return self._set_s + self._speed * max(0, now - self._since_ns) / 1e9

    def set_time_s(self, time_s: float) -> None:
        """Make it so late."""
        self._set_s, self._since_ns = time_s, self._clock()

    @property
    def speed(self) -> float:
        """Seconds of the sample in a second of the world; 0 when its time stands still."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self.set_time_s(self.time_s())
        self._speed = speed

    def drift_um(self, time_s: float) -> Vector:
        """Return how far the sample has moved along x, y and z."""
        way_um = self.drift_um_per_h * time_s / 3600
        x, y, z = self._direction
        return x * way_um, y * way_um, z * way_um
