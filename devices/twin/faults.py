"""Faults on demand: what hardware does wrong, for tests of what the system makes of it.

Reached through the hub's `TwinHub.faults` by whoever has the Python object. No property
leads here, so nothing that speaks to Micro-Manager can cause a fault.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

__all__ = ["AxisFault", "CameraFault", "Faults"]

# No test waits for so long; a thread that is stuck here must not outlive its process.
_PATIENCE_S = 60.0


@dataclass
class AxisFault:
    """What is wrong with an axis.

    Parameters
    ----------
    sticks_at_um
        It goes no further than here, and says that it has arrived.
    refuses
        The controller's answer to a command to move, in its own words.
    overshoots_um
        By how much it goes too far, and stays.
    reads_off_um
        By how much its position is read back wrongly.
    """

    sticks_at_um: float | None = None
    refuses: str = ""
    overshoots_um: float = 0.0
    reads_off_um: float = 0.0

    def target_um(self, from_um: float, target_um: float) -> float:
        """Return where a motion ends that was to end at `target_um`.

        Raises
        ------
        RuntimeError
            If the controller refuses.
        """
        if self.refuses:
            raise RuntimeError(self.refuses)
        way = target_um - from_um
        target_um += self.overshoots_um if way > 0 else -self.overshoots_um if way < 0 else 0.0
        stuck_um = self.sticks_at_um
        if stuck_um is None or (stuck_um - from_um) * (stuck_um - target_um) > 0:
            return target_um
        return stuck_um


@dataclass
class CameraFault:
    """What is wrong with a camera.

    Parameters
    ----------
    drops
        Frames of a sequence that never arrive, by their number.
    stalls_after
        Frames after which none comes any more, without a word.
    stalls_for_s
        After so long a stall the others come after all.
    dies_after
        Frames after which its driver raises.
    reads_exposure_ms
        What is read of its exposure, whatever it is.
    """

    drops: frozenset[int] = frozenset()
    stalls_after: int | None = None
    stalls_for_s: float = math.inf
    dies_after: int | None = None
    reads_exposure_ms: float | None = None

    def exposure_ms(self, exposure_ms: float) -> float:
        """Return what is read of an exposure."""
        return exposure_ms if self.reads_exposure_ms is None else self.reads_exposure_ms

    def arrives(self, number: int, stop: threading.Event) -> bool:
        """Return whether a frame arrives; after a stall, when it is time to stop.

        Raises
        ------
        RuntimeError
            If the driver dies.
        """
        if self.dies_after is not None and number >= self.dies_after:
            raise RuntimeError("the camera link went down")
        if self._stalls_at(number):
            is_stopped = stop.wait(min(self.stalls_for_s, _PATIENCE_S))
            if is_stopped or math.isinf(self.stalls_for_s):
                return False
        return number not in self.drops

    def _stalls_at(self, number: int) -> bool:
        """Whether it stalls before this frame: once, if the others come after all."""
        if self.stalls_after is None:
            return False
        if math.isinf(self.stalls_for_s):
            return number >= self.stalls_after
        return number == self.stalls_after


@dataclass
class Faults:
    """All that is wrong; at first nothing.

    Parameters
    ----------
    axes
        By their letter: X, Y, Z, V, P, Q.
    cameras
        By their label.
    read_backs
        What is read of a property, whatever was written; by label and property.
    keeps
        Properties that stay as they are, whatever is written; by label and property.
    gate_sticks
        The laser gate lets through what it did, whatever is written, and says so.
    lamp_sticks
        The LED shines on, or stays dark, whatever is written, and says so.
    """

    axes: dict[str, AxisFault] = field(default_factory=dict)
    cameras: dict[str, CameraFault] = field(default_factory=dict)
    read_backs: dict[tuple[str, str], Any] = field(default_factory=dict)
    keeps: set[tuple[str, str]] = field(default_factory=set)
    gate_sticks: bool = False
    lamp_sticks: bool = False
    _late: SimpleQueue[float] = field(default_factory=SimpleQueue, init=False)
    _answers: threading.Event = field(default_factory=threading.Event, init=False)

    def __post_init__(self) -> None:
        self._answers.set()

    def axis(self, letter: str) -> AxisFault:
        """Return what is wrong with an axis."""
        return self.axes.get(letter, _SOUND_AXIS)

    def camera(self, label: str) -> CameraFault:
        """Return what is wrong with a camera."""
        return self.cameras.get(label, _SOUND_CAMERA)

    @contextmanager
    def controller_silent(self) -> Iterator[None]:
        """Let the Tiger controller answer nothing meanwhile; then it answers what it was asked."""
        self._answers.clear()
        try:
            yield
        finally:
            self._answers.set()

    def mend(self) -> None:
        """Take all away, but for a silence that has its own end."""
        for wrong in (self.axes, self.cameras, self.read_backs, self.keeps):
            wrong.clear()
        self.gate_sticks = self.lamp_sticks = False

    def answer_late(self, seconds: float) -> None:
        """Let the Tiger controller take so long for its next answer, and for that one only."""
        self._late.put(seconds)

    def wait_for_answer(self) -> None:
        """Wait until the controller answers.

        Raises
        ------
        RuntimeError
            If it does not within a minute.
        """
        with suppress(Empty):
            time.sleep(self._late.get_nowait())
        if not self._answers.wait(_PATIENCE_S):
            raise RuntimeError("the controller does not answer")


_SOUND_AXIS = AxisFault()
_SOUND_CAMERA = CameraFault()
