"""The instrument file: one YAML file that describes a microscope, checked before it is touched.

It is the only place where limits are written. A key given twice, a label used twice or a
limit that is no limit refuse to boot, because a microscope that starts with a guess will
crash an objective with one.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from devices.entries import (
    CameraEntry,
    Entry,
    FocusDriveEntry,
    LasersEntry,
    LightSheetEntry,
    Name,
    PiezoEntry,
    ScannerEntry,
    ShutterEntry,
    Strict,
    TriggeredLightSheetEntry,
)
from devices.errors import InstrumentError

__all__ = [
    "Entry",
    "InstrumentFile",
    "MicroManager",
    "built_in_instruments",
    "load_instrument_file",
]

_FOLDER = Path(__file__).parent / "instruments"


class MicroManager(Strict):
    """Which Micro-Manager configuration to load."""

    config: Path
    adapters: Path | None = None
    buffer_mb: Annotated[int, Field(ge=16, le=65536)] = 256
    timeout_s: Annotated[float, Field(strict=True, gt=0, le=60)] = 5.0


class InstrumentFile(Strict):
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
    def _parts_are_devices(self) -> Self:
        for name, entry in self.devices.items():
            for part, wanted, kind in _parts(entry):
                if not isinstance(self.devices.get(wanted), kind):
                    have = [n for n, e in self.devices.items() if isinstance(e, kind)]
                    raise ValueError(  # noqa: TRY004 - pydantic collects ValueErrors
                        f"{name}.{part} is {wanted!r}; the file has {have}"
                    )
        return self

    @model_validator(mode="after")
    def _cameras_can_be_triggered(self) -> Self:
        for name, entry in self.devices.items():
            for part, wanted, kind in _parts(entry):
                camera = self.devices[wanted]
                is_triggered = isinstance(entry, TriggeredLightSheetEntry) and kind is CameraEntry
                if is_triggered and isinstance(camera, CameraEntry) and camera.row_us is None:
                    raise ValueError(
                        f"{name}.{part} is {wanted!r}, which cannot be triggered without row_us"
                    )
        return self


def _parts(entry: Entry) -> Iterator[tuple[str, str, type[Strict]]]:
    """Yield the key, the name and the kind of each device that an entry is made of."""
    if isinstance(entry, LasersEntry):
        yield "shutter", entry.shutter, ShutterEntry
    if isinstance(entry, LightSheetEntry):
        yield "camera", entry.camera, CameraEntry
        yield "slice_drive", entry.slice_drive, FocusDriveEntry
        yield "shutter", entry.shutter, ShutterEntry
    if isinstance(entry, TriggeredLightSheetEntry):
        yield "lasers", entry.lasers, LasersEntry
        for side, view in (("a", entry.views.a), ("b", entry.views.b)):
            if view is not None:
                yield f"views.{side}.camera", view.camera, CameraEntry
                yield f"views.{side}.piezo", view.piezo, PiezoEntry
                yield f"views.{side}.scanner", view.scanner, ScannerEntry


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
