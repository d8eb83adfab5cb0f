"""Which names in the store's folders are volumes, who reads and who writes them: decided here."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

from storage import ome_tiff, ome_zarr
from storage.errors import BrokenVolumeError, InvalidUidError
from storage.ome_xml import Written
from storage.stored import Stored
from storage.values import FileFormat, VolumeSpec, checked_uid


class VolumeFile(Protocol):
    """A volume being written under its temporary name."""

    def write(self, index: int, frame: memoryview) -> None:
        """Write one frame's bytes; on any thread, in any order. Raises OSError."""

    def close(self) -> None:
        """Close it as it is. Idempotent."""

    def seal(self, written: Written) -> None:
        """Complete it, put everything on the disk and match it with what was asked for."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to keep a volume under one name.

    Attributes
    ----------
    suffix
        What follows the UID in the name.
    head
        For a folder: the file in it that is written last and describes it all. Empty for a file.
    create
        Lays out a volume where `claim` made room; owns its disk space or raises StorageFullError.
    load
        Finds a finished one without reading pixels; raises BrokenVolumeError or OSError.
    """

    suffix: str
    head: str = ""
    create: Callable[[Path, VolumeSpec, datetime], VolumeFile]
    load: Callable[[Path], Stored]

    def path(self, folder: Path, uid: str) -> Path:
        """Return the name of this volume; raises InvalidUidError."""
        return folder / f"{checked_uid(uid)}{self.suffix}"

    def claim(self, part: Path) -> None:
        """Make an empty file or folder of this name, or raise FileExistsError."""
        if self.head:
            part.mkdir()
        else:
            part.open("xb").close()


FORMATS: Final[dict[FileFormat, Format]] = {
    "ome-tiff": Format(suffix=ome_tiff.SUFFIX, create=ome_tiff.OmeTiffFile, load=ome_tiff.load),
    "ome-zarr": Format(
        suffix=ome_zarr.SUFFIX,
        head=ome_zarr.HEAD,
        create=lambda path, spec, _created: ome_zarr.OmeZarrFolder(path, spec),
        load=ome_zarr.load,
    ),
}


def of(spec: VolumeSpec) -> Format:
    """Return how this volume is to be kept."""
    return FORMATS[spec.format]


def default_path(folder: Path, uid: str) -> Path:
    """Return the name that a volume has if nothing else is asked for; raises InvalidUidError."""
    return FORMATS["ome-tiff"].path(folder, uid)


def names(folder: Path, uid: str) -> Iterator[Path]:
    """Return every name that this volume could have; raises InvalidUidError."""
    return (known.path(folder, uid) for known in FORMATS.values())


def find(folder: Path, uid: str) -> Path | None:
    """Return what has this UID's name in `folder`, whatever it is; raises InvalidUidError."""
    return next((path for path in names(folder, uid) if os.path.lexists(path)), None)


def load(path: Path) -> Stored:
    """Return the volume at `path`, from its own files alone.

    Raises
    ------
    BrokenVolumeError
        It is no volume; the reason says why.
    FileNotFoundError
        Nothing is there.
    """
    known = next((known for known in FORMATS.values() if path.name.endswith(known.suffix)), None)
    if known is None:
        suffixes = " or ".join(known.suffix for known in FORMATS.values())
        raise BrokenVolumeError(path, f"its name does not end with {suffixes}")
    try:
        checked_uid(path.name.removesuffix(known.suffix))
    except InvalidUidError as error:
        raise BrokenVolumeError(path, str(error)) from error
    mode = path.lstat().st_mode
    if not (stat.S_ISDIR(mode) if known.head else stat.S_ISREG(mode)):
        own = "folder" if known.head else "file"
        raise BrokenVolumeError(path, f"it is a {_kind(mode)}, not a {own} of this store")
    return known.load(path)


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "device or a pipe"
