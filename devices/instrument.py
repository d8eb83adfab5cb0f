"""The instrument: every device by name, built from one YAML file, or nothing at all.

The file is the only place where limits are written. A missing device, a label used
twice, a key given twice or a limit that is no limit refuse to boot, because a microscope
that starts with a guess will crash an objective with one.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from devices.base import HardwareDevice
from devices.camera import Camera
from devices.core import Core
from devices.errors import DeviceError, InstrumentError
from devices.frames import OpenSink
from devices.light_sheet import LightSheet
from devices.limits import Limits
from devices.shutter import Shutter
from devices.stage import FocusDrive, Stage, XYStage

__all__ = ["Instrument", "InstrumentFile", "built_in_instruments", "load_instrument_file"]

LOGGER = logging.getLogger(__name__)
_CLOSE_S = 3.0
_FOLDER = Path(__file__).parent / "instruments"


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] < pair[1]:
        raise ValueError(f"low must be below high, not {pair[0]:g} to {pair[1]:g}")
    return pair


# Strict: YAML's `yes` must not become 1 µm, nor a quoted number a limit.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Pair = Annotated[tuple[Number, Number], AfterValidator(_rising)]
Positive = Annotated[Number, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Label = Annotated[str, Field(min_length=1)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class XYLimits(_Entry):
    """Limits of both axes in µm, as [low, high]."""

    x: Pair
    y: Pair


class XYStageEntry(_Entry):
    """An XY stage."""

    kind: Literal["xy_stage"]
    label: Label
    limits_um: XYLimits
    tolerance_um: Positive = 1.0
    timeout_s: Positive = 30.0


class FocusDriveEntry(_Entry):
    """A drive along one axis."""

    kind: Literal["focus_drive"]
    label: Label
    limits_um: Pair
    tolerance_um: Positive = 1.0
    timeout_s: Positive = 10.0


class ShutterEntry(_Entry):
    """A light gate."""

    kind: Literal["shutter"]
    label: Label
    timeout_s: Positive = 5.0


class CameraEntry(_Entry):
    """A camera, and by what it shows that it has lost or repeated a frame."""

    kind: Literal["camera"]
    label: Label
    pixel_size_um: Positive
    exposure_limits_ms: Pair
    frame_counter: Label | None = None
    frames_differ: bool = True


class LightSheetEntry(_Entry):
    """A light sheet, made of devices named elsewhere in the file."""

    kind: Literal["light_sheet"]
    camera: Name
    slice_drive: Name
    shutter: Name
    slicing: Literal["stepped", "sequenced"]


Entry = Annotated[
    XYStageEntry | FocusDriveEntry | ShutterEntry | CameraEntry | LightSheetEntry,
    Field(discriminator="kind"),
]


class MicroManager(_Entry):
    """Which Micro-Manager configuration to load."""

    config: Path
    adapters: Path | None = None
    buffer_mb: Annotated[int, Field(ge=16, le=65536)] = 256


class InstrumentFile(_Entry):
    """A validated instrument file."""

    name: Name
    description: str = ""
    micromanager: MicroManager
    devices: dict[Name, Entry]

    @model_validator(mode="after")
    def _labels_are_used_once(self) -> Self:
        users: dict[str, str] = {}
        for name, entry in self.devices.items():
            label = getattr(entry, "label", None)
            if label is None:
                continue
            if label in users:
                raise ValueError(f"{name} and {users[label]} both use the label {label!r}")
            users[label] = name
        return self

    @model_validator(mode="after")
    def _light_sheets_name_devices(self) -> Self:
        parts = {"camera": CameraEntry, "slice_drive": FocusDriveEntry, "shutter": ShutterEntry}
        for name, entry in self.devices.items():
            if not isinstance(entry, LightSheetEntry):
                continue
            for part, kind in parts.items():
                wanted = getattr(entry, part)
                if not isinstance(self.devices.get(wanted), kind):
                    have = [n for n, e in self.devices.items() if isinstance(e, kind)]
                    raise ValueError(  # noqa: TRY004 - pydantic collects ValueErrors
                        f"{name}.{part} is {wanted!r}; the file has {have}"
                    )
        return self


def built_in_instruments() -> dict[str, Path]:
    """Return the instruments in the box by name."""
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yml"))}


def load_instrument_file(name_or_path: str) -> InstrumentFile:
    """Read an instrument file by its path, or by the name of one in the box.

    Raises
    ------
    InstrumentError
        Names the file, the key and what is wrong with it.
    """
    built_in = built_in_instruments()
    path = built_in.get(name_or_path, Path(name_or_path).expanduser())
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_NoDuplicates)  # noqa: S506
    except OSError as error:
        raise InstrumentError(
            f"the instrument file {path} cannot be read ({error.strerror}). "
            f"Give a path, or one of: {', '.join(built_in)}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InstrumentError(f"{path} is no YAML: {error}") from error
    try:
        found = InstrumentFile.model_validate(content)
    except ValidationError as error:
        raise InstrumentError(f"{path}: {_sentences(error)}") from error
    return _with_config_beside(found, path)


def _with_config_beside(found: InstrumentFile, path: Path) -> InstrumentFile:
    """Look for a relative .cfg beside the instrument file; else the core looks further."""
    beside = path.parent / found.micromanager.config
    if not beside.exists():
        return found
    micromanager = found.micromanager.model_copy(update={"config": beside})
    return found.model_copy(update={"micromanager": micromanager})


def _sentences(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in problem['loc'])}: "
        f"{problem['msg'].removeprefix('Value error, ')}".removeprefix(": ")
        for problem in error.errors()
    )


class _NoDuplicates(yaml.SafeLoader):
    """A safe loader for which a key given twice is an error: YAML takes the last, silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


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
        )
        try:
            self._refuse_missing_labels()
            self.devices: Mapping[str, HardwareDevice] = MappingProxyType(
                _Builder(self.core, file, open_sink).build()
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
        deadline = time.monotonic() + _CLOSE_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
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
            if isinstance(device, Shutter):
                device.check_safe()  # the core has put out the light: see that it did go out
            if isinstance(device, Camera):
                device.frame_format()  # preflight reckons with it
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


def _make_safe(device: HardwareDevice) -> None:
    try:
        device.stop()
        device.check_safe()
        LOGGER.info("at the end %s %s", device.name, _state(device, device.read()))
    except DeviceError as error:
        LOGGER.error("at the end %s is not safe: %s", device.name, error)  # noqa: TRY400 - it says all; the traceback says no more


def _shown(value: object) -> str:
    return f"{value + 0.0:.1f}" if isinstance(value, float) else str(value)  # no "-0.0"


class _Builder:
    """Turns entries into devices; light sheets last, because they are made of the others."""

    def __init__(self, core: Core, file: InstrumentFile, open_sink: OpenSink) -> None:
        self._core = core
        self._file = file
        self._open_sink = open_sink
        self._devices: dict[str, HardwareDevice] = {}

    def build(self) -> dict[str, HardwareDevice]:
        makers: dict[type[_Entry], Callable[[str, Any], HardwareDevice]] = {
            XYStageEntry: self._xy_stage,
            FocusDriveEntry: self._focus_drive,
            ShutterEntry: self._shutter,
            CameraEntry: self._camera,
            LightSheetEntry: self._light_sheet,
        }
        for kind, make in makers.items():
            for name, entry in self._file.devices.items():
                if type(entry) is kind:
                    self._devices[name] = make(name, entry)
        return {name: self._devices[name] for name in self._file.devices}

    def _limits(self, pair: tuple[float, float], units: str) -> Limits:
        return Limits(*pair, units=units, source=f"{self._file.name}.yml")

    def _xy_stage(self, name: str, entry: XYStageEntry) -> XYStage:
        return XYStage(
            name,
            core=self._core,
            label=entry.label,
            x_limits=self._limits(entry.limits_um.x, "um"),
            y_limits=self._limits(entry.limits_um.y, "um"),
            tolerance_um=entry.tolerance_um,
            timeout_s=entry.timeout_s,
        )

    def _focus_drive(self, name: str, entry: FocusDriveEntry) -> FocusDrive:
        return FocusDrive(
            name,
            core=self._core,
            label=entry.label,
            limits=self._limits(entry.limits_um, "um"),
            tolerance_um=entry.tolerance_um,
            timeout_s=entry.timeout_s,
        )

    def _shutter(self, name: str, entry: ShutterEntry) -> Shutter:
        return Shutter(name, core=self._core, label=entry.label, timeout_s=entry.timeout_s)

    def _camera(self, name: str, entry: CameraEntry) -> Camera:
        return Camera(
            name,
            core=self._core,
            label=entry.label,
            exposure_limits=self._limits(entry.exposure_limits_ms, "ms"),
            pixel_size_um=entry.pixel_size_um,
            frame_counter=entry.frame_counter,
            frames_differ=entry.frames_differ,
        )

    def _light_sheet(self, name: str, entry: LightSheetEntry) -> LightSheet:
        return LightSheet(
            name,
            core=self._core,
            camera=self._devices[entry.camera],
            slice_drive=self._devices[entry.slice_drive],
            shutter=self._devices[entry.shutter],
            stages=tuple(device for device in self._devices.values() if isinstance(device, Stage)),
            slicing=entry.slicing,
            open_sink=self._open_sink,
        )
