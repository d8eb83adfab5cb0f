"""The one owner of MMCore, and the only importer of pymmcore-plus.

Everything that the rest of gently does with Micro-Manager goes through `Core`. It
serialises ordinary calls on one thread, watches motions without waiting in it, gives
stop a way around that thread, and adds what MMCore leaves out: it counts the frames,
looks for overflow, and says which device an error came from.

It knows labels and properties. It knows no limits: those live in the devices, which are
the only callers of the verbs that move.
"""

import importlib.metadata
import importlib.util
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import mm_test_adapters
import numpy as np
import pymmcore_plus
from numpy.typing import NDArray
from pymmcore_plus import CMMCorePlus, DeviceInitializationState, DeviceType, FocusDirection
from pymmcore_plus.experimental.unicore import CameraDevice as PythonCamera
from pymmcore_plus.experimental.unicore import Device as PythonDevice
from pymmcore_plus.experimental.unicore import HubDevice as PythonHub
from pymmcore_plus.experimental.unicore import ShutterDevice as PythonShutter
from pymmcore_plus.experimental.unicore import StageDevice as PythonStage
from pymmcore_plus.experimental.unicore import UniMMCore
from pymmcore_plus.experimental.unicore import XYStageDevice as PythonXYStage
from pymmcore_plus.experimental.unicore import pymm_property as python_property

from devices.errors import (
    AcquisitionError,
    CoreError,
    CoreTimeoutError,
    DeviceError,
    InstrumentError,
    StoppedError,
)
from devices.worker import Worker

__all__ = [
    "Core",
    "FocusDirection",
    "Frame",
    "PythonCamera",
    "PythonHub",
    "PythonPeripheral",
    "PythonShutter",
    "PythonStage",
    "PythonXYStage",
    "python_property",
]

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")

_FRAME_POLL_S = 0.0005
_FRAME_GRACE_S = 5.0


@dataclass(frozen=True)
class Frame:
    """One image as the camera delivered it.

    Parameters
    ----------
    pixels
        (y, x), a copy that belongs to the receiver.
    elapsed_s
        Seconds since the sequence was started, as stamped by the core.
    tags
        Whatever else the camera said of it.
    """

    pixels: NDArray[Any]
    elapsed_s: float
    tags: Mapping[str, Any]


class PythonPeripheral(PythonDevice):
    """A Python device that knows its hub; mix it in before `PythonStage` and its like.

    Micro-Manager's C++ devices ask for theirs by `GetParentHub`; UniMMCore tells a Python
    device the label only.
    """

    hub: PythonHub | None = None


