"""The watch on a sweep that the controller makes by itself: the drive is asked whether it goes.

Frames come whether a drive follows or not, and where the controller was told to bring it is no
read-back. So each drive is asked a few times during its stack where it is. When that was is known
but for the time that the answer took, and it has to be where the slices of that time are.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from devices.errors import AcquisitionError, DeviceError
from devices.frames import VolumeRequest
from devices.stage import FocusDrive

__all__ = ["SweepWatch"]

_LOOKS: Final = (0.05, 0.3, 0.55, 0.8)
"""When in its stack a drive is asked: a drive that stands still is in the middle of most."""


class SweepWatch:
    """Asks the drives of a volume, on a thread of its own, where they are while they sweep.

    Parameters
    ----------
    request
        For the volume.
    drives
        Of its stacks, in their order, with the middle of each sweep in µm.
    slice_s
        How long a slice takes.
    """

    def __init__(
        self, request: VolumeRequest, drives: Mapping[FocusDrive, float], slice_s: float
    ) -> None:
        self._request = request
        self._drives = drives
        self._slice_s = slice_s
        self._began = (0.0, 0.0)
        self._is_over = threading.Event()
        self._problem: DeviceError | None = None
        self._thread = threading.Thread(target=self._run, name="sweep watch", daemon=True)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Raise `AcquisitionError` at the end if a drive was where its slices were not."""
        try:
            yield
        except BaseException:
            self._is_over.set()
            raise
        if self._thread.is_alive():
            self._thread.join()  # no longer than an answer may take
        if self._problem is not None:
            raise self._problem

    def begin(self, asked: float, answered: float) -> None:
        """Begin to look: the controller was told to run between two times of the clock."""
        self._began = (asked, answered)
        self._thread.start()

    def _run(self) -> None:
        stack_s = self._request.num_slices * self._slice_s
        for number, (drive, center_um) in enumerate(self._drives.items()):
            for part in _LOOKS:
                due = self._began[1] + (number + part) * stack_s
                if self._is_over.wait(max(0.0, due - time.monotonic())) or self._problem:
                    return
                try:
                    self._look(drive, center_um, number * stack_s)
                except DeviceError as error:
                    self._problem = error

    def _look(self, drive: FocusDrive, center_um: float, begins_s: float) -> None:
        asked, answered = self._began
        first_s = time.monotonic() - answered - begins_s
        found_um = drive.glimpse_um()
        last_s = time.monotonic() - asked - begins_s
        slices = self._request.num_slices
        if first_s < 0 or last_s > slices * self._slice_s:
            return  # it may have been before its first slice, or after its last
        # A drive may be a slice behind.
        first = max(0, math.floor(first_s / self._slice_s) - 1)
        last = min(slices - 1, math.ceil(last_s / self._slice_s))
        low_um = self._request.position_um(center_um, first) - drive.tolerance_um
        high_um = self._request.position_um(center_um, last) + drive.tolerance_um
        if not low_um <= found_um <= high_um:
            raise AcquisitionError(
                f"{drive.name} ({drive.label}) was read back at {found_um:g} µm while its slices "
                f"{first} to {last} were taken, which lie between {low_um:g} and {high_um:g} µm: "
                "it does not follow the controller. See that its motor is on and nothing blocks it."
            )
