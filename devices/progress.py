"""Statuses that tell how far they have come: of frames that are taken, of a way that is gone."""

import time
from collections.abc import Callable
from typing import Final

from devices.base import ActionStatus, HardwareDevice

__all__ = ["ProgressStatus", "VolumeStatus"]

_EVERY_S: Final = 0.1


class ProgressStatus(ActionStatus):
    """The status of something of which there is a known amount; `watch` tells what is done.

    Parameters
    ----------
    device
        What does it.
    total
        How much there is to do.
    unit
        Of the amount.
    """

    def __init__(self, device: HardwareDevice, total: float, unit: str) -> None:
        super().__init__(device)
        self._total = total
        self._unit = unit
        self._watchers: list[Callable[..., None]] = []
        self._started = self._told = time.monotonic()

    def watch(self, watcher: Callable[..., None]) -> None:
        """Call `watcher` with Bluesky's progress keywords, at most ten times a second."""
        self._watchers.append(watcher)

    def progress(self, done: float) -> None:
        """Tell the watchers how much is done."""
        now = time.monotonic()
        if done < self._total and now - self._told < _EVERY_S:
            return
        self._told = now
        elapsed_s, left = now - self._started, self._total - done
        for watcher in self._watchers:
            watcher(
                name=self.device.name,
                current=done,
                initial=0,
                target=self._total,
                unit=self._unit,
                precision=0,
                fraction=left / self._total,  # bluesky's meaning: what remains
                time_elapsed=elapsed_s,
                time_remaining=elapsed_s / done * left if done else None,
            )

    def finish_progress(self) -> None:
        """Tell the watchers that all is done, if they were told of a part."""
        if self._told > self._started:
            self.progress(self._total)

    def _settled(self) -> None:
        """Tell nothing: whoever knows has told that it was the last."""


class VolumeStatus(ProgressStatus):
    """The status of a volume being taken, of so many frames."""

    def __init__(self, device: HardwareDevice, frames: int) -> None:
        super().__init__(device, frames, "frames")
        self.is_given_up = False
