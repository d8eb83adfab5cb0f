"""The bottom camera: looks up at the sample in a wide field, by the light of the LED."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from devices.core import PythonCamera
from devices.twin.bright_field import BRIGHT_PIXEL_UM, BrightField
from devices.twin.camera import Buffer, sleep_until, stop_of_this_thread
from devices.twin.hub import Peripheral
from devices.twin.sensor import Sensor

__all__ = ["BottomCamera"]

_SENSOR_PX = 2048
_EXPOSURE_MS = (0.1, 10_000.0)
# A pco.edge reads its rows in 11 ms, from the middle outwards.
_READOUT_NS = 11_000_000


class BottomCamera(Peripheral, PythonCamera):
    """A 16-bit camera of 2048 × 2048 pixels of 0.65 µm below the sample."""

    def __init__(self) -> None:
        super().__init__()
        self._exposure_ms = 10.0
        self.register_property(
            "PixelSizeUm", getter=BottomCamera.get_pixel_size_um, property_type=float
        )

    def initialize(self) -> None:
        """Find the world."""
        world = self.world
        self._field = BrightField(world.phantom, _SENSOR_PX)
        self._sensor = Sensor(world.seed)

    def get_camera_name(self) -> str:
        """Return what this camera is."""
        return "Digital twin of a pco.edge"

    def get_exposure(self) -> float:
        """Return the exposure time of a frame, in ms."""
        return self.twin.faults.camera(self.get_label()).exposure_ms(self._exposure_ms)

    def set_exposure(self, exposure: float) -> None:
        """Set the exposure time of later frames, in ms."""
        low, high = _EXPOSURE_MS
        exposure_ms = float(exposure)
        if not low <= exposure_ms <= high:  # also refuses NaN
            raise ValueError(f"exposure {exposure_ms} ms is not between {low:g} and {high:g} ms")
        self._exposure_ms = exposure_ms

    def get_readout_time(self) -> float:
        """Return the time to read a frame after its exposure, in ms."""
        return _READOUT_NS / 1e6

    def get_pixel_size_um(self) -> float:
        """Return the size of a pixel at the sample, in µm."""
        return BRIGHT_PIXEL_UM

    def dtype(self) -> type[np.uint16]:
        """Return the type of a pixel."""
        return np.uint16

    def shape(self) -> tuple[int, int]:
        """Return (height, width) of a frame."""
        return _SENSOR_PX, _SENSOR_PX

    def start_sequence(self, n: int | None, get_buffer: Buffer) -> Iterator[Mapping[str, Any]]:
        """Take `n` frames, or frames until stopped, by the light that the LED gives then."""
        world = self.world
        clock, stop = world.clock, stop_of_this_thread()
        exposure_ns = round(1e6 * self._exposure_ms)
        for index in itertools.count() if n is None else range(n):
            start_ns = clock()
            percent = world.lamp.percent if world.lamp.is_on else 0.0
            if not sleep_until(start_ns + exposure_ns, clock, stop):
                return
            pose = world.pose("A", start_ns + exposure_ns // 2)
            if not sleep_until(start_ns + exposure_ns + _READOUT_NS, clock, stop):
                return
            if not self.twin.faults.camera(self.get_label()).arrives(index, stop):
                continue
            frame = get_buffer(self.shape(), np.uint16)
            x_um, y_um, _ = world.condition(start_ns).drift_um
            light = percent * self._exposure_ms
            seen = self._field.look(pose.x_um - x_um, pose.y_um - y_um, light)
            place = (round(1000 * pose.x_um), round(1000 * pose.y_um))
            self._sensor.read(seen, (index, *place), frame)
            yield {"FrameNumber": index, "Exposure-ms": self._exposure_ms}
