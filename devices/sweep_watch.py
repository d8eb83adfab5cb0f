"""The watch on sweeps that the controller makes by itself: each drive is asked whether it goes.

Frames come whether a drive follows or not, and where the controller was told to bring it is no
read-back. So a drive is asked a few times during its stack where it is. When that was is known but
for the time that the answer took, and it has to be where the slices of that time are.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from devices.errors import AcquisitionError, DeviceError
from devices.frames import ViewName, VolumeRequest
from devices.stage import FocusDrive

__all__ = ["SweepWatch"]

_LOOKS: Final = (0.05, 0.3, 0.55, 0.8)
"""When in its stack a drive is asked: a drive that stands still is in the middle of most."""
_SLOWER: Final = 1.1
"""How many times as long as computed a controller may take; never less."""


class SweepWatch:
    """Asks the drives of a row of volumes where they are while they sweep.

    On a thread of its own for each time that the controller is told to run.

    Parameters
    ----------
    request
        For the volumes.
    drives
        Of each view, in the order of their stacks.
    centers_um
        The middle of each sweep.
    slice_s
        How long a slice takes.
    """

    def __init__(
        self,
        request: VolumeRequest,
        drives: Mapping[ViewName, FocusDrive],
        centers_um: Mapping[ViewName, float],
        slice_s: float,
    ) -> None:
        self._request = request
        self._drives = drives
        self._centers_um = centers_um
        self._slice_s = slice_s
        self._stack_s = request.num_slices * slice_s
        self._changed = threading.Condition()
        self._is_over = threading.Event()
        self._problem: DeviceError | None = None
        self._told = 0
        """How many stacks the controller was told to take in all."""
        self._looked = 0
        """How many of them have been looked at."""
        self._came: dict[int, float] = {}
        """When the first frame of a stack was here, at the latest."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at no more afterwards."""
        try:
            yield
        finally:
            self._is_over.set()

    def begin(self, asked: float, answered: float, volumes: int) -> None:
        """Begin to look: the controller was told to run between two times of the clock."""
        first, self._told = self._told, self._told + volumes * len(self._drives)
        threading.Thread(
            target=self._run,
            args=(first, self._told, asked, answered),
            name="sweep watch",
            daemon=True,
        ).start()

    def see(self, view: ViewName, volume: int, index: int) -> None:
        """Take note of a frame; of the last one of a stack, wait until that was looked at.

        Raises
        ------
        AcquisitionError
            If its drive was where its slices were not.
        CoreTimeoutError, CoreError
            If its drive does not say where it is.
        """
        stack = volume * len(self._drives) + list(self._drives).index(view)
        if index == 0:
            self._came[stack] = time.monotonic()
        if index == self._request.num_slices - 1:
            with self._changed:
                self._changed.wait_for(lambda: self._problem or self._looked > stack)
        if self._problem is not None:
            raise self._problem

    def _run(self, first: int, told: int, asked: float, answered: float) -> None:
        """Look at stacks one after the other, until a drive is not where it has to be."""
        for stack in range(first, told):
            number = stack - first
            for part in _LOOKS:
                due = answered + (number + part) * self._stack_s
                if self._is_over.wait(max(0.0, due - time.monotonic())):
                    return
                latest = answered + _SLOWER * number * self._stack_s
                begun = asked + number * self._stack_s, min(latest, self._came.get(stack, latest))
                try:
                    self._look(stack, *begun)
                except DeviceError as error:
                    with self._changed:
                        self._problem = error
                        self._changed.notify_all()
                    return
            with self._changed:
                self._looked = stack + 1
                self._changed.notify_all()

    def _look(self, stack: int, earliest: float, latest: float) -> None:
        """Ask a drive where it is in a stack that began between two times."""
        view = list(self._drives)[stack % len(self._drives)]
        drive, center_um = self._drives[view], self._centers_um[view]
        at_least_s = time.monotonic() - latest
        found_um = drive.glimpse_um()
        at_most_s = time.monotonic() - earliest
        if at_least_s < 0 or at_most_s > self._stack_s:
            return  # it may have been before its first slice, or after its last
        # A drive may be a slice behind.
        first = max(0, math.floor(at_least_s / (_SLOWER * self._slice_s)) - 1)
        last = min(self._request.num_slices - 1, math.ceil(at_most_s / self._slice_s))
        low_um = self._request.position_um(center_um, first) - drive.tolerance_um
        high_um = self._request.position_um(center_um, last) + drive.tolerance_um
        if not low_um <= found_um <= high_um:
            raise AcquisitionError(
                f"{drive.name} ({drive.label}) was read back at {found_um:g} µm while its slices "
                f"{first} to {last} were taken, which lie between {low_um:g} and {high_um:g} µm: "
                "it does not follow the controller. See that its motor is on and nothing blocks it."
            )
