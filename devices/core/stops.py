"""Who has asked for a stop or a pause, and since when: what commands under way look at.

It calls no hardware, so that it works in any state and from any thread.
"""

import threading
from collections.abc import Callable

__all__ = ["Stops"]


class Stops:
    """Latches that refuse everything, and the latest stop and pause of each label."""

    def __init__(self) -> None:
        self._latches = 0
        self._latching = threading.Lock()
        # Each is a mark that compares by identity.
        self._stops: dict[str, object] = {}
        self._pauses: dict[str, object] = {}

    @property
    def is_latched(self) -> bool:
        """Whether every motion, light and sequence is refused."""
        return self._latches > 0

    def latch(self) -> None:
        """Refuse everything from now on; of several latches each wants its own release."""
        with self._latching:
            self._latches += 1

    def release(self) -> None:
        """Take one latch back."""
        with self._latching:
            self._latches = max(0, self._latches - 1)

    def stop(self, label: str) -> None:
        """Note a stop of what a device does, or was told to do, until now."""
        self._stops[label] = object()

    def pause(self, label: str) -> None:
        """Note that what a device does is to end well, because it will be asked for again."""
        self._pauses[label] = object()

    def stop_from_now(self, label: str) -> Callable[[], bool]:
        """Return what tells whether there was a stop of a device, or a latch, since now."""
        asked_at = self._stops.get(label)
        return lambda: self.is_latched or self._stops.get(label) is not asked_at

    def pause_from_now(self, label: str) -> Callable[[], bool]:
        """Return what tells whether there was a pause of a device since now."""
        asked_at = self._pauses.get(label)
        return lambda: self._pauses.get(label) is not asked_at
