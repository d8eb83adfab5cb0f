"""How motors move, and by what properties they say how fast."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

__all__ = ["Motor", "Trapezoid"]


@dataclass(frozen=True)
class Trapezoid:
    """A motor: constant acceleration up to a top speed, and down again.

    Parameters
    ----------
    speed_um_s
        Top speed.
    acceleration_um_s2
        Of starting and of braking.
    """

    speed_um_s: float
    acceleration_um_s2: float

    @classmethod
    def of(cls, speed_um_s: float, *, ramp_s: float) -> Self:
        """Return the law of a motor that needs `ramp_s` to its top speed."""
        return cls(speed_um_s, speed_um_s / ramp_s)

    @property
    def ramp_s(self) -> float:
        """The time to the top speed."""
        return self.speed_um_s / self.acceleration_um_s2

    def duration_s(self, distance_um: float) -> float:
        """Return the time of the whole motion."""
        top = self._top_speed(distance_um)
        return distance_um / top + top / self.acceleration_um_s2 if distance_um else 0.0

    def travelled_um(self, distance_um: float, elapsed_s: float) -> float:
        """Return the way done after `elapsed_s`."""
        top = self._top_speed(distance_um)
        ramp_s = top / self.acceleration_um_s2
        left_s = self.duration_s(distance_um) - elapsed_s
        if elapsed_s < ramp_s:
            return self.acceleration_um_s2 * elapsed_s**2 / 2
        if left_s < ramp_s:
            return distance_um - self.acceleration_um_s2 * left_s**2 / 2
        return top * (elapsed_s - ramp_s / 2)

    def _top_speed(self, distance_um: float) -> float:
        # A short way ends before the top speed is reached.
        return min(self.speed_um_s, math.sqrt(distance_um * self.acceleration_um_s2))


@dataclass(frozen=True)
class Motor:
    """By what properties an axis tells its speed; controllers know one of them, or none.

    Parameters
    ----------
    speeds
        In mm/s.
    ramp
        The time to the top speed, in ms.
    """

    speeds: tuple[str, ...]
    ramp: str

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.speeds, self.ramp)

    def law(self, found: Mapping[str, float]) -> Trapezoid | None:
        """Return how the axis moves, given the values that a device has told; None if unknown."""
        speed_mm_s = next((found[name] for name in self.speeds if name in found), 0.0)
        if not speed_mm_s > 0:
            return None
        ramp_s = found.get(self.ramp, 0.0) / 1000
        if not ramp_s > 0:
            return Trapezoid(1000 * speed_mm_s, math.inf)
        return Trapezoid.of(1000 * speed_mm_s, ramp_s=ramp_s)
