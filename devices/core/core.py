"""The core: a loaded Micro-Manager configuration, and the one thread that talks to it.

It serialises ordinary calls on one thread, watches motions without waiting in it, gives
stop a way around that thread, and adds what MMCore leaves out: it counts the frames,
looks for overflow, and says which device an error came from.

It knows labels and properties. It knows no limits: those live in the devices, which are
the only callers of the verbs that move.
"""

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pymmcore_plus
from pymmcore_plus.experimental.unicore import UniMMCore

from devices.core import loading
from devices.core.calls import translated
from devices.core.sequence import Frame, Sequences
from devices.core.stops import Stops
from devices.errors import CoreError, CoreTimeoutError, DeviceError, StoppedError
from devices.worker import Worker

__all__ = ["Core", "Position"]

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")
Position = tuple[float, ...]
"""In µm, in the order of the axes."""

# On a serial line a look costs an eighth of a second, in which nothing else can be asked.
_LOOK_S = 0.5


class Core:
    """A loaded Micro-Manager configuration, and the thread that talks to it.

    Parameters
    ----------
    config
        The Micro-Manager `.cfg` file; `#py pyDevice` lines load Python devices.
    adapters
        The folder with the device adapters; None takes those of `mm-test-adapters`.
    buffer_mb
        The image buffer's size in MiB. Set once, because MMCore touches it eagerly.
    timeout_s
        For how long an answer of a device is waited for, and a frame that is late.

    Raises
    ------
    InstrumentError
        If versions do not fit, the file is missing or a device does not initialise.
    """

    def __init__(
        self, config: Path, *, adapters: Path | None, buffer_mb: int, timeout_s: float = 5.0
    ) -> None:
        self.timeout_s = timeout_s
        self._mmc = loading.load(config, adapters=adapters, buffer_mb=buffer_mb)
        self._stops = Stops()
        self._sequences = Sequences(self._mmc, buffer_mb, self._stops, late_s=timeout_s)
        self._worker = Worker("mmcore")
        self._this_thread = threading.local()

    # ------------------------------------------------------------------ what is there

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all loaded devices."""
        return loading.labels(self._mmc)

    def kind(self, label: str) -> str:
        """Return MMCore's device type of `label`, such as ``"XYStage"`` or ``"Camera"``."""
        return loading.kind(self._mmc, label)

    def adapter(self, label: str) -> str:
        """Return which adapter of which library a device is, as ``"ASITiger: XYStage"``."""
        found: list[str] = self.ask(
            label, lambda mmc: [mmc.getDeviceLibrary(label), mmc.getDeviceName(label)]
        )
        return ": ".join(found)

    def versions(self) -> dict[str, str]:
        """Return the versions of MMCore, its device interface and pymmcore-plus."""
        return {
            "mmcore": self._mmc.getVersionInfo(),
            "device_interface": self._mmc.getAPIVersionInfo(),
            "pymmcore-plus": pymmcore_plus.__version__,
        }

    # ------------------------------------------------------------------ short calls

    def ask(
        self, label: str, question: Callable[[UniMMCore], T], *, timeout_s: float | None = None
    ) -> T:
        """Put one short call on the core's thread and wait for its answer.

        Raises
        ------
        CoreTimeoutError
            If the core's thread did not get to it, or the hardware did not answer, in time.
        """
        if getattr(self._this_thread, "is_past_the_queue", False):
            return self._translated(label, question)
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        future = self._worker.submit(lambda: self._translated(label, question))
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise CoreTimeoutError(
                f"{label} did not answer within {timeout_s:g} s; its state is unknown. "
                "Check its power and cable; if other devices answer, restart the device layer."
            ) from None

    def answers(self, timeout_s: float) -> bool:
        """Whether the core's thread is free to take a call; asks no hardware."""
        future = self._worker.submit(lambda: True)
        try:
            return future.result(timeout_s)
        except (TimeoutError, DeviceError):  # it is stuck, or closed
            future.cancel()
            return False

    @contextmanager
    def past_the_queue(self) -> Iterator[None]:
        """Let this thread ask the hardware itself, so that no call that hangs is in its way.

        What it asks may still block, if the adapter itself is stuck: give it a thread of its own.
        """
        self._this_thread.is_past_the_queue = True
        try:
            yield
        finally:
            self._this_thread.is_past_the_queue = False

    def xy_position(self, label: str) -> tuple[float, float]:
        """Read an XY stage back: (x, y) in µm."""
        x, y = self.ask(label, lambda mmc: mmc.getXYPosition(label))
        return float(x), float(y)

    def position(self, label: str) -> float:
        """Read a focus drive back, in µm."""
        return float(self.ask(label, lambda mmc: mmc.getPosition(label)))

    def shutter_open(self, label: str) -> bool:
        """Read a shutter back."""
        return bool(self.ask(label, lambda mmc: mmc.getShutterOpen(label)))

    def is_busy(self, label: str) -> bool:
        """Ask a device whether it is still doing what it was told last."""
        return bool(self.ask(label, lambda mmc: mmc.deviceBusy(label)))

    def exposure_ms(self, label: str) -> float:
        """Read a camera's exposure back, in ms."""
        return float(self.ask(label, lambda mmc: mmc.getExposure(label)))

    def set_exposure_ms(self, label: str, exposure_ms: float) -> Future[float]:
        """Set a camera's exposure; the future has what it really took, in ms."""

        def set_it(mmc: UniMMCore) -> float:
            mmc.setExposure(label, exposure_ms)
            return float(mmc.getExposure(label))

        return self._worker.submit(lambda: self._translated(label, set_it))

    def frame_format(self, label: str) -> tuple[int, int, np.dtype[Any]]:
        """Return the height and width in pixels and the dtype of the frames of a camera."""

        def look(mmc: UniMMCore) -> tuple[int, int, np.dtype[Any]]:
            mmc.setCameraDevice(label)
            if mmc.getNumberOfComponents() != 1:
                raise CoreError(
                    f"{label} delivers colour; choose a grey PixelType in the .cfg file"
                )
            dtype = np.dtype(f"uint{8 * mmc.getBytesPerPixel()}")
            return mmc.getImageHeight(), mmc.getImageWidth(), dtype

        return self.ask(label, look)

    def set_roi(self, label: str, roi: tuple[int, int, int, int]) -> None:
        """Have a camera read (x, y, width, height) of its sensor, in pixels.

        Raises
        ------
        CoreError
            If another part is read back.
        """

        def set_it(mmc: UniMMCore) -> tuple[int, ...]:
            mmc.setROI(label, *roi)
            return tuple(mmc.getROI(label))

        if (found := self.ask(label, set_it)) != roi:
            raise CoreError(
                f"{label} was told to read (x, y, width, height) = {roi} of its sensor and reads "
                f"{found}. Correct roi in the instrument file."
            )

    def roi(self, label: str) -> tuple[int, int, int, int]:
        """Read back which (x, y, width, height) of its sensor a camera reads, in pixels."""
        x, y, width, height = self.ask(label, lambda mmc: mmc.getROI(label))
        return int(x), int(y), int(width), int(height)

    def significant_bits(self, label: str) -> int:
        """Return how many bits of a pixel a camera uses."""

        def look(mmc: UniMMCore) -> int:
            mmc.setCameraDevice(label)
            return min(int(mmc.getImageBitDepth()), 8 * int(mmc.getBytesPerPixel()))

        return self.ask(label, look)

    def numbers(self, label: str, names: Iterable[str]) -> dict[str, float]:
        """Return those of the properties `names` that a device has, as numbers."""

        def look(mmc: UniMMCore) -> dict[str, float]:
            have = [name for name in names if mmc.hasProperty(label, name)]
            return {name: float(mmc.getProperty(label, name)) for name in have}

        return self.ask(label, look)

    # ------------------------------------------------------------------ motions

    def move_xy(
        self,
        label: str,
        x_um: float,
        y_um: float,
        *,
        tolerance_um: float,
        timeout_s: float,
        seen: Callable[[Position], None] | None = None,
    ) -> Future[Position]:
        """Start an XY motion; the future has where the stage was read back: at (x, y).

        `seen` hears on the core's thread, twice a second, where it is on its way.
        """

        def check(found_um: Position) -> None:
            x, y = found_um
            _match(label, "x", asked_um=x_um, found_um=x, tolerance_um=tolerance_um)
            _match(label, "y", asked_um=y_um, found_um=y, tolerance_um=tolerance_um)

        return self._move(
            label,
            f"go to x {x_um:g} µm, y {y_um:g} µm",
            lambda mmc: mmc.setXYPosition(label, x_um, y_um),
            lambda mmc: tuple(map(float, mmc.getXYPosition(label))),
            check,
            lambda mmc: mmc.stop(label),
            timeout_s=timeout_s,
            seen=seen,
        )

    def move(
        self,
        label: str,
        z_um: float,
        *,
        tolerance_um: float,
        timeout_s: float,
        seen: Callable[[Position], None] | None = None,
    ) -> Future[Position]:
        """Start a focus motion; the future has where the drive was read back: at (z,).

        `seen` as of `move_xy`.
        """

        def check(found_um: Position) -> None:
            (z,) = found_um
            _match(label, "z", asked_um=z_um, found_um=z, tolerance_um=tolerance_um)

        return self._move(
            label,
            f"go to {z_um:g} µm",
            lambda mmc: mmc.setPosition(label, z_um),
            lambda mmc: (float(mmc.getPosition(label)),),
            check,
            lambda mmc: mmc.stop(label),
            timeout_s=timeout_s,
            seen=seen,
        )

    def set_shutter(self, label: str, *, is_open: bool, timeout_s: float) -> Future[bool]:
        """Open or close a shutter. Closing is allowed while stopped, opening is not."""

        def check(found_open: bool) -> None:  # noqa: FBT001 - it is what was read back
            if found_open != is_open:
                raise CoreError(
                    f"{label} was told to {'open' if is_open else 'close'} and reads back the "
                    "opposite. Switch the light off by hand and check the shutter."
                )

        return self._move(
            label,
            "open" if is_open else "close",
            lambda mmc: mmc.setShutterOpen(label, is_open),
            lambda mmc: bool(mmc.getShutterOpen(label)),
            check,
            lambda mmc: mmc.setShutterOpen(label, False),  # noqa: FBT003
            timeout_s=timeout_s,
            is_safe=not is_open,
        )

    def select(
        self, label: str, group: str, preset: str, *, off: str, timeout_s: float
    ) -> Future[str]:
        """Let light through by a preset; the future has the one that was read back.

        Parameters
        ----------
        label
            The device that lets the light through, whose stop refuses it.
        group, preset
            Of the configuration.
        off
            The preset that lets none through.
        timeout_s
            How long it may take.
        """

        def check(found: str) -> None:
            if found != preset:
                raise CoreError(
                    f"{group} was set to {preset!r} and reads back "
                    f"{found or 'as none of its presets'!r}. Look at {label}, and check the preset "
                    "in the .cfg file."
                )

        return self._move(
            label,
            f"let {preset!r} of {group} through",
            lambda mmc: mmc.setConfig(group, preset),
            lambda mmc: str(mmc.getCurrentConfig(group)),
            check,
            lambda mmc: mmc.setConfig(group, off),
            timeout_s=timeout_s,
        )

    def selected(self, label: str, group: str) -> str:
        """Return the preset that a group is read back as; empty if it is none."""
        return str(self.ask(label, lambda mmc: mmc.getCurrentConfig(group)))

    def _move(
        self,
        label: str,
        what: str,
        command: Callable[[UniMMCore], None],
        read_back: Callable[[UniMMCore], T],
        check: Callable[[T], None],
        take_back: Callable[[UniMMCore], None],
        *,
        timeout_s: float,
        is_safe: bool = False,
        seen: Callable[[T], None] | None = None,
    ) -> Future[T]:
        stopped: Callable[[], bool] = (
            (lambda: False) if is_safe else self._stops.stop_from_now(label)
        )
        paused = self._stops.pause_from_now(label)
        is_due = _every(_LOOK_S)

        def start() -> None:
            # A command that waited in the queue while stop was pressed must not move afterwards.
            if stopped():
                raise StoppedError(f"{label} was not moved: a stop was asked for")
            if paused():
                return
            self._tell(label, what, command)
            # A stop between that look and the command has passed it: it stopped nothing.
            if stopped() or paused():
                self._translated(label, take_back)

        def finished() -> T | None:
            if stopped():
                raise StoppedError(f"{label} was stopped on its way")
            if self._translated(label, lambda mmc: mmc.deviceBusy(label)):
                if seen is not None and is_due():
                    seen(self._translated(label, read_back))
                return None
            found = self._translated(label, read_back)
            if not paused():
                check(found)
            return found

        return self._worker.watch(f"the motion of {label}", start, finished, timeout_s)

    def _tell(self, label: str, what: str, command: Callable[[UniMMCore], None]) -> None:
        """Command `label` to do something, and say what if it refuses."""
        try:
            self._translated(label, command)
        except CoreError as error:
            raise CoreError(
                f"{str(error).rstrip('.')}. It was told to {what}, and refused; its manual has "
                "what its words mean. Look at it before it is told again."
            ) from error

    # ------------------------------------------------------------------ stop

    def latch(self) -> None:
        """Refuse every motion, light and sequence from now on, until `release`.

        Calls no hardware: it works in any state, from any thread. Of several latches each
        wants its own release.
        """
        self._stops.latch()

    def release(self) -> None:
        """Take one latch back; motions are allowed again when it was the last."""
        self._stops.release()

    def halt_motion(self, label: str, *, is_pause: bool = False) -> None:
        """Stop a stage at once, on the caller's thread, past the queue.

        May block if the adapter is stuck in another call: give it a thread of its own.

        Parameters
        ----------
        label
            The stage.
        is_pause
            End the motion under way without an error, because it will be asked for again.
        """
        (self._stops.pause if is_pause else self._stops.stop)(label)
        self._translated(label, lambda mmc: mmc.stop(label))

    def close_shutter(self, label: str) -> None:
        """Close a shutter at once, on the caller's thread, past the queue; see `halt_motion`.

        An opening that still waits in the queue fails with `StoppedError`.
        """
        self._stops.stop(label)
        self._translated(label, lambda mmc: mmc.setShutterOpen(label, False))  # noqa: FBT003

    def put_out(self, label: str, group: str, off: str) -> None:
        """Let no more light through, on the caller's thread, past the queue; see `select`."""
        self._stops.stop(label)
        self._translated(label, lambda mmc: mmc.setConfig(group, off))

    def write_at_once(self, label: str, name: str, value: str | float) -> None:
        """Write a property on the caller's thread, past the queue; see `halt_motion`."""
        self._translated(label, lambda mmc: mmc.setProperty(label, name, value))

    # ------------------------------------------------------------------ frames

    def buffer_frames(self, label: str) -> int:
        """Make the image buffer ready, and return how many frames of a camera it holds.

        Takes its time when the format has changed, so call it before the light goes on.
        """
        return self.ask(label, lambda _mmc: self._sequences.buffer_frames(label))

    def frames(
        self,
        label: str,
        count: int,
        *,
        exposure_ms: float,
        cancelled: threading.Event,
        cameras: Mapping[str, str | None] | None = None,
        begin: Callable[[], None] = lambda: None,
    ) -> Generator[Frame]:
        """Run one hardware sequence of `count` frames and yield each as it arrives.

        Runs on the caller's thread, which should do nothing slow between two frames. The
        sequence is ended whenever the iterator is closed.

        Parameters
        ----------
        label, count, exposure_ms
            The camera, how many frames, and how long each may take.
        cancelled
            Ends it from another thread.
        cameras
            Those whose frames come, `count` of each, where `label` runs several; with the tag in
            which each counts its frames itself: MMCore's own numbers start where the camera has
            delivered a frame, and show nothing that was lost before.
        begin
            Called when the camera waits for its first trigger.

        Raises
        ------
        AcquisitionError
            If a frame is missing, comes twice, or the buffer overflowed: MMCore reports
            none of these by itself.
        StoppedError
            If `cancelled` is set, or the core is latched.
        """
        return self._sequences.frames(
            label,
            count,
            exposure_ms=exposure_ms,
            cancelled=cancelled,
            cameras=cameras,
            begin=begin,
        )

    # ------------------------------------------------------------------ end

    def close(self) -> None:
        """Put out the light, unload every device and end the thread.

        A core that hangs is left to the system.
        """
        if not self._worker.close():
            LOGGER.error("a call to the hardware does not return; leaving it to the system")
            return
        loading.unload(self._mmc)

    def _translated(self, label: str, call: Callable[[UniMMCore], T]) -> T:
        return translated(self._mmc, label, call)


def _every(seconds: float) -> Callable[[], bool]:
    """Return what is true once every so many seconds, the first time after as many."""
    due = time.monotonic() + seconds

    def is_due() -> bool:
        nonlocal due
        if time.monotonic() < due:
            return False
        due = time.monotonic() + seconds
        return True

    return is_due


def _match(label: str, axis: str, *, asked_um: float, found_um: float, tolerance_um: float) -> None:
    # Written so that a NaN read back does not pass.
    if not abs(found_um - asked_um) <= tolerance_um:
        raise CoreError(
            f"{label} came to rest at {axis} {found_um:g} µm, asked for {asked_um:g} µm "
            f"(tolerance {tolerance_um:g} µm). Look for an obstacle or an end switch."
        )
