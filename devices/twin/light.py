"""The laser light that reaches the sample: what lets it through, and how much there was.

A line gets through while its laser is on, its output is selected, and either the shutter is
open or the scan card's laser pulse is high. A laser that is not modulated from outside gets
through whenever it is on. Everything that changes is kept with its time, so that the light
of any moment of the last minute, and of a run that goes on, is known exactly.
"""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from devices.twin.light_log import LightLog
from devices.twin.motion import Clock
from devices.twin.spim import Run

__all__ = ["LINES", "Energy", "Light", "LightCount", "Line", "Passage"]

_REMEMBERED_NS = 60_000_000_000


class Line(NamedTuple):
    """A laser.

    Parameters
    ----------
    nm
        Its wavelength.
    model
        As it calls itself.
    most_mw
        Its power at 100 %.
    output
        Of the programmable logic that gates it.
    """

    nm: int
    model: str
    most_mw: float
    output: int


LINES = (
    Line(405, "405-100C", 100.0, 5),
    Line(488, "488-150C", 150.0, 6),
    Line(561, "OBIS LS 561-150", 150.0, 7),
    Line(637, "637-140C", 140.0, 8),
)

_NMS = tuple(line.nm for line in LINES)

Energy = tuple[float, ...]
"""In µJ (mW · ms), of each line."""


@dataclass(frozen=True)
class Passage:
    """What lets light through.

    Parameters
    ----------
    is_open
        Whether the shutter is.
    outputs
        Those that are selected.
    powers_mw
        Of each line; 0 if its laser is off.
    unmodulated
        Lines that no output gates.
    run
        Whose laser pulses count.
    in_view
        Embryos, by their index, that the light falls on.
    """

    is_open: bool = False
    outputs: tuple[int, ...] = ()
    powers_mw: tuple[float, ...] = (0.0,) * len(LINES)
    unmodulated: tuple[bool, ...] = (False,) * len(LINES)
    run: Run | None = None
    in_view: tuple[int, ...] = ()

    def lit_ns(self, from_ns: int, until_ns: int) -> tuple[int, ...]:
        """Return for how long each line gets through between two times."""
        whole = until_ns - from_ns
        gated = whole if self.is_open else 0
        if self.run is not None and not self.is_open:
            gated = self.run.laser_ns(from_ns, until_ns)
        found = []
        for line, power_mw, is_free in zip(LINES, self.powers_mw, self.unmodulated, strict=True):
            passes = whole if is_free else gated if line.output in self.outputs else 0
            found.append(passes if power_mw > 0 else 0)
        return tuple(found)


@dataclass
class LightCount:
    """Light that the sample got.

    Parameters
    ----------
    open_ms
        For how long the shutter was open.
    lit_ms
        For how long each line got through, by nm.
    energy_uj
        Power times time of each line, by nm.
    embryos
        For each embryo that was in view, the energy of each line in µJ, by nm.
    embryos_lit_ms
        And for how long lines fell on it, added up.
    """

    open_ms: float = 0.0
    lit_ms: dict[int, float] = field(default_factory=lambda: dict.fromkeys(_NMS, 0.0))
    energy_uj: dict[int, float] = field(default_factory=lambda: dict.fromkeys(_NMS, 0.0))
    embryos: dict[int, dict[int, float]] = field(default_factory=dict)
    embryos_lit_ms: dict[int, float] = field(default_factory=dict)

    def add(self, passage: Passage, from_ns: int, until_ns: int) -> None:
        """Count what got through between two times."""
        if passage.is_open:
            self.open_ms += (until_ns - from_ns) / 1e6
        lit = passage.lit_ns(from_ns, until_ns)
        for line, lit_ns, power_mw in zip(LINES, lit, passage.powers_mw, strict=True):
            if not lit_ns:
                continue
            energy_uj = lit_ns / 1e6 * power_mw
            self.lit_ms[line.nm] += lit_ns / 1e6
            self.energy_uj[line.nm] += energy_uj
            for embryo in passage.in_view:
                got = self.embryos.setdefault(embryo, dict.fromkeys(_NMS, 0.0))
                got[line.nm] += energy_uj
                before_ms = self.embryos_lit_ms.get(embryo, 0.0)
                self.embryos_lit_ms[embryo] = before_ms + lit_ns / 1e6

    def message(self) -> dict[str, Any]:
        """Return it as a `LightLog` has it, without the lines."""
        return {
            "ms": sum(self.lit_ms.values()),
            "uj": sum(self.energy_uj.values()),
            "embryos": {
                embryo: {"ms": self.embryos_lit_ms[embryo], "uj": sum(got.values())}
                for embryo, got in self.embryos.items()
            },
        }


