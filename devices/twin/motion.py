"""How the axes of the twin move: laws of motion as values, and an axis that follows one."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Axis", "Clock", "EndStops", "Law", "Settling"]

Clock = Callable[[], int]
"""Nanoseconds that only ever grow."""


class Law(Protocol):
    """How far a motion over `distance_um` (never negative) has come after some time."""

    def duration_s(self, distance_um: float) -> float:
        """Return the time of the whole motion."""
        ...

    def travelled_um(self, distance_um: float, elapsed_s: float) -> float:
        """Return the way done; asked only for times before the motion ends."""
        ...


@dataclass(frozen=True)
class Settling:
    """A piezo: the rest of the way shrinks exponentially until it is negligible.

    Parameters
    ----------
    time_constant_s
        In which the rest shrinks to 1/e.
    tolerance_um
        The rest at which the piezo says that it has arrived.
    """

    time_constant_s: float
    tolerance_um: float

    def duration_s(self, distance_um: float) -> float:
        """Return the time of the whole motion."""
        if distance_um <= self.tolerance_um:
            return 0.0
        return self.time_constant_s * math.log(distance_um / self.tolerance_um)

    def travelled_um(self, distance_um: float, elapsed_s: float) -> float:
        """Return the way done after `elapsed_s`."""
        return distance_um * -math.expm1(-elapsed_s / self.time_constant_s)


@dataclass(frozen=True)
class EndStops:
    """Where the mechanics end, in µm; far outside what software may ask for."""

    low_um: float
    high_um: float

    def check(self, name: str, target_um: float) -> None:
        """Raise ValueError unless the target is between the end stops."""
        if not self.low_um <= target_um <= self.high_um:  # also refuses NaN
            raise ValueError(
                f"{name} was sent to {target_um} µm, past its mechanical end stops "
                f"{self.low_um:g}…{self.high_um:g} µm. Software limits should have refused this."
            )


@dataclass(frozen=True)
class _Move:
    start_um: float
    end_um: float
    began_ns: int
    law: Law

    @property
    def ends_ns(self) -> int:
        return self.began_ns + math.ceil(
            1e9 * self.law.duration_s(abs(self.end_um - self.start_um))
        )

    def position_um(self, at_ns: int) -> float:
        if at_ns >= self.ends_ns:
            return self.end_um
        elapsed_s = max(at_ns - self.began_ns, 0) / 1e9
        way = self.end_um - self.start_um
        return self.start_um + math.copysign(self.law.travelled_um(abs(way), elapsed_s), way)


class Axis:
    """One axis: it starts on command, takes its time, and can be stopped.

    Safe to use from any thread; nothing here waits.

    Parameters
    ----------
    name
        For errors.
    at_um
        Where it is at first.
    stops
        Past which a command is refused.
    law
        How it moves. May be replaced; a motion under way keeps its own.
    clock
        Its time.
    """

    def __init__(
        self,
        name: str,
        at_um: float,
        stops: EndStops,
        law: Law,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        self.name = name
        self.stops = stops
        self.fence = stops
        """Where the controller's firmware holds it; it goes no further than there."""
        self.law = law
        self._clock = clock
        self._lock = threading.Lock()
        self._move = _Move(at_um, at_um, clock(), law)

    def position_um(self, at_ns: int | None = None) -> float:
        """Return where it is, or was at a time since its latest command."""
        return self._move.position_um(self._clock() if at_ns is None else at_ns)

    @property
    def is_moving(self) -> bool:
        """Whether it has not yet arrived."""
        return self._clock() < self._move.ends_ns

    @property
    def target_um(self) -> float:
        """Where it goes, or stands."""
        return self._move.end_um

    @property
    def arrives_ns(self) -> int:
        """When it arrives, or did."""
        return self._move.ends_ns

    def go(self, target_um: float) -> None:
        """Start towards `target_um` from where it is.

        Raises
        ------
        ValueError
            Past an end stop; it then stays as it was.
        """
        self.stops.check(self.name, target_um)
        with self._lock:
            self._set_out(target_um)

    def stop(self) -> None:
        """Stay where it is now."""
        with self._lock:
            self._rest(self.position_um())

    def _set_out(self, target_um: float) -> None:
        now = self._clock()
        target_um = min(max(target_um, self.fence.low_um), self.fence.high_um)
        self._move = _Move(self._move.position_um(now), target_um, now, self.law)

    def _rest(self, at_um: float) -> None:
        self._move = _Move(at_um, at_um, self._clock(), self.law)
