"""How long things take: what no property of a device says is learned from what was measured.

An estimate begins with what is known (a distance and a speed, an exposure) and leaves
something out: the controller's answer, the settling, the file. What it has left out of the
latest actions of this process is added to the next, as a line in the size of the action.
"""

import threading
from collections import deque
from dataclasses import dataclass
from itertools import combinations
from statistics import median

__all__ = ["Line", "Pace"]

_LATEST = 32
_FEWEST_FOR_A_SLOPE = 8
_LEAST_APART = 0.25
"""Of the largest: two sizes that are closer tell nothing of a slope, but for how times scatter."""


@dataclass(frozen=True)
class Line:
    """Seconds for an action of some size."""

    offset_s: float
    slope_s: float = 0.0

    def seconds(self, size: float) -> float:
        """Return how long it takes."""
        return self.offset_s + self.slope_s * size


class Pace:
    """What an estimate leaves out, as measured; safe to use from any thread.

    The line goes through the latest actions by medians (Theil and Sen), which a few that
    were disturbed do not move. What is larger or smaller than all of them was not measured:
    from the last that was, it goes on as assumed.

    Parameters
    ----------
    assumed
        The line until something was measured.
    """

    def __init__(self, assumed: Line) -> None:
        self._assumed = assumed
        self._measured: deque[tuple[float, float]] = deque(maxlen=_LATEST)
        self._learned = _Learned(assumed, 0.0, 0.0)
        self._learning = threading.Lock()

    def seconds(self, size: float) -> float:
        """Return what to add to an estimate for an action of this size."""
        learned = self._learned
        known = min(max(size, learned.smallest), learned.largest)
        seconds = learned.line.seconds(known)
        further_s = self._assumed.slope_s * (size - known)
        # What is smaller than all that was measured takes less, but never less than nothing.
        return seconds + further_s if size >= known else max(seconds + further_s, min(seconds, 0.0))

    def learn(self, size: float, left_out_s: float) -> None:
        """Take note of an action: by how much it took longer than was known."""
        with self._learning:
            self._measured.append((size, left_out_s))
            sizes = [size for size, _ in self._measured]
            slope_s = _slope_s(self._measured, self._assumed.slope_s)
            offset_s = median(seconds - slope_s * size for size, seconds in self._measured)
            self._learned = _Learned(Line(offset_s, slope_s), min(sizes), max(sizes))

    @property
    def source(self) -> str:
        """Where the line comes from, in words."""
        if not self._measured:
            return "assumed"
        return f"learned from the latest {len(self._measured)}"


@dataclass(frozen=True)
class _Learned:
    """A line, and between which sizes it was measured."""

    line: Line
    smallest: float
    largest: float


def _slope_s(measured: "deque[tuple[float, float]]", assumed_s: float) -> float:
    if len(measured) < _FEWEST_FOR_A_SLOPE:
        return assumed_s
    apart = _LEAST_APART * max(size for size, _ in measured)
    slopes = [
        (later_s - sooner_s) / (later - sooner)
        for (sooner, sooner_s), (later, later_s) in combinations(measured, 2)
        if abs(later - sooner) > apart
    ]
    # What is larger never takes less time, however the measurements scatter.
    return max(0.0, median(slopes)) if slopes else assumed_s
