"""The status of a volume: what a light sheet tells of it while it is taken."""

import time
from collections.abc import Callable

from devices.base import ActionStatus, HardwareDevice

__all__ = ["VolumeStatus"]

_PROGRESS_S = 0.1


class VolumeStatus(ActionStatus):
    """The status of a volume being taken; `watch` tells how many frames there are."""

    def __init__(self, device: HardwareDevice, frames: int) -> None:
        super().__init__(device)
        self._frames = frames
        self.is_given_up = False
        self._watchers: list[Callable[..., None]] = []
        self._started = self._told = time.monotonic()

    def watch(self, watcher: Callable[..., None]) -> None:
        """Call `watcher` with Bluesky's progress keywords, at most ten times a second."""
        self._watchers.append(watcher)

    def _settled(self) -> None:
        """Tell nothing: the last frame has told that it was the last."""

    def progress(self, done: int) -> None:
        """Tell the watchers that `done` frames have arrived."""
        now = time.monotonic()
        if done < self._frames and now - self._told < _PROGRESS_S:
            return
        self._told = now
        elapsed_s = now - self._started
        for watcher in self._watchers:
            watcher(
                name=self.device.name,
                current=done,
                initial=0,
                target=self._frames,
                unit="frames",
                precision=0,
                fraction=1 - done / self._frames,  # bluesky's meaning: what remains
                time_elapsed=elapsed_s,
                time_remaining=elapsed_s / max(done, 1) * (self._frames - done),
            )
