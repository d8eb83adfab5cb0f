"""Frames: hardware sequences of a camera, of which every frame is seen to come, in order.

MMCore does not say when it has lost a frame. So frames are counted, and its buffer is
looked at.
"""

import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import UniMMCore

from devices.core.calls import translated
from devices.core.loading import end_sequence
from devices.core.stops import Stops
from devices.errors import AcquisitionError, StoppedError

__all__ = ["Frame", "Sequences"]

_FRAME_POLL_S = 0.0005


@dataclass(frozen=True)
class Frame:
    """One image as the camera delivered it.

    Parameters
    ----------
    pixels
        (y, x), a copy that belongs to the receiver.
    camera
        The label of the camera that took it.
    elapsed_s
        Seconds since the sequence was started, as stamped by the core.
    tags
        Whatever else the camera said of it.
    """

    pixels: NDArray[Any]
    camera: str
    elapsed_s: float
    tags: Mapping[str, Any]


class Sequences:
    """The one image buffer of MMCore, and the sequences that go through it.

    Parameters
    ----------
    mmc
        With the cameras.
    buffer_mb
        The buffer's size in MiB.
    stops
        What ends a sequence, and lets none begin.
    late_s
        For how long a frame that is late is waited for.
    """

    def __init__(self, mmc: UniMMCore, buffer_mb: int, stops: Stops, *, late_s: float) -> None:
        self._mmc = mmc
        self._buffer_mb = buffer_mb
        self._stops = stops
        self._late_s = late_s
        self._fitted_bytes = 0

    def buffer_frames(self, label: str) -> int:
        """Make the image buffer ready, and return how many frames of a camera it holds."""
        self._mmc.setCameraDevice(label)
        self._fit_buffer(label)
        self._mmc.initializeCircularBuffer()
        return int(self._mmc.getBufferTotalCapacity())

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
        """Run one hardware sequence and yield each frame as it arrives; see `Core.frames`."""
        if cancelled.is_set() or self._stops.is_latched:
            raise StoppedError(f"{label} was not started: a stop was asked for")
        asked = cameras or {label: None}
        counts = {
            camera: _Count(camera, tag, count, is_alone=len(asked) == 1)
            for camera, tag in asked.items()
        }
        self._fit_buffer(label)
        sequence = (label, count, 0, True)  # no interval; end the sequence on overflow
        translated(self._mmc, label, lambda mmc: mmc.startSequenceAcquisition(*sequence))
        try:
            begin()
            total = count * len(counts)
            for index in range(total):
                frame = self._next_frame(label, index, total, exposure_ms, cancelled, counts)
                _counted(counts, frame)
                yield frame
        finally:
            end_sequence(self._mmc, label)

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
        self,
        label: str,
        index: int,
        count: int,
        exposure_ms: float,
        cancelled: threading.Event,
        counts: Mapping[str, "_Count"],
    ) -> Frame:
        deadline = time.monotonic() + 2 * exposure_ms / 1000 + self._late_s
        while True:
            # Looked at for each frame: a fast camera may always have the next one waiting.
            if cancelled.is_set() or self._stops.is_latched:
                raise StoppedError(f"{label} was stopped after {index} of {count} frames")
            if self._mmc.getRemainingImageCount():
                break
            running = self._mmc.isSequenceRunning(label)
            # A frame may have come between the first question and the second.
            if not running and not self._mmc.getRemainingImageCount():
                raise AcquisitionError(self._why_short(label, index, count, _came(counts)))
            if time.monotonic() > deadline:
                raise AcquisitionError(
                    f"{label} delivered {index} of {count} frames, then none for "
                    f"{2 * exposure_ms / 1000 + self._late_s:g} s{_came(counts)}. "
                    "Check its trigger and cable."
                )
            cancelled.wait(_FRAME_POLL_S)
        pixels, tags = self._mmc.popNextImageAndMD()
        elapsed_s = float(tags.get("ElapsedTime-ms", "nan")) / 1000
        return Frame(pixels, str(tags.get("Camera", label)), elapsed_s, tags)

    def _why_short(self, label: str, index: int, count: int, came: str) -> str:
        if self._mmc.isBufferOverflowed():
            return (
                f"the image buffer overflowed: {index} of {count} frames of {label} were taken. "
                "Raise buffer_mb in the instrument file, or the exposure time."
            )
        return (
            f"{label} ended its sequence after {index} of {count} frames{came}. "
            "Its own log has the reason; acquire again."
        )


class _Count:
    """The frames of one camera, of which each is to come once and in order.

    Parameters
    ----------
    camera
        Its label.
    tag
        In which it counts its frames itself; None if it does not.
    most
        How many there are to be.
    is_alone
        Whether the core's own numbers are of this camera's frames, and not of those of several.
    """

    def __init__(self, camera: str, tag: str | None, most: int, *, is_alone: bool) -> None:
        self._camera = camera
        self._tag = tag
        self._most = most
        self._is_alone = is_alone
        self._due = 0
        self._first: int | None = None

    def __str__(self) -> str:
        return f"{self._camera} {self._due} of {self._most}"

    def see(self, frame: Frame) -> None:
        """Raise `AcquisitionError` unless it is the frame that is due."""
        if self._is_alone:
            _check_number(self._camera, int(frame.tags.get("ImageNumber", self._due)), self._due)
        if self._due == self._most:
            raise AcquisitionError(
                f"{self._camera} delivered more than the {self._most} frames that were asked for. "
                "Check its trigger cable, and acquire it again."
            )
        if self._tag is not None:
            number = self._own_number(frame, self._tag)
            self._first = number if self._first is None else self._first
            _check_number(self._camera, number - self._first, self._due)
        self._due += 1

    def _own_number(self, frame: Frame, tag: str) -> int:
        try:
            return int(frame.tags[tag])
        except (KeyError, ValueError):
            raise AcquisitionError(
                f"{self._camera} does not count its frames in the tag {tag!r}; they have: "
                f"{', '.join(sorted(frame.tags))}. Correct frame_counter in the instrument file."
            ) from None


def _came(counts: Mapping[str, _Count]) -> str:
    """Return how many frames came of each of several cameras: one of them is at fault."""
    return f" ({', '.join(map(str, counts.values()))})" if len(counts) > 1 else ""


def _counted(counts: Mapping[str, _Count], frame: Frame) -> None:
    if frame.camera not in counts:
        raise AcquisitionError(
            f"a frame came from {frame.camera}, of which none was asked for; asked for were "
            f"{', '.join(counts)}. Check which cameras the adapter of several has."
        )
    counts[frame.camera].see(frame)


def _check_number(label: str, number: int, due: int) -> None:
    if number == due:
        return
    what = f"{number - due} lost" if number > due else "one came again, or out of order"
    raise AcquisitionError(
        f"{label} delivered frame {number} where frame {due} was due: {what}. "
        "Check its cable and driver, and acquire it again."
    )
