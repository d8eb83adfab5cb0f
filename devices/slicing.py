"""Slices: frames, each taken where the slice drive is to be."""

import logging
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, Literal

from numpy.typing import NDArray

from devices.camera import Camera
from devices.core import Core, Frame
from devices.errors import AcquisitionError, DeviceError, LimitError, StoppedError
from devices.frames import PlannedVolume, VolumeRequest
from devices.stage import FocusDrive

__all__ = ["Slicer", "Slices", "Slicing"]

LOGGER = logging.getLogger(__name__)
Slicing = Literal["stepped", "sequenced"]
Slices = Generator[tuple[NDArray[Any], float, float]]
"""Of (pixels, seconds since the first, z in µm)."""


class Slicer:
    """Camera and slice drive working together; the light is somebody else's.

    Parameters
    ----------
    core, camera, drive
        What it works with.
    slicing
        ``"sequenced"``: the drive steps on the camera's trigger, one hardware sequence a
        volume. ``"stepped"``: the drive is moved and read back between single frames.
    """

    def __init__(self, core: Core, camera: Camera, drive: FocusDrive, slicing: Slicing) -> None:
        self._core = core
        self._camera = camera
        self._drive = drive
        self._slicing = slicing

    def check_sweep(self, request: VolumeRequest, center_um: float) -> None:
        """Raise `LimitError` if a slice would lie beyond the drive's limits."""
        positions_um = request.positions_um(center_um)
        try:
            for end_um in (positions_um[0], positions_um[-1]):
                self._drive.check_value(end_um)
        except LimitError as error:
            if not request.is_sweep:
                raise LimitError(str(error), field="center_um") from None
            raise LimitError(
                f"the sweep of {request.num_slices} slices by {request.step_um:g} µm around "
                f"{center_um:g} µm does not fit: {error}. Lower num_slices or step_um.",
                field="step_um",
            ) from None

    def check_steps(self, request: VolumeRequest) -> None:
        """Raise `AcquisitionError` if the drive is to step by itself and cannot so often.

        Asks the hardware.
        """
        if not request.is_sweep or self._slicing == "stepped":
            return
        most = self._drive.step_limit
        if request.num_slices > most:
            raise AcquisitionError(
                f"{self._drive.name} can step through {most} positions by itself, not "
                f"{request.num_slices}. Lower num_slices, or set slicing: stepped."
            )

    @contextmanager
    def slices(
        self,
        request: VolumeRequest,
        positions_um: list[float],
        planned: PlannedVolume,
        cancelled: threading.Event,
    ) -> Iterator[Slices]:
        """Make everything ready in the dark, give the slices as they come, and put it back."""
        buffer_frames = self._core.buffer_frames(self._camera.label)
        with ExitStack() as undo:
            if request.is_sweep:
                undo.enter_context(self._back_to((positions_um[0] + positions_um[-1]) / 2))
            if request.is_sweep or request.center_um is not None:
                self._go_to(positions_um[0])
            if not request.is_sweep:
                # Nothing steps with the frames, so the camera may rest when the buffer is full.
                most = max(1, buffer_frames - 1)
                slices = self._streamed(positions_um, most, planned, cancelled)
            elif self._slicing == "sequenced":
                undo.enter_context(self._core.stepping(self._drive.label, positions_um))
                slices = self._streamed(positions_um, len(positions_um), planned, cancelled)
            else:
                slices = self._stepped(positions_um, planned, cancelled)
            yield undo.enter_context(closing(slices))
            self._check_end(positions_um)

    def _check_end(self, positions_um: list[float]) -> None:
        """See that the drive has come to the last slice; in the dark, when all frames are there.

        A drive that steps by itself is not read back at each frame: had it missed a trigger, or
        the camera dropped a frame, then it stands elsewhere now.
        """
        found_um, asked_um = self._drive.position_um, positions_um[-1]
        if not abs(found_um - asked_um) <= self._drive.tolerance_um:  # also refuses NaN
            raise AcquisitionError(
                f"{self._drive.name} stands at {found_um:g} µm after {len(positions_um)} slices, "
                f"of which the last was asked for at {asked_um:g} µm (tolerance "
                f"{self._drive.tolerance_um:g} µm): it did not step once a frame. "
                "Check its trigger cable."
            )

    @contextmanager
    def _back_to(self, center_um: float) -> Iterator[None]:
        """Bring the drive back afterwards; what went wrong before is what is told."""
        is_whole = False
        try:
            yield
            is_whole = True
        finally:
            try:
                self._go_to(center_um)
            except DeviceError as error:
                # Only a stop may leave it there without spoiling a volume that is whole.
                if is_whole and not isinstance(error, StoppedError):
                    raise
                LOGGER.warning("%s stays where it is: %s", self._drive.name, error)

    def _go_to(self, position_um: float) -> None:
        self._drive.set(position_um).wait_answered(self._drive.timeout_s)

    def _streamed(
        self,
        positions_um: list[float],
        most: int,
        planned: PlannedVolume,
        cancelled: threading.Event,
    ) -> Slices:
        """Take the frames in hardware sequences of at most `most`."""
        began = time.monotonic()
        for first in range(0, len(positions_um), most):
            offset_s = time.monotonic() - began if first else 0.0
            chunk = positions_um[first : first + most]
            with self._frames(len(chunk), planned, cancelled) as frames:
                for frame, z_um in zip(frames, chunk, strict=True):
                    yield frame.pixels, offset_s + frame.elapsed_s, z_um

    def _stepped(
        self, positions_um: list[float], planned: PlannedVolume, cancelled: threading.Event
    ) -> Slices:
        """Move the drive between single frames; it stands at the first position already."""
        began = time.monotonic()
        for index, position_um in enumerate(positions_um):
            if index:
                self._go_to(position_um)
            z_um = self._drive.position_um
            elapsed_s = time.monotonic() - began
            with self._frames(1, planned, cancelled) as frames:
                for frame in frames:
                    yield frame.pixels, elapsed_s, z_um

    def _frames(
        self, count: int, planned: PlannedVolume, cancelled: threading.Event
    ) -> "closing[Generator[Frame]]":
        # Closed by the one who iterates, so that the camera never outlives its volume.
        return closing(
            self._core.frames(
                self._camera.label,
                count,
                exposure_ms=planned.exposure_ms,
                cancelled=cancelled,
                counter=self._camera.frame_counter,
            )
        )
