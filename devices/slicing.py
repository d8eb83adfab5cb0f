"""Slices: frames, each taken where the slice drive is to be."""

import logging
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from devices.camera import Camera
from devices.core import Core, Frame
from devices.errors import AcquisitionError, DeviceError, LimitError, StoppedError
from devices.frames import PlannedVolume, VolumeRequest
from devices.stage import FocusDrive

__all__ = ["Course", "Slicer", "Slices", "Slicing"]

LOGGER = logging.getLogger(__name__)
Slicing = Literal["stepped", "sequenced"]
Slices = Generator[tuple[NDArray[Any], float, float]]
"""Of (pixels, seconds since the first, z in µm)."""


@dataclass(frozen=True)
class Course:
    """What taking a volume comes to.

    Parameters
    ----------
    stations_um
        Where the drive turns, in order; none if it stays where it is.
    seconds
        For how long it takes.
    lit_s
        For how long the light is on.
    """

    stations_um: tuple[float, ...]
    seconds: float
    lit_s: float


@dataclass(frozen=True)
class _Left:
    """Where the drive was left in the middle of a sweep, and the middle that the sweep had."""

    at_um: float
    center_um: float


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
        self._left: _Left | None = None

    def center_um(self, request: VolumeRequest, drive_um: float) -> float:
        """Return the middle of a volume: what was asked for, or else where the drive is.

        A drive that could not go back after a sweep, as when it was stopped on its way, is at
        some slice of it. As long as it is left there, the middle is that of the sweep.
        """
        if request.center_um is not None:
            return request.center_um
        left = self._left
        if request.is_sweep and left and abs(drive_um - left.at_um) <= self._drive.tolerance_um:
            return left.center_um
        return drive_um

    def check(self, request: VolumeRequest, drive_um: float) -> None:
        """Raise `LimitError` if a slice would lie beyond the drive's limits; asks no hardware.

        Parameters
        ----------
        request
            For a volume.
        drive_um
            Where the drive is by then.
        """
        if not request.goes_somewhere:
            return
        center_um = self.center_um(request, drive_um)
        try:
            for end_um in request.ends_um(center_um):
                self._drive.target_um(end_um, (drive_um,))
        except LimitError as error:
            if not request.is_sweep:
                raise LimitError(str(error), field="center_um") from None
            raise LimitError(
                f"the sweep of {request.num_slices} slices by {request.step_um:g} µm around "
                f"{center_um:g} µm does not fit: {error}. Lower num_slices or step_um.",
                field="step_um",
            ) from None
        most = self._drive.step_limit
        if request.is_sweep and self._slicing == "sequenced" and request.num_slices > most:
            raise LimitError(
                f"{self._drive.name} can step through {most} positions by itself, not "
                f"{request.num_slices}. Lower num_slices, or set slicing: stepped.",
                field="num_slices",
            )

    def course(self, request: VolumeRequest, drive_um: float) -> Course:
        """Return what the drive and the light would do, as far as it is known beforehand."""
        frame_s = request.exposure_ms / 1000 + max(0.0, self._camera.readout.seconds(0))
        lit_s = request.num_slices * frame_s
        if not request.goes_somewhere:
            return Course((), lit_s, lit_s)
        first_um, last_um = request.ends_um(self.center_um(request, drive_um))
        if not request.is_sweep:
            go_s = self._drive.duration_s((drive_um,), (first_um,))
            return Course((first_um,), go_s + lit_s, lit_s)
        if self._slicing == "stepped":
            step_s = self._drive.duration_s((first_um,), (first_um + request.step_um,))
            lit_s += (request.num_slices - 1) * step_s
        back_um = (first_um + last_um) / 2
        dark_s = self._drive.duration_s((drive_um,), (first_um,))
        dark_s += self._drive.duration_s((last_um,), (back_um,))
        return Course((first_um, last_um, back_um), dark_s + lit_s, lit_s)

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
            if request.goes_somewhere:
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
                self._left = None
            except DeviceError as error:
                self._remember(center_um)
                # Only a stop may leave it there without spoiling a volume that is whole.
                if is_whole and not isinstance(error, StoppedError):
                    raise
                LOGGER.warning("%s stays where it is: %s", self._drive.name, error)

    def _remember(self, center_um: float) -> None:
        """Take note of where the drive is left, and of what sweep, once it is at rest."""
        with suppress(DeviceError):  # one that does not answer is told by whoever stopped it
            self._drive.check_safe()
            self._left = _Left(self._drive.position_um, center_um)

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
            times_s: list[float] = []
            with self._frames(len(chunk), planned, cancelled) as frames:
                for frame, z_um in zip(frames, chunk, strict=True):
                    times_s.append(frame.elapsed_s)
                    yield frame.pixels, offset_s + frame.elapsed_s, z_um
            self._learn_readout(times_s, planned.exposure_ms / 1000)

    def _learn_readout(self, times_s: list[float], exposure_s: float) -> None:
        """See how far apart the frames of a sequence came."""
        if len(times_s) > 1:
            period_s = (times_s[-1] - times_s[0]) / (len(times_s) - 1)
            self._camera.readout.learn(0, period_s - exposure_s)

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
