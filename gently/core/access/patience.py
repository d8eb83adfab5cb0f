"""Patience with those who guess: their answers come slowly, and nobody else's do."""

import time
from collections.abc import Callable
from typing import Final

__all__ = ["Patience"]

AT_ONCE: Final = 20
EVERY_S: Final = 0.25
LONGEST_S: Final = 10.0


class Patience:
    """Says how long a refusal has to wait: a few come at once, then one every quarter second.

    Whoever has the right key is never made to wait, however many others guess. For one thread.

    Parameters
    ----------
    at_once
        How many refusals in a row need not wait.
    every_s
        How far apart those after them are.
    longest_s
        How long none has to wait longer than.
    clock
        Returns seconds that only go forward.
    """

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        every_s: float = EVERY_S,
        longest_s: float = LONGEST_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lead_s = at_once * every_s
        self._every_s = every_s
        self._longest_s = longest_s
        self._clock = clock
        self._next = clock() - self._lead_s

    def wait_s(self) -> float:
        """Return how long the refusal that is due now has to wait, in seconds."""
        now = self._clock()
        self._next = max(self._next, now - self._lead_s) + self._every_s
        self._next = min(self._next, now + self._longest_s)
        return max(0.0, self._next - now)
