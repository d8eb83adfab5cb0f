"""The watch on a sweep that the controller makes by itself: the drive is asked whether it goes.

Frames come whether a drive follows or not, and where the controller was told to bring it is no
read-back. So each drive is asked a few times during its stack where it is, and has to be where the
slices of that time are. Those of which the frames came are over; no slice begins sooner than was
computed, and none much later.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final

from devices.errors import AcquisitionError
from devices.frames import VolumeRequest
from devices.stage import FocusDrive

__all__ = ["SweepWatch"]

_LOOKS: Final = (0.05, 0.3, 0.55, 0.8)
"""When in its stack a drive is asked: a drive that stands still is in the middle of most."""
_SLOWER: Final = 1.06
"""By what a slice may take longer than computed: on the rig it was 13.7 ms instead of 13."""


@dataclass(frozen=True)
class _Round:
    """Volumes that the controller takes by itself, and between which times it was told to."""

    asked: float
    answered: float
    volumes: int


class SweepWatch:
    """Asks the drives of volumes, on a thread of its own, where they are while they sweep.

    Parameters
    ----------
    request
        For the volumes.
    drives
        Of the stacks of a volume, in their order, with the middle of each sweep in µm.
    slice_s
        How long a slice takes.
    came
        Says how many frames of each drive's stacks have come, in all volumes so far.
    goes_on
        Asks the controller whether it is still at it: of a stack that it has ended too soon the
        frames tell.
    """

    def __init__(
        self,
        request: VolumeRequest,
        drives: Mapping[FocusDrive, float],
        slice_s: float,
        came: Callable[[FocusDrive], int],
        goes_on: Callable[[], bool],
    ) -> None:
        self._request = request
        self._drives = drives
        self._slice_s = slice_s
        self._came = came
        self._goes_on = goes_on
        self._rounds: SimpleQueue[_Round | None] = SimpleQueue()
        self._is_over = threading.Event()
        self._changed = threading.Condition()
        self._volumes = 0
        self._problem: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="sweep watch", daemon=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look while it lasts, at each round from its beginning."""
        self._thread.start()
        try:
            yield
        except BaseException:
            self._end()
            raise
        self._end()
        self._thread.join()  # no longer than an answer may take

    def begin(self, asked: float, answered: float, volumes: int) -> None:
        """Look at a round: the controller was told to run between two times of the clock."""
        self._rounds.put(_Round(asked, answered, volumes))

    def see_through(self, volumes: int) -> None:
        """Raise `AcquisitionError` if a drive of so many volumes was where its slices were not.

        Waits for an answer that is due.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._volumes >= volumes or self._problem)
        self.check()

    def check(self) -> None:
        """Raise what is known to be wrong by now."""
        if self._problem is not None:
            raise self._problem

    def _end(self) -> None:
        self._is_over.set()
        self._rounds.put(None)

    def _run(self) -> None:
        try:
            while (a_round := self._rounds.get()) is not None:
                for volume in range(a_round.volumes):
                    for stack, drive in enumerate(self._drives, volume * len(self._drives)):
                        self._look_at(a_round, stack, drive)
                    with self._changed:
                        self._volumes += 1
                        self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - the top of a thread: the volume is told
            with self._changed:
                self._problem = error
                self._changed.notify_all()

    def _look_at(self, a_round: _Round, stack: int, drive: FocusDrive) -> None:
        """Ask a drive in one of the stacks of a round, counted from 0."""
        stack_s = self._request.num_slices * self._slice_s
        for part in _LOOKS:
            left_s = a_round.answered + (stack + part) * stack_s - time.monotonic()
            if self._is_over.wait(max(0.0, left_s)):
                return
            if left_s > (part - 1) * stack_s:  # it is not over already
                self._look(a_round, stack, drive)

    def _look(self, a_round: _Round, stack: int, drive: FocusDrive) -> None:
        slices = self._request.num_slices
        # A drive may be a slice behind, and is on its way from one to the next.
        due = (time.monotonic() - a_round.answered) / (_SLOWER * self._slice_s) - stack * slices
        first = max(math.floor(due), self._came(drive) - 1 - self._volumes * slices) - 1
        found_um = drive.glimpse_um()
        last = math.ceil((time.monotonic() - a_round.asked) / self._slice_s) - stack * slices
        if first < -1 or last > slices:
            return  # it may have been before its first slice, or after its last
        first, last, center_um = max(0, first), min(slices - 1, last), self._drives[drive]
        low_um = self._request.position_um(center_um, first) - drive.tolerance_um
        high_um = self._request.position_um(center_um, last) + drive.tolerance_um
        if not low_um <= found_um <= high_um and self._goes_on():
            raise AcquisitionError(
                f"{drive.name} ({drive.label}) was read back at {found_um:g} µm while its slices "
                f"{first} to {last} were taken, which lie between {low_um:g} and {high_um:g} µm: "
                "it does not follow the controller. See that its motor is on and nothing blocks it."
            )
