"""The instrument: every device by name, built from its file, or nothing at all."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from devices.base import HardwareDevice
from devices.building import Builder
from devices.camera import Camera
from devices.core import Core
from devices.errors import DeviceError, InstrumentError
from devices.frames import OpenSink
from devices.instrument_file import InstrumentFile
from devices.lasers import Lasers
from devices.light import LightSource
from devices.stage import Stage, XYStage

__all__ = ["BootLine", "Instrument"]

LOGGER = logging.getLogger(__name__)
_CLOSE_S = 3.0
_LOOK_S = 0.05


@dataclass(frozen=True)
class BootLine:
    """One device in the boot report."""

    name: str
    kind: str
    label: str
    state: str
    is_ready: bool


class Instrument:
    """Every device of one microscope, by name.

    Parameters
    ----------
    file
        The validated instrument file.
    open_sink
        Where light sheets put their frames.

    Raises
    ------
    InstrumentError
        If a device is missing, has the wrong type, or cannot be read.
    """

    def __init__(self, file: InstrumentFile, *, open_sink: OpenSink) -> None:
        self.file = file
        self.core = Core(
            file.micromanager.config,
            adapters=file.micromanager.adapters,
            buffer_mb=file.micromanager.buffer_mb,
            timeout_s=file.micromanager.timeout_s,
        )
        try:
            self._refuse_missing_labels()
            self.devices: Mapping[str, HardwareDevice] = MappingProxyType(
                Builder(self.core, file, open_sink).build()
            )
            self.report = tuple(self._boot_line(device) for device in self.devices.values())
            self._refuse_unready_devices()
        except BaseException:
            self.core.close()
            raise

    @property
    def name(self) -> str:
        """The instrument's name."""
        return self.file.name

    def find_stages(self) -> None:
        """Read the stages of which a motion was not seen to arrive.

        Raises
        ------
        CoreTimeoutError, CoreError
            If one does not answer.
        """
        for device in self.devices.values():
            if isinstance(device, Stage):
                device.find()

    @property
    def lights(self) -> tuple[LightSource, ...]:
        """All that can shine onto the sample."""
        return tuple(d for d in self.devices.values() if isinstance(d, LightSource))

    def find_lights(self) -> None:
        """Put out again the lights that were not seen to go out.

        Raises
        ------
        DeviceError
            If one may still shine.
        """
        for light in self.lights:
            light.find()

    def close(self) -> None:
        """Bring every device to its safe state, read it back, and unload the hardware.

        A device that hangs keeps neither the others from it nor the caller for long.
        """
        self.core.latch()
        threads = [
            threading.Thread(target=_make_safe, args=(device,), name=f"close {name}", daemon=True)
            for name, device in self.devices.items()
        ]
        for thread in threads:
            thread.start()
        _wait_while_they_end(threads, _CLOSE_S)
        self.core.close()

    def _refuse_missing_labels(self) -> None:
        for name, entry in self.file.devices.items():
            label = getattr(entry, "label", None)
            if label is not None and label not in self.core.labels:
                raise InstrumentError(
                    f"{name} has the label {label!r}, which {self.file.micromanager.config.name} "
                    f"does not load. It loads: {', '.join(self.core.labels)}"
                )

    def _refuse_unready_devices(self) -> None:
        if wrong := [f"{line.name}: {line.state}" for line in self.report if not line.is_ready]:
            raise InstrumentError("; ".join(wrong))

    def _boot_line(self, device: HardwareDevice) -> BootLine:
        kind = self.core.kind(device.label)
        line = (device.name, type(device).__name__, device.label)
        if kind not in device.core_kinds:
            wanted = " or ".join(sorted(device.core_kinds))
            return BootLine(*line, f"is a {kind}, not a {wanted}", is_ready=False)
        try:
            if isinstance(device, Lasers):
                device.stop()
            if isinstance(device, LightSource):
                device.check_safe()  # the core has put out the light: see that it did go out
            if isinstance(device, XYStage):
                device.put_up_fence()
            if isinstance(device, Camera):
                device.read_region()
                device.frame_format()  # preflight reckons with it, and with the speeds
            if isinstance(device, Stage):
                device.read_speeds()
            readings = device.read()
        except DeviceError as error:
            return BootLine(*line, str(error), is_ready=False)
        return BootLine(*line, _state(device, readings), is_ready=True)


def _state(device: HardwareDevice, readings: Mapping[str, Any]) -> str:
    """Return readings as a person reads them."""
    keys = device.describe()
    parts = [
        f"{key.removeprefix(device.name).lstrip('_') or 'is'} {_shown(reading['value'])}"
        f" {keys[key]['units']}".rstrip()
        for key, reading in readings.items()
        if reading["value"] != ""
    ]
    return ", ".join(parts) or "is ready"


def _wait_while_they_end(threads: Sequence[threading.Thread], patience_s: float) -> None:
    """Wait for threads until none has ended for so long: on one line they end one by one."""
    left, since = list(threads), time.monotonic()
    while left and time.monotonic() - since < patience_s:
        left[0].join(_LOOK_S)
        alive = [thread for thread in left if thread.is_alive()]
        if len(alive) < len(left):
            left, since = alive, time.monotonic()


def _make_safe(device: HardwareDevice) -> None:
    try:
        device.stop()
        device.check_safe()
        LOGGER.info("at the end %s %s", device.name, _state(device, device.read()))
    except DeviceError as error:
        LOGGER.error("at the end %s is not safe: %s", device.name, error)  # noqa: TRY400 - it says all; the traceback says no more


def _shown(value: object) -> str:
    return f"{value + 0.0:.1f}" if isinstance(value, float) else str(value)  # no "-0.0"