class Light:
    """Keeps what lets light through, and since when. Safe to use from any thread.

    Parameters
    ----------
    clock
        Its time.
    log
        Where it is written down as well; None writes nothing.
    """

    def __init__(self, clock: Clock, log: LightLog | None = None) -> None:
        self._clock = clock
        self._log = log
        self._is_announced = False
        self._lock = threading.Lock()
        self._forgotten = LightCount()
        self._history: deque[tuple[int, Passage]] = deque([(clock(), Passage())])
        self._arrival: tuple[int, tuple[int, ...]] | None = None

    @property
    def passage(self) -> Passage:
        """What lets light through now."""
        return self._history[-1][1]

    def change(self, **parts: Any) -> None:
        """Change parts of the `Passage` from now on."""
        with self._lock:
            now = self._clock()
            self._note(now)
            self._append(now, replace(self.passage, **parts))
            self._forget(now - _REMEMBERED_NS)

    def move(self, in_view: tuple[int, ...], arrives_ns: int) -> None:
        """Let light fall on other embryos from a time on that may be still to come."""
        with self._lock:
            self._note(self._clock())
            self._arrival = (arrives_ns, in_view)

    def energy_uj(self, from_ns: int, until_ns: int) -> Energy:
        """Return what each line brought between two times of the last minute."""
        energy = [0.0] * len(LINES)
        with self._lock:
            self._note(self._clock())
            for passage, begin, end in self._spans(from_ns, until_ns):
                lit = passage.lit_ns(begin, end)
                for index, power_mw in enumerate(passage.powers_mw):
                    energy[index] += lit[index] / 1e6 * power_mw
        return tuple(energy)

    def count(self, until_ns: int | None = None) -> LightCount:
        """Return all that there was, until now or a time of the last minute."""
        with self._lock:
            self._note(self._clock())
            now = self._clock() if until_ns is None else until_ns
            old = self._forgotten
            counted = LightCount(
                old.open_ms,
                dict(old.lit_ms),
                dict(old.energy_uj),
                {embryo: dict(got) for embryo, got in old.embryos.items()},
                dict(old.embryos_lit_ms),
            )
            for passage, begin, end in self._spans(self._history[0][0], now):
                counted.add(passage, begin, end)
        return counted

    def _note(self, now: int) -> None:
        """Put into the history what was known to come."""
        if self._arrival is not None and self._arrival[0] <= now:
            at_ns, in_view = self._arrival
            self._arrival = None
            at_ns = max(at_ns, self._history[-1][0])
            self._append(at_ns, replace(self.passage, in_view=in_view))

    def _append(self, at_ns: int, passage: Passage) -> None:
        since_ns, before = self._history[-1]
        self._history.append((at_ns, passage))
        if self._log is not None:
            self._write_down(self._log, (before, since_ns), (passage, at_ns))

    def _write_down(
        self, log: LightLog, before: tuple[Passage, int], after: tuple[Passage, int]
    ) -> None:
        """Write what was given until now, and what the run that goes on will give."""
        given, coming = LightCount(), LightCount()
        given.add(*before, after[1])
        if self._is_announced or any(given.lit_ms.values()):
            log.write("lit", given.message())
        if after[0].run is not None:
            coming.add(*after, max(after[1], after[0].run.ends_ns))
        self._is_announced = any(coming.lit_ms.values())
        if self._is_announced:
            log.write("will", coming.message())

    def _spans(self, from_ns: int, until_ns: int) -> Iterator[tuple[Passage, int, int]]:
        ends = [since for since, _ in self._history][1:]
        for (since, passage), ends_ns in zip(self._history, [*ends, until_ns], strict=True):
            begin, end = max(since, from_ns), min(ends_ns, until_ns)
            if begin < end:
                yield passage, begin, end

    def _forget(self, before_ns: int) -> None:
        while len(self._history) > 1 and self._history[1][0] < before_ns:
            since, passage = self._history.popleft()
            self._forgotten.add(passage, since, self._history[0][0])
