"""Several cameras as one, as Micro-Manager's Utilities have it."""

import threading
from collections.abc import Iterator, Mapping
from queue import SimpleQueue
from typing import Any

import numpy as np

from devices.core import PythonMultiCamera
from devices.twin.camera import Buffer, SpimCamera, stop_of_this_thread
from devices.twin.hub import Peripheral

__all__ = ["MultiCamera"]

_UNDEFINED = "Undefined"
_SLOTS = 4

Pixels = np.ndarray[Any, np.dtype[np.uint16]]
Arrived = tuple[Pixels, Mapping[str, Any]] | BaseException | None


class MultiCamera(Peripheral, PythonMultiCamera):
    """Runs its cameras at once; the frames of all come as they do, each with its tags.

    Which cameras, its properties ``Physical Camera 1``… say. Of a frame, ``Camera`` is the
    label of the one that took it, and ``Multi Camera-CameraChannelIndex`` is its number.
    """

    def __init__(self) -> None:
        super().__init__()
        for slot in range(1, _SLOTS + 1):
            self.register_property(
                f"Physical Camera {slot}", default_value=_UNDEFINED, property_type=str
            )

    @property
    def channels(self) -> tuple[str, ...]:
        """The labels of its cameras."""
        chosen = (
            str(self.get_property_value(f"Physical Camera {slot}")) for slot in range(1, _SLOTS + 1)
        )
        return tuple(label for label in chosen if label != _UNDEFINED)

    def get_exposure(self) -> float:
        """Return the exposure time of its cameras, in ms; 0 if they differ."""
        exposures = {camera.get_exposure() for camera in self._cameras()}
        return exposures.pop() if len(exposures) == 1 else 0.0

    def set_exposure(self, exposure: float) -> None:
        """Set the exposure time of all its cameras, in ms."""
        for camera in self._cameras():
            camera.set_exposure(exposure)

    def dtype(self) -> type[np.uint16]:
        """Return the type of a pixel."""
        return np.uint16

    def shape(self) -> tuple[int, int]:
        """Return (height, width) of a frame of its first camera."""
        return self._cameras()[0].shape()

    def get_roi(self) -> tuple[int, int, int, int]:
        """Return the ROI of its first camera."""
        return self._cameras()[0].get_roi()

    def set_roi(self, x: int, y: int, width: int, height: int) -> None:
        """Set the ROI of all its cameras."""
        for camera in self._cameras():
            camera.set_roi(x, y, width, height)

    def clear_roi(self) -> None:
        """Read the whole sensor of all its cameras."""
        for camera in self._cameras():
            camera.clear_roi()

    def start_sequence(self, n: int | None, get_buffer: Buffer) -> Iterator[Mapping[str, Any]]:
        """Start all its cameras for `n` frames together, as many of each.

        Raises
        ------
        RuntimeError
            If their frames are of different sizes.
        """
        cameras = self._cameras()
        if len({camera.shape() for camera in cameras}) != 1:
            raise RuntimeError(
                f"the cameras of {self.get_label()} have frames of different sizes: "
                f"{', '.join(f'{camera.get_label()} {camera.shape()}' for camera in cameras)}. "
                "Give them the same ROI."
            )
        each = None if n is None else n // len(cameras)
        arrived: SimpleQueue[Arrived] = SimpleQueue()
        takers = [_Taker(camera, each, arrived) for camera in cameras]
        return self._frames(takers, arrived, get_buffer)

    def _frames(
        self, takers: "list[_Taker]", arrived: "SimpleQueue[Arrived]", get_buffer: Buffer
    ) -> Iterator[Mapping[str, Any]]:
        stop = stop_of_this_thread(or_say=f"{self.get_label()} takes sequences")
        for taker in takers:
            taker.begin(stop)
        try:
            left = len(takers)
            while left:
                frame = arrived.get()
                if frame is None:
                    left -= 1
                    continue
                if isinstance(frame, BaseException):
                    raise frame
                pixels, tags = frame
                get_buffer(pixels.shape, np.uint16)[:] = pixels
                index = self.channels.index(tags["Camera"])
                yield {**tags, f"{self.get_label()}-CameraChannelIndex": str(index)}
        finally:
            stop.set()
            for taker in takers:
                taker.join()

    def _cameras(self) -> list[SpimCamera]:
        found = [self.twin.cameras.get(label) for label in self.channels]
        cameras = [camera for camera in found if isinstance(camera, SpimCamera)]
        if not cameras or len(cameras) != len(found):
            raise RuntimeError(
                f"{self.get_label()} consists of {', '.join(self.channels) or 'no camera'}; "
                "set its Physical Camera properties to SPIM cameras in the configuration file"
            )
        return cameras


class _Taker(threading.Thread):
    """Takes the frames of one camera, which stops when the core's sequence does."""

    def __init__(
        self, camera: SpimCamera, count: int | None, arrived: "SimpleQueue[Arrived]"
    ) -> None:
        super().__init__(name=f"{camera.get_label()} in a multi camera", daemon=True)
        self._label = camera.get_label()
        self._arrived = arrived
        self._made: list[Pixels] = []
        # At once, so that a camera is ready for the first trigger.
        self._tags = camera.start_sequence(count, self._make)

    def begin(self, stop: threading.Event) -> None:
        """Begin, until `stop`."""
        self.stop_event = stop
        self.start()

    def run(self) -> None:
        """Put the frames into the queue, then None or the error that ended them."""
        try:
            for tags in self._tags:
                self._arrived.put((self._made.pop(), {**tags, "Camera": self._label}))
        except Exception as error:  # noqa: BLE001 - the top of a thread
            self._arrived.put(error)
        else:
            self._arrived.put(None)

    def _make(self, shape: tuple[int, int], dtype: type[np.uint16]) -> Pixels:
        self._made.append(np.empty(shape, dtype))
        return self._made[-1]
