"""Micro-Manager's demo instrument, and a shelf in memory for the volumes it takes."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from bluesky import RunEngine
from bluesky.run_engine import DuringTask
from numpy.typing import NDArray

from devices import (
    Camera,
    FocusDrive,
    Instrument,
    InstrumentFile,
    LightSheet,
    PlannedVolume,
    Shutter,
    XYStage,
    load_instrument_file,
)
from devices.core import Core

D = TypeVar("D")
CONFIG = Path("MMConfig_demo.cfg")
CAMERA, XY, FOCUS, SHUTTER = "Camera", "XY", "Z", "White Light Shutter"


def boot_core(config: Path = CONFIG, buffer_mb: int = 16) -> Core:
    return Core(config, adapters=None, buffer_mb=buffer_mb)


def demo_file(buffer_mb: int = 16) -> InstrumentFile:
    """Return the demo instrument with a buffer of 32 frames."""
    return with_buffer(load_instrument_file("demo"), buffer_mb)


def with_buffer(file: InstrumentFile, buffer_mb: int) -> InstrumentFile:
    micromanager = file.micromanager.model_copy(update={"buffer_mb": buffer_mb})
    return file.model_copy(update={"micromanager": micromanager})


def set_property(core: Core, label: str, name: str, value: object) -> None:
    core.ask(label, lambda mmc: mmc.setProperty(label, name, value))


def make_fast(core: Core, exposure_ms: float = 1) -> None:
    """Let the demo camera deliver as fast as it can."""
    set_property(core, CAMERA, "FastImage", 1)
    core.set_exposure_ms(CAMERA, exposure_ms).result()


@dataclass(frozen=True)
class Written:
    frame: NDArray[Any]
    index: int
    delta_t_s: float
    z_um: float


@dataclass(frozen=True)
class Volume:
    """What the shelf publishes."""

    uid: str
    path: Path
    shape: tuple[int, ...]
    dtype: str

    def metadata(self) -> dict[str, Any]:
        return {
            "uid": self.uid,
            "path": str(self.path),
            "shape": list(self.shape),
            "dtype": self.dtype,
            "session_id": "session",
            "exposure_ms": 1.0,
        }


@dataclass
class Sink:
    """One volume on the shelf: open, then published or discarded."""

    planned: PlannedVolume
    shelf: "Shelf"
    state: str = "open"
    written: list[Written] = field(default_factory=list)
    reason: str = ""
    is_lit: bool = False

    def write(self, frame: NDArray[Any], *, index: int, delta_t_s: float, z_um: float) -> None:
        self.shelf.on_write(index)
        self.written.append(Written(frame, index, delta_t_s, z_um))

    @property
    def back_pressure_s(self) -> float:
        return self.shelf.back_pressure_s

    def lit(self) -> None:
        self.is_lit = True

    def finish(self) -> Volume:
        self.shelf.on_finish()
        assert len(self.written) == self.planned.shape[0]
        return self._published("published")

    def keep(self, reason: str) -> Volume:
        self.reason = reason
        return self._published("kept")

    def _published(self, state: str) -> Volume:
        self.state = state
        uid = f"{len(self.shelf.sinks):032x}"
        path = self.shelf.folder / f"{uid}.tif"
        return Volume(uid, path, self.planned.shape, self.planned.dtype)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.state == "open":
            self.state = "discarded"

    @property
    def z_um(self) -> list[float]:
        return [written.z_um for written in self.written]

    @property
    def pixels(self) -> NDArray[Any]:
        return np.stack([written.frame for written in self.written])


@dataclass
class Shelf:
    """Opens sinks; what a test wants to do or to see in mid-volume goes into its hooks."""

    folder: Path
    sinks: list[Sink] = field(default_factory=list)
    on_open: Callable[[], None] = lambda: None
    on_write: Callable[[int], None] = lambda _index: None
    on_finish: Callable[[], None] = lambda: None
    back_pressure_s: float = 0.0

    def open(self, planned: PlannedVolume) -> Sink:
        self.on_open()
        sink = Sink(planned, self)
        self.sinks.append(sink)
        return sink

    @property
    def states(self) -> list[str]:
        return [sink.state for sink in self.sinks]


@dataclass(frozen=True)
class Bench:
    """A booted instrument and the shelf its volumes go to."""

    instrument: Instrument
    shelf: Shelf

    @property
    def core(self) -> Core:
        return self.instrument.core

    @property
    def stage(self) -> XYStage:
        return self._device("xy_stage", XYStage)

    @property
    def focus(self) -> FocusDrive:
        return self._device("focus", FocusDrive)

    @property
    def shutter(self) -> Shutter:
        return self._device("shutter", Shutter)

    @property
    def camera(self) -> Camera:
        return self._device("camera", Camera)

    @property
    def sheet(self) -> LightSheet:
        return self._device("light_sheet", LightSheet)

    @property
    def is_lit(self) -> bool:
        return self.core.shutter_open(self.shutter.label)

    def _device(self, name: str, kind: type[D]) -> D:
        device = self.instrument.devices[name]
        assert isinstance(device, kind)
        return device


@contextmanager
def booted(file: InstrumentFile, folder: Path) -> Iterator[Bench]:
    shelf = Shelf(folder)
    instrument = Instrument(file, open_sink=shelf.open)
    try:
        yield Bench(instrument, shelf)
    finally:
        instrument.close()


@contextmanager
def run_engine() -> Iterator[Any]:
    """Give a RunEngine, and end the thread of its loop, which otherwise outlives it."""
    engine = RunEngine({}, context_managers=[], during_task=DuringTask(), call_returns_result=True)
    try:
        yield engine
    finally:
        if engine.state == "paused":
            engine.halt()
        _end(engine.loop)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon_threadsafe(loop.stop)
    while loop.is_running():
        time.sleep(0.005)
    loop.close()
