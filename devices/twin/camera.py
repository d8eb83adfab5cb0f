"""The twin's camera: exposes for as long as it says, sees what is there, can be interrupted."""

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from devices.core import PythonCamera
from devices.twin.hub import Peripheral
from devices.twin.motion import Clock
from devices.twin.optics import PIXEL_UM, LightSheet, Window
from devices.twin.sensor import Sensor
from devices.twin.stamp import STAMP_PIXELS, FrameStamp
from devices.twin.world import Pose

__all__ = ["SpimCamera"]

_SENSOR_PX = 512
_EXPOSURE_MS = (0.01, 10_000.0)
# An ORCA-Flash4.0 reads a row in 9.74 µs, two rows at a time.
_ROW_NS = 4_870

_FULL = Window(0, 0, _SENSOR_PX, _SENSOR_PX, _SENSOR_PX)

Buffer = Callable[[tuple[int, int], type[np.uint16]], np.ndarray[Any, np.dtype[np.uint16]]]


class SpimCamera(Peripheral, PythonCamera):
    """A 16-bit camera of 512 × 512 pixels that looks at the light sheet."""

    def __init__(self) -> None:
        super().__init__()
        self._exposure_ms = 10.0
        self._window = _FULL
        self._is_stamping = False
        self.register_property(
            "PixelSizeUm", getter=SpimCamera.get_pixel_size_um, property_type=float
        )
        self.register_property(
            "FrameStamp",
            getter=SpimCamera.get_frame_stamp,
            setter=SpimCamera.set_frame_stamp,
            allowed_values=("Off", "On"),
            property_type=str,
        )

    def initialize(self) -> None:
        """Take a first look, so that the first frame is as quick as the others."""
        world = self.world
        self._sheet = LightSheet(world.phantom)
        self._sensor = Sensor(world.seed)
        self._picture(0, world.pose(), 1.0, np.empty(self.shape(), np.uint16))

    # ------------------------------------------------------------------ settings

    def get_camera_name(self) -> str:
        """Return what this camera is."""
        return "Digital twin of an ORCA-Flash4.0"

    def get_exposure(self) -> float:
        """Return the exposure time of a frame, in ms."""
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        """Set the exposure time of later sequences, in ms."""
        low, high = _EXPOSURE_MS
        exposure_ms = float(exposure)
        if not low <= exposure_ms <= high:  # also refuses NaN
            raise ValueError(f"exposure {exposure_ms} ms is not between {low:g} and {high:g} ms")
        self._exposure_ms = exposure_ms

    def get_readout_time(self) -> float:
        """Return the time to read a frame after its exposure, in ms."""
        return self._readout_ns() / 1e6

    def get_pixel_size_um(self) -> float:
        """Return the size of a pixel at the sample, in µm."""
        return PIXEL_UM

    def get_frame_stamp(self) -> str:
        """Return whether frames carry a `FrameStamp`: Off or On."""
        return "On" if self._is_stamping else "Off"

    def set_frame_stamp(self, value: str) -> None:
        """Put a `FrameStamp` on the frames of later sequences, or do not."""
        self._is_stamping = value == "On"

    def dtype(self) -> type[np.uint16]:
        """Return the type of a pixel."""
        return np.uint16

    def shape(self) -> tuple[int, int]:
        """Return (height, width) of a frame."""
        return self._window.height, self._window.width

    def get_roi(self) -> tuple[int, int, int, int]:
        """Return the part of the sensor that is read, as (x, y, width, height)."""
        return self._window[:4]

    def set_roi(self, x: int, y: int, width: int, height: int) -> None:
        """Read a part of the sensor, which takes less time if it has fewer rows."""
        if min(x, y) < 0 or max(x + width, y + height) > _SENSOR_PX:
            raise ValueError(
                f"ROI (x, y, width, height) = {(x, y, width, height)} is not on the sensor of "
                f"{_SENSOR_PX} × {_SENSOR_PX} pixels"
            )
        if width < STAMP_PIXELS or height < 1:
            raise ValueError(
                f"ROI of {width} × {height} pixels is too small; at least {STAMP_PIXELS} × 1"
            )
        self._window = Window(x, y, width, height, _SENSOR_PX)

    def clear_roi(self) -> None:
        """Read the whole sensor."""
        self._window = _FULL

    # ------------------------------------------------------------------ frames

    def start_sequence(self, n: int | None, get_buffer: Buffer) -> Iterator[Mapping[str, Any]]:
        """Take `n` frames, or frames until stopped, each after exposure and readout.

        Runs on the core's sequence thread, whose stop interrupts an exposure at once; the
        interrupted frame is not delivered. A frame shows the middle of its exposure, in
        the light that there was.
        """
        world = self.world
        clock, stop = world.clock, _stop_of_this_thread()
        exposure_ns = round(self._exposure_ms * 1e6)
        period_ns = exposure_ns + self._readout_ns()
        start_ns = clock()
        for index in itertools.count() if n is None else range(n):
            dark_ns = world.light.on_ns(start_ns)
            world.piezo.trigger()
            if not _sleep_until(start_ns + exposure_ns, clock, stop):
                return
            pose = world.pose(start_ns + exposure_ns // 2)
            lit_ns = world.light.on_ns(start_ns + exposure_ns) - dark_ns
            if not _sleep_until(start_ns + period_ns, clock, stop):
                return
            frame = get_buffer(self.shape(), np.uint16)
            self._picture(index, pose, lit_ns / 1e6, frame)
            yield {
                "FrameNumber": index,
                "Exposure-ms": exposure_ns / 1e6,
                "ZPositionUm": pose.z_um,
            }
            # The camera keeps its own pace, unless its pictures are not taken in time.
            start_ns += period_ns
            if clock() > start_ns + period_ns:
                start_ns = clock()

    def _picture(
        self, index: int, pose: Pose, lit_ms: float, frame: np.ndarray[Any, np.dtype[np.uint16]]
    ) -> None:
        seen = self._sheet.look(pose.x_um, pose.y_um, pose.z_um, lit_ms, self._window)
        # Noise differs within a sequence and from place to place, never between two runs.
        place = (pose.x_um, pose.y_um, pose.z_um)
        self._sensor.read(seen, (index, *(round(1000 * um) for um in place)), frame)
        if self._is_stamping:
            FrameStamp.of(index, pose, self._exposure_ms).write(frame)

    def _readout_ns(self) -> int:
        return self._window.height * _ROW_NS


def _stop_of_this_thread() -> threading.Event:
    """Return what the core sets to end the sequence that this thread runs.

    UniMMCore keeps it on its acquisition thread and hands it to nobody. A snap runs on its
    caller's thread, which has none, and cannot be stopped.
    """
    stop = getattr(threading.current_thread(), "stop_event", None)
    return stop if isinstance(stop, threading.Event) else threading.Event()


def _sleep_until(deadline_ns: int, clock: Clock, stop: threading.Event) -> bool:
    """Wait, and return whether the time was reached without a stop."""
    while not stop.is_set():
        left_ns = deadline_ns - clock()
        if left_ns <= 0:
            return True
        stop.wait(math.ceil(left_ns / 1000) / 1e6)
    return False
