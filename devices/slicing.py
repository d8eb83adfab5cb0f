"""Slices: frames, each taken where the slice drive is to be, in the light.

Who takes them is a `Slicer`. This one moves the drive between single frames; the other lets the
controller do everything by itself (`devices.triggered`).
"""

import logging
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from devices.camera import Camera
from devices.core import Core, Frame
from devices.errors import DeviceError, LimitError, StoppedError
from devices.frames import PlannedVolume, ViewName, VolumeRequest
from devices.lasers import Lasers
from devices.pace import Line, Pace
from devices.shutter import Shutter
from devices.stage import FocusDrive
from devices.stage_space import ALONG_Z, Axes

__all__ = ["Course", "Places", "Slice", "Slicer", "Slices", "Stepper", "View", "check_sweep"]

LOGGER = logging.getLogger(__name__)
Places = Mapping[ViewName, float]
"""Where the slice drive of each view is, or the middle of its sweep, in µm."""


@dataclass(frozen=True)
class View:
    """A side from which the sample is seen.

    Parameters
    ----------
    camera
        What sees it.
    drive
        What moves from slice to slice.
    axes
        How its volumes lie in the stage's space; None if nobody has said so.
    """

    camera: Camera
    drive: FocusDrive
    axes: Axes | None = ALONG_Z


@dataclass(frozen=True, slots=True)
class Slice:
    """A frame, and where and when it was taken."""

    view: ViewName
    index: int
    pixels: NDArray[Any]
    elapsed_s: float
    z_um: float


Slices = Generator[Slice]


@dataclass(frozen=True)
class Course:
    """What taking volumes comes to.

    Parameters
    ----------
    stations_um
        Where the drive of each view turns, in order; none if it stays where it is.
    seconds
        For how long it takes.
    lit_s
        For how long the light is on.
    """

    stations_um: Mapping[ViewName, tuple[float, ...]]
    seconds: float
    lit_s: float


@dataclass(frozen=True)
class _Left:
    """Where the drive was left in the middle of a sweep, and the middle that the sweep had."""

    at_um: float
    center_um: float


class Slicer(Protocol):
    """Takes the slices of volumes, and owns the light in which it does."""

    @property
    def views(self) -> Mapping[ViewName, View]:
        """The sides from which it can."""

    @property
    def light(self) -> Shutter | Lasers:
        """What lets light onto the sample."""

    @property
    def pace_source(self) -> str:
        """Where the times of its slices come from."""

    @property
    def repeats(self) -> bool:
        """Whether it takes the volumes that follow at once (`num_following`) without a pause."""

    def centers_um(self, request: VolumeRequest, drives_um: Places) -> Places:
        """Return the middles of the volumes: what was asked for, or else where the drives are."""

    def check(self, request: VolumeRequest, drives_um: Places) -> None:
        """Raise `LimitError` if it could not be taken from there; asks no hardware."""

    def course(self, request: VolumeRequest, drives_um: Places) -> Course:
        """Return what the drives and the light would do, as far as it is known beforehand."""

    def power_mw(self, request: VolumeRequest) -> float | None:
        """Return the power that is asked for, at the sample; None if nobody has measured it."""

    def arm(self, request: VolumeRequest, centers_um: Places) -> Mapping[str, Any]:
        """Make ready in the dark, and return what is known of the light, as JSON has it."""

    def slices(
        self,
        request: VolumeRequest,
        centers_um: Places,
        planned: Mapping[ViewName, PlannedVolume],
        cancelled: threading.Event,
    ) -> AbstractContextManager[Slices]:
        """Give the slices as they come in the light, and put everything back in the dark.

        Those of all volumes that follow come after those of the first, one volume after another.
        """


