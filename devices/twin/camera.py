"""The SPIM cameras: expose when they are to, see what is there, can be interrupted."""

import itertools
import math
import threading
from collections.abc import Callable, Iterator, Mapping
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np

from devices.core import PythonCamera
from devices.twin.chance import mix
from devices.twin.hub import Peripheral
from devices.twin.motion import Clock
from devices.twin.optics import PIXEL_UM, LightSheet, Window
from devices.twin.sensor import HotPixels, Sensor
from devices.twin.settings import Setting, Settings, register
from devices.twin.spim import Run, Side, Trigger
from devices.twin.stamp import STAMP_PIXELS, FrameStamp
from devices.twin.world import Pose

__all__ = ["Buffer", "SpimCamera", "SpimCameraB", "sleep_until", "stop_of_this_thread"]

_SENSOR_PX = 2304
_BOOT_PX = 512
_EXPOSURE_MS = (0.01, 10_000.0)
# Rolling with the light sheet, a row may be exposed for no longer than this.
_PROGRESSIVE_MOST_MS = 11.0
# An ORCA reads a row in 4.87 µs, and in 15.6 µs when it rolls slowly with the light sheet.
_ROW_NS = {"AREA": 4_870, "PROGRESSIVE": 15_580}
# How often a camera that waits for a trigger looks for a stop.
_LOOK_S = 0.02

_TABLE = (
    Setting("TRIGGER SOURCE", "INTERNAL", choices=("INTERNAL", "EXTERNAL")),
    Setting("TRIGGER ACTIVE", "EDGE", choices=("EDGE", "LEVEL", "SYNCREADOUT")),
    Setting("TRIGGER POLARITY", "NEGATIVE", choices=("NEGATIVE", "POSITIVE")),
    Setting("SENSOR MODE", "AREA", choices=tuple(_ROW_NS)),
    Setting("FrameStamp", "Off", choices=("Off", "On")),
)

Buffer = Callable[[tuple[int, int], type[np.uint16]], np.ndarray[Any, np.dtype[np.uint16]]]
Pixels = np.ndarray[Any, np.dtype[np.uint16]]


