"""The instrument file: one YAML file that describes a microscope, checked before it is touched.

It is the only place where limits are written. A key given twice, a label used twice or a
limit that is no limit refuse to boot, because a microscope that starts with a guess will
crash an objective with one.
"""

from pathlib import Path
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

from devices.errors import InstrumentError

__all__ = [
    "CameraEntry",
    "Entry",
    "FocusDriveEntry",
    "InstrumentFile",
    "LightSheetEntry",
    "MicroManager",
    "ShutterEntry",
    "XYStageEntry",
    "built_in_instruments",
    "load_instrument_file",
]

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
    power_mw: Positive | None = None


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