class _HubAwareCore(UniMMCore):
    def setParentLabel(self, deviceLabel: str, parentHubLabel: str) -> None:  # noqa: N802, N803
        super().setParentLabel(deviceLabel, parentHubLabel)
        if deviceLabel in self._pydevices:
            peripheral = self._pydevices[deviceLabel]
            if isinstance(peripheral, PythonPeripheral):
                peripheral.hub = self._pydevices[parentHubLabel] if parentHubLabel else None


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

    Raises
    ------
    InstrumentError
        If versions do not fit, the file is missing or a device does not initialise.
    """

    def __init__(self, config: Path, *, adapters: Path | None, buffer_mb: int) -> None:
        _silence_library_logging()
        _check_versions(adapters)
        folder = str(adapters or mm_test_adapters.device_adapter_path())
        self._mmc = _HubAwareCore(mm_path=folder, adapter_paths=[folder])
        self._buffer_mb = buffer_mb
        self._fitted_bytes = 0
        self._latches = 0
        self._latching = threading.Lock()
        # The latest stop and pause of each label, as a mark that compares by identity.
        self._stops: dict[str, object] = {}
        self._pauses: dict[str, object] = {}
        try:
            self._load(config, folder, buffer_mb)
        except BaseException:
            self._unload()
            raise
        self._worker = Worker("mmcore")

    def _load(self, config: Path, folder: str, buffer_mb: int) -> None:
        found = config if config.exists() else Path(folder) / config
        try:
            self._mmc.loadSystemConfiguration(found)
        except Exception as error:  # an adapter may raise anything
            raise InstrumentError(
                f"Micro-Manager could not load {found}: {error}. "
                "Correct the file, switch the hardware on, or choose another --config."
            ) from error
        for label in self.labels:
            state = self._mmc.getDeviceInitializationState(label)
            if state != DeviceInitializationState.InitializedSuccessfully:
                raise InstrumentError(
                    f"{label} in {found} is not initialised ({state.name}). "
                    "See the log above for the adapter's own words."
                )
        # The light is switched by our shutter device alone, so that "off" is always deliberate.
        self._mmc.setAutoShutter(False)
        self._put_out_the_light()
        self._mmc.setCircularBufferMemoryFootprint(buffer_mb)

    # ------------------------------------------------------------------ what is there

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all loaded devices."""
        return tuple(str(label) for label in self._mmc.getLoadedDevices() if label != "Core")

    def kind(self, label: str) -> str:
        """Return MMCore's device type of `label`, such as ``"XYStage"`` or ``"Camera"``."""
        return str(DeviceType(self._mmc.getDeviceType(label)).name).removesuffix("Device")

    def versions(self) -> dict[str, str]:
        """Return the versions of MMCore, its device interface and pymmcore-plus."""
        return {
            "mmcore": self._mmc.getVersionInfo(),
            "device_interface": self._mmc.getAPIVersionInfo(),
            "pymmcore-plus": pymmcore_plus.__version__,
        }

    # ------------------------------------------------------------------ short calls

    def ask(self, label: str, question: Callable[[UniMMCore], T], *, timeout_s: float = 5) -> T:
        """Put one short call on the core's thread and wait for its answer.

        Raises
        ------
        CoreTimeoutError
            If the core's thread did not get to it, or the hardware did not answer, in time.
        """
        future = self._worker.submit(lambda: self._translated(label, question))
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise CoreTimeoutError(
                f"{label} did not answer within {timeout_s:g} s; its state is unknown. "
                "Check its power and cable; if other devices answer, restart the device layer."
            ) from None

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

    def significant_bits(self, label: str) -> int:
        """Return how many bits of a pixel a camera uses."""

        def look(mmc: UniMMCore) -> int:
            mmc.setCameraDevice(label)
            return min(int(mmc.getImageBitDepth()), 8 * int(mmc.getBytesPerPixel()))

        return self.ask(label, look)

    def step_limit(self, label: str) -> int:
        """Return how many positions a focus drive can step through by hardware; 0 if none."""

        def look(mmc: UniMMCore) -> int:
            return mmc.getStageSequenceMaxLength(label) if mmc.isStageSequenceable(label) else 0

        return int(self.ask(label, look))

    # ------------------------------------------------------------------ motions

    def move_xy(
        self, label: str, x_um: float, y_um: float, *, tolerance_um: float, timeout_s: float
    ) -> Future[None]:
        """Start an XY motion; the future is done when the stage is read back at (x, y)."""

        def arrived(mmc: UniMMCore) -> None:
            x, y = mmc.getXYPosition(label)
            _match(label, "x", asked_um=x_um, found_um=x, tolerance_um=tolerance_um)
            _match(label, "y", asked_um=y_um, found_um=y, tolerance_um=tolerance_um)

        return self._move(
            label,
            lambda mmc: mmc.setXYPosition(label, x_um, y_um),
            arrived,
            lambda mmc: mmc.stop(label),
            timeout_s=timeout_s,
        )

    def move(
        self, label: str, z_um: float, *, tolerance_um: float, timeout_s: float
    ) -> Future[None]:
        """Start a focus motion; the future is done when the drive is read back at z."""

        def arrived(mmc: UniMMCore) -> None:
            found_um = mmc.getPosition(label)
            _match(label, "z", asked_um=z_um, found_um=found_um, tolerance_um=tolerance_um)

        return self._move(
            label,
            lambda mmc: mmc.setPosition(label, z_um),
            arrived,
            lambda mmc: mmc.stop(label),
            timeout_s=timeout_s,
        )

    def set_shutter(self, label: str, *, is_open: bool, timeout_s: float) -> Future[None]:
        """Open or close a shutter. Closing is allowed while stopped, opening is not."""

        def arrived(mmc: UniMMCore) -> None:
            if mmc.getShutterOpen(label) != is_open:
                raise CoreError(
                    f"{label} was told to {'open' if is_open else 'close'} and reads back the "
                    "opposite. Switch the light off by hand and check the shutter."
                )

        return self._move(
            label,
            lambda mmc: mmc.setShutterOpen(label, is_open),
            arrived,
            lambda mmc: mmc.setShutterOpen(label, False),  # noqa: FBT003
            timeout_s=timeout_s,
            is_safe=not is_open,
        )

    def _move(
        self,
        label: str,
        command: Callable[[UniMMCore], None],
        arrived: Callable[[UniMMCore], None],
        take_back: Callable[[UniMMCore], None],
        *,
        timeout_s: float,
        is_safe: bool = False,
    ) -> Future[None]:
        stopped: Callable[[], bool] = (lambda: False) if is_safe else self._stop_from_now(label)
        paused = self._pause_from_now(label)

        def start() -> None:
            # A command that waited in the queue while stop was pressed must not move afterwards.
            if stopped():
                raise StoppedError(f"{label} was not moved: a stop was asked for")
            if paused():
                return
            self._translated(label, command)
            # A stop between that look and the command has passed it: it stopped nothing.
            if stopped() or paused():
                self._translated(label, take_back)

        def finished() -> bool:
            if stopped():
                raise StoppedError(f"{label} was stopped on its way")
            if self._translated(label, lambda mmc: mmc.deviceBusy(label)):
                return False
            if not paused():
                self._translated(label, arrived)
            return True

        return self._worker.watch(f"the motion of {label}", start, finished, timeout_s)

    def _stop_from_now(self, label: str) -> Callable[[], bool]:
        asked_at = self._stops.get(label)
        return lambda: self._latches > 0 or self._stops.get(label) is not asked_at

    def _pause_from_now(self, label: str) -> Callable[[], bool]:
        asked_at = self._pauses.get(label)
        return lambda: self._pauses.get(label) is not asked_at

    # ------------------------------------------------------------------ stop

    def latch(self) -> None:
        """Refuse every motion, light and sequence from now on, until `release`.

        Calls no hardware: it works in any state, from any thread. Of several latches each
        wants its own release.
        """
        with self._latching:
            self._latches += 1

    def release(self) -> None:
        """Take one latch back; motions are allowed again when it was the last."""
        with self._latching:
            self._latches = max(0, self._latches - 1)

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
        (self._pauses if is_pause else self._stops)[label] = object()
        self._translated(label, lambda mmc: mmc.stop(label))

    def close_shutter(self, label: str) -> None:
        """Close a shutter at once, on the caller's thread, past the queue; see `halt_motion`.

        An opening that still waits in the queue fails with `StoppedError`.
        """
        self._stops[label] = object()
        self._translated(label, lambda mmc: mmc.setShutterOpen(label, False))  # noqa: FBT003

    def _put_out_the_light(self) -> None:
        """Close every shutter of the configuration, also one that no instrument file names."""
        for label in self.labels:
            if self.kind(label) == "Shutter":
                try:
                    self.close_shutter(label)
                except CoreError as error:
                    LOGGER.warning("%s; check that its light is off", error)

    # ------------------------------------------------------------------ frames

    def buffer_frames(self, label: str) -> int:
        """Make the image buffer ready, and return how many frames of a camera it holds.

        Takes its time when the format has changed, so call it before the light goes on.
        """

        def look(mmc: UniMMCore) -> int:
            mmc.setCameraDevice(label)
            self._fit_buffer(label)
            mmc.initializeCircularBuffer()
            return int(mmc.getBufferTotalCapacity())

        return self.ask(label, look)

    def frames(
        self,
        label: str,
        count: int,
        *,
        exposure_ms: float,
        cancelled: threading.Event,
        counter: str | None = None,
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
        counter
            The tag in which the camera counts its frames: MMCore's own numbers start where the
            camera has delivered a frame, and show nothing that was lost before.

        Raises
        ------
        AcquisitionError
            If a frame is missing, comes twice, or the buffer overflowed: MMCore reports
            none of these by itself.
        StoppedError
            If `cancelled` is set, or the core is latched.
        """
        if cancelled.is_set() or self._latches:
            raise StoppedError(f"{label} was not started: a stop was asked for")
        self._fit_buffer(label)
        sequence = (label, count, 0, True)  # no interval; end the sequence on overflow
        self._translated(label, lambda mmc: mmc.startSequenceAcquisition(*sequence))
        try:
            first: int | None = None
            for index in range(count):
                frame = self._next_frame(label, index, count, exposure_ms, cancelled)
                if counter is not None:
                    number = _own_number(label, frame, counter)
                    first = number if first is None else first
                    _check_number(label, number - first, index)
                yield frame
        finally:
            self._end_sequence(label)

    def _end_sequence(self, label: str) -> None:
        try:
            self._translated(label, lambda mmc: mmc.stopSequenceAcquisition(label))
        except CoreError as error:
            LOGGER.warning("%s (its sequence may still run)", error)

    def _fit_buffer(self, label: str) -> None:
        """Give a Python camera a buffer of a whole number of frames.

        With another size UniMMCore's ring reports overflows that are none and, worse, can
        overwrite a frame that nobody has read, without its number showing it.
        """
        if not self._mmc.isPyDevice(label):
            return
        frame_bytes = self._mmc.getImageBufferSize()
        size_bytes = max(2, (self._buffer_mb << 20) // frame_bytes) * frame_bytes
        if self._fitted_bytes != size_bytes:
            self._mmc.setCircularBufferMemoryFootprint(size_bytes / (1 << 20))
            self._fitted_bytes = size_bytes

    def _next_frame(
        self, label: str, index: int, count: int, exposure_ms: float, cancelled: threading.Event
    ) -> Frame:
        deadline = time.monotonic() + 2 * exposure_ms / 1000 + _FRAME_GRACE_S
        while True:
            # Looked at for each frame: a fast camera may always have the next one waiting.
            if cancelled.is_set() or self._latches:
                raise StoppedError(f"{label} was stopped after {index} of {count} frames")
            if self._mmc.getRemainingImageCount():
                break
            running = self._mmc.isSequenceRunning(label)
            # A frame may have come between the first question and the second.
            if not running and not self._mmc.getRemainingImageCount():
                raise AcquisitionError(self._why_short(label, index, count))
            if time.monotonic() > deadline:
                raise AcquisitionError(
                    f"{label} delivered {index} of {count} frames, then none for "
                    f"{2 * exposure_ms / 1000 + _FRAME_GRACE_S:g} s. Check its trigger and cable."
                )
            cancelled.wait(_FRAME_POLL_S)
        pixels, tags = self._mmc.popNextImageAndMD()
        _check_number(label, int(tags.get("ImageNumber", index)), index)
        return Frame(pixels, float(tags.get("ElapsedTime-ms", "nan")) / 1000, tags)

    def _why_short(self, label: str, index: int, count: int) -> str:
        if self._mmc.isBufferOverflowed():
            return (
                f"the image buffer overflowed: {index} of {count} frames of {label} were taken. "
                "Raise buffer_mb in the instrument file, or the exposure time."
            )
        return (
            f"{label} ended its sequence after {index} of {count} frames. "
            "Its own log has the reason; acquire again."
        )

    @contextmanager
    def stepping(self, label: str, positions_um: Sequence[float]) -> Iterator[None]:
        """Let a focus drive step through `positions_um`, one a frame, by hardware."""
        self.ask(label, lambda mmc: mmc.loadStageSequence(label, list(positions_um)))
        self.ask(label, lambda mmc: mmc.startStageSequence(label))
        try:
            yield
        finally:
            self.ask(label, lambda mmc: mmc.stopStageSequence(label))

    # ------------------------------------------------------------------ end

    def close(self) -> None:
        """Put out the light, unload every device and end the thread.

        A core that hangs is left to the system.
        """
        if not self._worker.close():
            LOGGER.error("a call to the hardware does not return; leaving it to the system")
            return
        self._unload()

    def _unload(self) -> None:
        # MMCore's C++ callback thread, alive at interpreter exit, aborts the process: take it
        # away through the base class (pymmcore-plus forbids the method) before unloading.
        super(CMMCorePlus, self._mmc).registerCallback(None)  # type: ignore[misc]
        self._put_out_the_light()
        self._end_sequences()
        self._mmc.unloadAllDevices()

    def _end_sequences(self) -> None:
        # MMCore refuses to unload a camera that still takes a sequence.
        for label in self.labels:
            if self.kind(label) == "Camera":
                self._end_sequence(label)

    def _translated(self, label: str, call: Callable[[UniMMCore], T]) -> T:
        try:
            return call(self._mmc)
        except DeviceError:
            raise
        except Exception as error:  # an adapter may raise anything
            raise CoreError(f"{label}: {error}") from error


def _own_number(label: str, frame: Frame, counter: str) -> int:
    try:
        return int(frame.tags[counter])
    except (KeyError, ValueError):
        raise AcquisitionError(
            f"{label} does not count its frames in the tag {counter!r}; they have: "
            f"{', '.join(sorted(frame.tags))}. Correct frame_counter in the instrument file."
        ) from None


def _check_number(label: str, number: int, due: int) -> None:
    if number == due:
        return
    what = f"{number - due} lost" if number > due else "one came again, or out of order"
    raise AcquisitionError(
        f"{label} delivered frame {number} where frame {due} was due: {what}. "
        "Check its cable and driver, and acquire it again."
    )


def _match(label: str, axis: str, *, asked_um: float, found_um: float, tolerance_um: float) -> None:
    # Written so that a NaN read back does not pass.
    if not abs(found_um - asked_um) <= tolerance_um:
        raise CoreError(
            f"{label} came to rest at {axis} {found_um:g} µm, asked for {asked_um:g} µm "
            f"(tolerance {tolerance_um:g} µm). Look for an obstacle or an end switch."
        )


def _silence_library_logging() -> None:
    # On import pymmcore-plus sets the root logger to DEBUG and opens a log of its own.
    logger = logging.getLogger("pymmcore-plus")
    for handler in tuple(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def _check_versions(adapters: Path | None) -> None:
    if importlib.util.find_spec("pymmcore_nano"):
        raise InstrumentError(
            "pymmcore-nano is installed and would silently replace pymmcore, with which gently "
            "is tested. Run: pip uninstall pymmcore-nano"
        )
    if adapters is not None:
        return  # a Micro-Manager installation states its interface only when an adapter is loaded
    needs = importlib.metadata.version("pymmcore").split(".")[3]
    has = importlib.metadata.version("mm-test-adapters").split(".")[0]
    if needs != has:
        raise InstrumentError(
            f"pymmcore speaks device interface {needs}, mm-test-adapters {has}. "
            f'Run: pip install "mm-test-adapters=={needs}.*"'
        )