class SpimCamera(Peripheral, PythonCamera):
    """A 16-bit camera of 2304 × 2304 pixels that looks at the light sheet of side A.

    It starts with the middle 512 × 512 pixels as its ROI.
    """

    side: Side = "A"

    def __init__(self) -> None:
        super().__init__()
        self._exposure_ms = 10.0
        corner = (_SENSOR_PX - _BOOT_PX) // 2
        self._window = Window(corner, corner, _BOOT_PX, _BOOT_PX, _SENSOR_PX)
        self._settings = Settings(_TABLE)
        register(self, _TABLE, lambda camera: camera.settings)
        self.register_property(
            "PixelSizeUm", getter=SpimCamera.get_pixel_size_um, property_type=float
        )

    def initialize(self) -> None:
        """Find the world."""
        world = self.world
        self._sheet = LightSheet(world.phantom, self.side, world.sheets[self.side])
        self._sensor = Sensor(world.seed)
        self._hot = HotPixels(mix(world.seed, ord(self.side)), _SENSOR_PX)
        self.twin.cameras[self.get_label()] = self

    # ------------------------------------------------------------------ settings

    @property
    def settings(self) -> Settings:
        """How it is triggered and read."""
        return self._settings

    def get_camera_name(self) -> str:
        """Return what this camera is."""
        return "Digital twin of an ORCA"

    def get_exposure(self) -> float:
        """Return the exposure time of a frame, in ms: not always what was asked for."""
        return self.twin.faults.camera(self.get_label()).exposure_ms(self._exposes_ms())

    def _exposes_ms(self) -> float:
        if self._settings["SENSOR MODE"] == "PROGRESSIVE":
            return min(self._exposure_ms, _PROGRESSIVE_MOST_MS)
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
        self._window = Window(0, 0, _SENSOR_PX, _SENSOR_PX, _SENSOR_PX)

    # ------------------------------------------------------------------ frames

    def start_sequence(self, n: int | None, get_buffer: Buffer) -> Iterator[Mapping[str, Any]]:
        """Take `n` frames, or frames until stopped.

        Triggered from outside, it is ready for the first trigger when this returns, and takes
        a frame a trigger; otherwise it takes each when the one before has been read. The
        frames come on the core's sequence thread, whose stop interrupts at once; an
        interrupted frame is not delivered.

        Raises
        ------
        RuntimeError
            If it is to be triggered in a way that the twin does not know.
        """
        # The first look at a sample takes its time: have it before time counts.
        now = self.world.clock()
        sight = self.world.sight(self.side, self.world.pose(self.side))
        self._sheet.look(sight, 1.0, self._window, self.world.condition(now))
        if self._settings["TRIGGER SOURCE"] == "INTERNAL":
            return self._free_running(n, get_buffer)
        if self._settings["TRIGGER ACTIVE"] != "EDGE":
            raise RuntimeError(
                f"the twin's {self.get_label()} can be triggered by an EDGE, not by "
                f"{self._settings['TRIGGER ACTIVE']}; set TRIGGER ACTIVE to EDGE"
            )
        return self._triggered(n, get_buffer, self.world.scan.listen(), self.world.clock())

    def _free_running(self, n: int | None, get_buffer: Buffer) -> Iterator[Mapping[str, Any]]:
        world = self.world
        clock, stop = world.clock, stop_of_this_thread()
        exposure_ns = self._exposure_ns()
        period_ns = exposure_ns + self._readout_ns()
        start_ns = clock()
        for index in itertools.count() if n is None else range(n):
            if not sleep_until(start_ns + exposure_ns, clock, stop):
                return
            pose = world.pose(self.side, start_ns + exposure_ns // 2)
            exposed = _Exposed(start_ns, start_ns + exposure_ns, pose)
            if not sleep_until(start_ns + period_ns, clock, stop):
                return
            yield from self._frame(index, exposed, get_buffer)
            # The camera keeps its own pace, unless its pictures are not taken in time.
            start_ns += period_ns
            if clock() > start_ns + period_ns:
                start_ns = clock()

    def _triggered(
        self, n: int | None, get_buffer: Buffer, runs: "SimpleQueue[Run]", armed_ns: int
    ) -> Iterator[Mapping[str, Any]]:
        world = self.world
        exposure_ns, readout_ns = self._exposure_ns(), self._readout_ns()
        try:
            stop = stop_of_this_thread(or_say=f"{self.get_label()} waits for a trigger")
            triggers = self._accepted(runs, armed_ns, exposure_ns + readout_ns, stop)
            for index, trigger in enumerate(itertools.islice(triggers, n)):
                begin_ns, end_ns = trigger.at_ns, trigger.at_ns + exposure_ns
                if not sleep_until(end_ns + readout_ns, world.clock, stop):
                    return
                pose = world.triggered_pose(self.side, trigger, begin_ns + exposure_ns // 2)
                yield from self._frame(index, _Exposed(begin_ns, end_ns, pose), get_buffer)
        finally:
            world.scan.forget(runs)

    def _accepted(
        self, runs: "SimpleQueue[Run]", free_ns: int, busy_ns: int, stop: threading.Event
    ) -> Iterator[Trigger]:
        """Yield the triggers that find the camera ready; the others are lost, without a word."""
        clock = self.world.clock
        is_rolling = self._settings["SENSOR MODE"] == "PROGRESSIVE"
        while (run := _next_run(runs, stop)) is not None:
            for trigger in run.triggers(self.side):
                if not is_rolling or trigger.at_ns < free_ns:
                    continue
                if not sleep_until(trigger.at_ns, clock, stop):
                    return
                if trigger.at_ns >= run.ends_ns:
                    break
                free_ns = trigger.at_ns + busy_ns
                yield trigger

    def _frame(
        self, index: int, exposed: "_Exposed", get_buffer: Buffer
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the tags of a frame that is in the buffer; nothing, if it is lost on its way."""
        if not self.twin.faults.camera(self.get_label()).arrives(index, stop_of_this_thread()):
            return
        frame = get_buffer(self.shape(), np.uint16)
        self._picture(index, exposed, frame)
        yield {
            "FrameNumber": index,
            "Exposure-ms": self._exposure_ns() / 1e6,
            "ZPositionUm": exposed.pose.z_um,
        }

    def _picture(self, index: int, exposed: "_Exposed", frame: Pixels) -> None:
        world = self.world
        sight = world.sight(self.side, exposed.pose)
        lit_ms = _effective_ms(world.light.energy_uj(exposed.begin_ns, exposed.end_ns))
        condition = world.condition(exposed.begin_ns)
        seen = self._sheet.look(sight, lit_ms, self._window, condition)
        # Noise differs within a sequence and from place to place, never between two runs.
        self._sensor.read(seen, (index, *(round(1000 * um) for um in sight)), frame)
        self._hot.show(frame, *self._window[:2])
        if self._settings["FrameStamp"] == "On":
            FrameStamp.of(index, exposed.pose, self._exposes_ms()).write(frame)

    def _exposure_ns(self) -> int:
        return round(self._exposes_ms() * 1e6)

    def _readout_ns(self) -> int:
        return self._window.height * _ROW_NS[str(self._settings["SENSOR MODE"])]


class _Exposed(NamedTuple):
    """When a frame was exposed, and where everything was."""

    begin_ns: int
    end_ns: int
    pose: Pose


class SpimCameraB(SpimCamera):
    """The camera of side B."""

    side: Side = "B"


# What a µJ of each line gives, as ms of the light that `optics` counts in: that of 488 nm
# at 6 mW, which is 4 % of it. The sample's label is made for that line.
_MS_PER_UJ = (0.02 / 6, 1 / 6, 0.4 / 6, 0.05 / 6)


def _effective_ms(energy_uj: tuple[float, ...]) -> float:
    return sum(energy * ms for energy, ms in zip(energy_uj, _MS_PER_UJ, strict=True))


def _next_run(runs: "SimpleQueue[Run]", stop: threading.Event) -> Run | None:
    """Wait for the scan card to start, until a stop."""
    while not stop.is_set():
        try:
            return runs.get(timeout=_LOOK_S)
        except Empty:
            continue
    return None


def stop_of_this_thread(*, or_say: str = "") -> threading.Event:
    """Return what the core sets to end the sequence that this thread runs.

    UniMMCore keeps it on its acquisition thread and hands it to nobody. A snap runs on its
    caller's thread, which has none, and cannot be stopped.

    Raises
    ------
    RuntimeError
        In a snap, if it must not be one: then `or_say` has the reason.
    """
    stop = getattr(threading.current_thread(), "stop_event", None)
    if isinstance(stop, threading.Event):
        return stop
    if or_say:
        raise RuntimeError(f"{or_say}, for which a snap cannot wait: set it to INTERNAL")
    return threading.Event()


def sleep_until(deadline_ns: int, clock: Clock, stop: threading.Event) -> bool:
    """Wait, and return whether the time was reached without a stop."""
    while not stop.is_set():
        left_ns = deadline_ns - clock()
        if left_ns <= 0:
            return True
        stop.wait(math.ceil(left_ns / 1000) / 1e6)
    return False
