"""The one world that the twin's devices share: axes, light and sample.

It knows nothing of Micro-Manager; the devices are thin doors to it.
"""

import threading
import time
from dataclasses import dataclass

from devices.motors import Trapezoid
from devices.twin.motion import Axis, Clock, EndStops, Settling, SteppedAxis
from devices.twin.phantom import BOOT_FOCUS_UM, Phantom

__all__ = ["Light", "Pose", "World"]

_XY_LAW = Trapezoid(speed_um_s=2000, acceleration_um_s2=20_000)
_FOCUS_LAW = Trapezoid(speed_um_s=500, acceleration_um_s2=10_000)
_PIEZO_LAW = Settling(time_constant_s=0.003, tolerance_um=0.005)


@dataclass(frozen=True)
class Pose:
    """Where everything is at one moment, in µm."""

    x_um: float
    y_um: float
    focus_um: float
    piezo_um: float

    @property
    def z_um(self) -> float:
        """The plane of the sample that is in focus."""
        return self.focus_um + self.piezo_um


class Light:
    """A gate that lets light through, and counts for how long it did.

    Parameters
    ----------
    clock
        Its time.
    """

    def __init__(self, clock: Clock = time.perf_counter_ns) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._before_ns = 0
        self._since_ns: int | None = None

    @property
    def is_on(self) -> bool:
        """Whether light gets through."""
        return self._since_ns is not None

    def switch(self, *, on: bool) -> None:
        """Open or close the gate."""
        with self._lock:
            now = self._clock()
            self._before_ns = self._on_until(now)
            self._since_ns = now if on else None

    def on_ns(self, at_ns: int | None = None) -> int:
        """Return for how long the light has been on in all, now or at a time since it changed."""
        with self._lock:
            return self._on_until(self._clock() if at_ns is None else at_ns)

    def _on_until(self, at_ns: int) -> int:
        if self._since_ns is None:
            return self._before_ns
        return self._before_ns + max(at_ns - self._since_ns, 0)


class World:
    """Everything that a seed and a clock make.

    Parameters
    ----------
    seed
        Of the sample and the noise.
    clock
        The time that all share.
    """

    def __init__(self, seed: int, clock: Clock = time.perf_counter_ns) -> None:
        self.seed = seed
        self.clock = clock
        self.phantom = Phantom(seed)
        self.light = Light(clock)
        self.x = Axis("x", 0.0, EndStops(-10_000, 10_000), _XY_LAW, clock)
        self.y = Axis("y", 0.0, EndStops(-10_000, 10_000), _XY_LAW, clock)
        self.focus = Axis("focus", BOOT_FOCUS_UM, EndStops(-1000, 2000), _FOCUS_LAW, clock)
        self.piezo = SteppedAxis("piezo", 0.0, EndStops(-300, 300), _PIEZO_LAW, clock)

    def pose(self, at_ns: int | None = None) -> Pose:
        """Return where everything is, or was at a time since the latest commands."""
        now = self.clock() if at_ns is None else at_ns
        return Pose(
            x_um=self.x.position_um(now),
            y_um=self.y.position_um(now),
            focus_um=self.focus.position_um(now),
            piezo_um=self.piezo.position_um(now),
        )