class Stepper:
    """Moves the drive and reads it back between single frames, with the light on.

    Parameters
    ----------
    core, view, shutter
        What it works with.
    """

    repeats = False

    def __init__(self, core: Core, view: View, shutter: Shutter) -> None:
        self.views: Mapping[ViewName, View] = {"a": view}
        self.light = shutter
        self.light_pace = Pace(Line(0.0))
        """For how long the light is on before the first frame and after the last."""
        self._core = core
        self._camera = view.camera
        self._drive = view.drive
        self._left: _Left | None = None

    @property
    def pace_source(self) -> str:
        """Where the times of its slices come from."""
        return f"readout of a frame {self._camera.readout.source}"

    def centers_um(self, request: VolumeRequest, drives_um: Places) -> Places:
        """Return the middle of a volume: what was asked for, or else where the drive is.

        A drive that could not go back after a sweep, as when it was stopped on its way, is at
        some slice of it. As long as it is left there, the middle is that of the sweep.
        """
        if request.center_um is not None:
            return {"a": request.center_um}
        left, drive_um = self._left, drives_um["a"]
        if request.is_sweep and left and abs(drive_um - left.at_um) <= self._drive.tolerance_um:
            return {"a": left.center_um}
        return {"a": drive_um}

    def check(self, request: VolumeRequest, drives_um: Places) -> None:
        """Raise `LimitError` if a slice would lie beyond the drive's limits; asks no hardware."""
        if request.line or request.power_percent is not None:
            raise LimitError(
                f"the light of {self.light.name} has no laser lines and no power to be set; leave "
                "them out",
                field="line" if request.line else "power_percent",
            )
        if request.sheet_um is not None:
            raise LimitError(
                f"the light of {self.light.name} is no sheet that could stay; leave it out",
                field="sheet_um",
            )
        if request.goes_somewhere:
            center_um = self.centers_um(request, drives_um)["a"]
            check_sweep(request, self._drive, drives_um["a"], center_um)

    def course(self, request: VolumeRequest, drives_um: Places) -> Course:
        """Return what the drive and the light would do, as far as it is known beforehand."""
        frames_s, dark_s, stations_um = self._times(request, drives_um)
        lit_s = frames_s + max(0.0, self.light_pace.seconds(0))
        return Course({"a": stations_um}, dark_s + frames_s, lit_s)

    def power_mw(self, request: VolumeRequest) -> float | None:  # noqa: ARG002
        """Return the power of the light, at the sample; None if nobody has measured it."""
        return self.light.power_mw

    def arm(self, request: VolumeRequest, centers_um: Places) -> Mapping[str, Any]:
        """Do nothing, since all is made ready when it is needed; return what the light will be."""
        lit_s = self.course(request, centers_um).lit_s
        power_mw = self.power_mw(request)
        return {"lit_ms": 1000 * lit_s, "power_mw": power_mw, "requested_mw": power_mw}

    @contextmanager
    def slices(
        self,
        request: VolumeRequest,
        centers_um: Places,
        planned: Mapping[ViewName, PlannedVolume],
        cancelled: threading.Event,
    ) -> Iterator[Slices]:
        """Make everything ready in the dark, give the slices as they come, and put it back."""
        center_um = centers_um["a"]
        positions_um = request.positions_um(center_um)
        buffer_frames = self._core.buffer_frames(self._camera.label)
        frames_s, _, _ = self._times(request, centers_um)
        with ExitStack() as undo:
            if request.is_sweep:
                undo.enter_context(self._back_to(center_um))
            if request.goes_somewhere:
                self._go_to(positions_um[0])
            if request.is_sweep:
                slices = self._stepped(positions_um, planned["a"], cancelled)
            else:
                # Nothing steps with the frames, so the camera may rest when the buffer is full.
                most = max(1, buffer_frames - 1)
                slices = self._streamed(positions_um, most, planned["a"], cancelled)
            undo.enter_context(closing(slices))
            undo.enter_context(self._lit(cancelled, frames_s))
            yield slices

    def _times(
        self, request: VolumeRequest, drives_um: Places
    ) -> tuple[float, float, tuple[float, ...]]:
        """Return how long all frames take, how long the ways in the dark, and where it turns."""
        frame_s = request.exposure_ms / 1000 + max(0.0, self._camera.readout.seconds(0))
        frames_s = request.num_slices * frame_s
        if not request.goes_somewhere:
            return frames_s, 0.0, ()
        first_um, last_um = request.ends_um(self.centers_um(request, drives_um)["a"])
        dark_s = self._drive.duration_s((drives_um["a"],), (first_um,))
        if not request.is_sweep:
            return frames_s, dark_s, (first_um,)
        step_s = self._drive.duration_s((first_um,), (first_um + request.step_um,))
        frames_s += (request.num_slices - 1) * step_s
        back_um = (first_um + last_um) / 2
        dark_s += self._drive.duration_s((last_um,), (back_um,))
        return frames_s, dark_s, (first_um, last_um, back_um)

    @contextmanager
    def _lit(self, cancelled: threading.Event, frames_s: float) -> Iterator[None]:
        """Have the light on for frames that take so long."""
        if cancelled.is_set():
            raise StoppedError(f"{self._camera.name} was stopped before the light went on")
        began = time.monotonic()
        try:
            self.light.set("open").wait()
            yield
        finally:
            # Past the queue of ordinary calls: a drive that hangs must not keep the light on.
            self.light.stop()
            lit_s = time.monotonic() - began
            self.light.check_safe()
        self.light_pace.learn(0, lit_s - frames_s)

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
        self._drive.set(position_um).wait()

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
                for index, (frame, z_um) in enumerate(zip(frames, chunk, strict=True), first):
                    times_s.append(frame.elapsed_s)
                    yield Slice("a", index, frame.pixels, offset_s + frame.elapsed_s, z_um)
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
                    yield Slice("a", index, frame.pixels, elapsed_s, z_um)

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
                cameras={self._camera.label: self._camera.frame_counter},
            )
        )


def check_sweep(
    request: VolumeRequest, drive: FocusDrive, drive_um: float, center_um: float
) -> None:
    """Raise `LimitError` if a slice would lie beyond the limits of the drive that is at a place."""
    try:
        for end_um in request.ends_um(center_um):
            drive.target_um(end_um, (drive_um,))
    except LimitError as error:
        if not request.is_sweep:
            raise LimitError(str(error), field="center_um") from None
        raise LimitError(
            f"the sweep of {request.num_slices} slices by {request.step_um:g} µm around "
            f"{center_um:g} µm does not fit: {error}. Lower num_slices or step_um.",
            field="step_um",
        ) from None
