"""A run of the scan card: what happens when, computed from its settings before it begins.

The scan card is the master of the microscope. Started once, it goes through every slice by
itself: it moves the sheet, lets the laser pulse and triggers the camera, while the piezo
cards follow. Everything is known beforehand, so a frame depends on its slice alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

__all__ = ["Program", "Pulse", "Run", "Side", "SliceTiming", "Sweep", "Trigger"]

Side = Literal["A", "B"]

# The card's own clock: nothing is shorter.
_TICK_NS = 250_000


@dataclass(frozen=True)
class Sweep:
    """Where an axis goes during a stack, in the axis's own unit.

    Parameters
    ----------
    offset
        Of the middle.
    amplitude
        From the first slice to the last. **This is where an amplitude is taken to be peak to
        peak**: a stack of n slices, `step` apart, has the amplitude (n − 1) · step.
    """

    offset: float
    amplitude: float

    def at(self, index: int, count: int) -> float:
        """Return the place of slice `index` of `count`."""
        if count == 1:
            return self.offset
        return self.offset - self.amplitude / 2 + self.amplitude * index / (count - 1)


class Pulse(NamedTuple):
    """Something that is high for a while in every slice."""

    delay_ns: int
    duration_ns: int


@dataclass(frozen=True)
class SliceTiming:
    """What happens in one slice, from its beginning.

    Parameters
    ----------
    scan
        The sheet is drawn.
    laser
        Light.
    camera
        The trigger; of no duration, there is none.
    """

    scan: Pulse
    laser: Pulse
    camera: Pulse

    @property
    def period_ns(self) -> int:
        """From one slice to the next: when the last of the three has ended."""
        return max(_TICK_NS, *(sum(pulse) for pulse in (self.scan, self.laser, self.camera)))


@dataclass(frozen=True)
class Program:
    """What a run will do.

    Parameters
    ----------
    timing
        Of every slice.
    slices
        In a stack.
    sides
        One stack each, in this order.
    repeats
        How often all of that.
    before_side_ns, before_repeat_ns
        Pauses before a stack, and before the stacks of a repeat.
    slices_per_piezo
        Slices that are taken at one place of the piezo.
    sheets
        How far the beam is drawn to a sheet, in degrees.
    galvos
        Where the sheet goes, in degrees.
    piezos
        Where the focal plane goes, in µm; a side whose piezo was not armed is missing.
    piezo_slices
        Of how many places the sweep of a piezo consists.
    """

    timing: SliceTiming
    slices: int
    sides: tuple[Side, ...]
    repeats: int
    before_side_ns: int
    before_repeat_ns: int
    slices_per_piezo: int
    sheets: Mapping[Side, Sweep]
    galvos: Mapping[Side, Sweep]
    piezos: Mapping[Side, Sweep]
    piezo_slices: Mapping[Side, int]

    @cached_property
    def stacks(self) -> tuple[tuple[Side, int], ...]:
        """The side of each stack, and when it begins, in ns from the start."""
        found: list[tuple[Side, int]] = []
        at_ns = 0
        for _ in range(self.repeats):
            at_ns += self.before_repeat_ns
            for side in self.sides:
                at_ns += self.before_side_ns
                found.append((side, at_ns))
                at_ns += self.slices * self.timing.period_ns
        return tuple(found)

    @cached_property
    def duration_ns(self) -> int:
        """How long it takes."""
        return self.stacks[-1][1] + self.slices * self.timing.period_ns

    def laser_ns(self, until_ns: int) -> int:
        """Return for how long the laser was high until `until_ns` after the start."""
        period, (delay, duration) = self.timing.period_ns, self.timing.laser
        lit = 0
        for _, begins in self.stacks:
            whole, rest = divmod(max(0, until_ns - begins - delay), period)
            lit += duration * min(whole, self.slices)
            if whole < self.slices:
                lit += min(rest, duration)
        return lit

    def galvo_deg(self, side: Side, index: int) -> float:
        """Return where the sheet is in a slice."""
        return self.galvos[side].at(index, self.slices)

    def piezo_um(self, side: Side, index: int) -> float | None:
        """Return where a piezo is in a slice; None if it takes no part.

        A piezo that was told of fewer places begins again after its last.
        """
        if side not in self.piezos:
            return None
        count = self.piezo_slices[side]
        return self.piezos[side].at(index // self.slices_per_piezo % count, count)


class Trigger(NamedTuple):
    """A camera pulse of a run.

    Parameters
    ----------
    slice_index
        Of its stack.
    at_ns
        By the world's clock.
    run
        That it belongs to.
    """

    slice_index: int
    at_ns: int
    run: "Run"


class Run:
    """A program that was started.

    Parameters
    ----------
    program
        What it does.
    started_ns
        By the world's clock.
    """

    def __init__(self, program: Program, started_ns: int) -> None:
        self.program = program
        self.started_ns = started_ns
        self._cut_ns: int | None = None

    def cut(self, at_ns: int) -> None:
        """End it before its time."""
        self._cut_ns = at_ns

    @property
    def ends_ns(self) -> int:
        """When it ends."""
        whole_ns = self.started_ns + self.program.duration_ns
        return whole_ns if self._cut_ns is None else min(whole_ns, self._cut_ns)

    def is_under_way(self, at_ns: int) -> bool:
        """Whether it has begun and not ended."""
        return self.started_ns <= at_ns < self.ends_ns

    def laser_ns(self, from_ns: int, until_ns: int) -> int:
        """Return for how long the laser is high between two times."""
        end_ns = min(until_ns, self.ends_ns) - self.started_ns
        begin_ns = max(0, from_ns - self.started_ns)
        if end_ns <= begin_ns:
            return 0
        return self.program.laser_ns(end_ns) - self.program.laser_ns(begin_ns)

    def triggers(self, side: Side) -> Iterator[Trigger]:
        """Yield the triggers of one side's camera; whether it was cut is looked at for each."""
        delay_ns, duration_ns = self.program.timing.camera
        if not duration_ns:
            return
        for of_side, begins_ns in self.program.stacks:
            if of_side != side:
                continue
            for index in range(self.program.slices):
                at_ns = self.started_ns + begins_ns + index * self.program.timing.period_ns
                at_ns += delay_ns
                if at_ns >= self.ends_ns:
                    return
                yield Trigger(index, at_ns, self)

    def slice_at(self, side: Side, at_ns: int) -> int | None:
        """Return the slice of a side at a time; None outside of its stacks."""
        if not self.is_under_way(at_ns):
            return None
        for of_side, begins_ns in self.program.stacks:
            index = (at_ns - self.started_ns - begins_ns) // self.program.timing.period_ns
            if of_side == side and 0 <= index < self.program.slices:
                return index
        return None
