"""Which names in the store's folders are volumes, who reads and writes them: decided here alone."""

import contextlib
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
from storage.values import VolumeRecord, VolumeSpec, checked_uid

Mark = tuple[int, int]
"""Size (bytes) and last change (ns since 1970): while they are the same, so is the volume."""


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
    key
        As `VolumeSpec.format` says it.
    suffix
        What follows the UID in the file's name.
    files
        For a folder: the files in it. Empty for a file.
    create
        Lays out a volume where `claim` made room; owns its disk space or raises StorageFullError.
    load
        Finds a finished one without reading pixels; raises BrokenVolumeError or OSError.
    """

    key: str
    suffix: str
    files: tuple[str, ...] = ()
    create: Callable[[Path, VolumeSpec, datetime], VolumeFile]
    load: Callable[[Path], Stored]


FORMATS: Final = (
    Format(
        key="ome-tiff",
        suffix=ome_tiff.SUFFIX,
        create=ome_tiff.OmeTiffFile,
        load=ome_tiff.load,
    ),
    Format(
        key="ome-zarr",
        suffix=ome_zarr.SUFFIX,
        files=ome_zarr.FILES,
        create=lambda path, spec, _created: ome_zarr.OmeZarrFolder(path, spec),
        load=ome_zarr.load,
    ),
)


def of(spec: VolumeSpec) -> Format:
    """Return how this volume is to be kept."""
    return next(known for known in FORMATS if known.key == spec.format)


def paths(folder: Path, uid: str) -> Iterator[Path]:
    """Return every name that this volume may have, the default first; raises InvalidUidError."""
    return iter([folder / f"{checked_uid(uid)}{known.suffix}" for known in FORMATS])


def find(folder: Path, uid: str) -> Path | None:
    """Return what has this name in `folder`, whatever it is, or None; raises InvalidUidError."""
    return next((path for path in paths(folder, uid) if os.path.lexists(path)), None)


def claim(path: Path, part: Path) -> None:
    """Make the empty file or folder that becomes `path`, or raise FileExistsError."""
    known = _format(path)
    if known and known.files:
        part.mkdir()
    else:
        part.open("xb").close()


def mark(path: Path) -> Mark:
    """Return by what a change of this volume is seen; raises OSError."""
    status = path.lstat()
    known = _format(path)
    if known and known.files and stat.S_ISDIR(status.st_mode):
        with contextlib.suppress(FileNotFoundError):  # then it is broken, and its own times do
            inside = [(path / name).lstat() for name in known.files]
            return sum(s.st_size for s in inside), max(s.st_mtime_ns for s in inside)
    return status.st_size, status.st_mtime_ns


def check(path: Path) -> Format:
    """Return the format that the name and the kind of the file say.

    Raises
    ------
    BrokenVolumeError
        They are no volume's; the reason says why.
    FileNotFoundError
        Nothing is there.
    """
    known = _format(path)
    if known is None:
        suffixes = " or ".join(known.suffix for known in FORMATS)
        raise BrokenVolumeError(path, f"its name does not end with {suffixes}")
    try:
        checked_uid(path.name.removesuffix(known.suffix))
        mode = path.lstat().st_mode
    except FileNotFoundError:
        raise
    except (InvalidUidError, OSError) as error:
        raise BrokenVolumeError(path, str(error)) from error
    if not (stat.S_ISDIR(mode) if known.files else stat.S_ISREG(mode)):
        own = "folder" if known.files else "file"
        raise BrokenVolumeError(path, f"it is a {_kind(mode)}, not a {own} of this store")
    return known


def read(path: Path) -> VolumeRecord:
    """Return the record of the volume at `path`, from its file alone; raises as `check` does."""
    return load(path).record


def load(path: Path) -> Stored:
    """Return the volume at `path`, its pixels unread; raises as `check` does."""
    known = check(path)
    try:
        return known.load(path)
    except OSError as error:
        if not os.path.lexists(path):
            raise FileNotFoundError(path) from error
        raise BrokenVolumeError(path, str(error)) from error


def _format(path: Path) -> Format | None:
    return next((known for known in FORMATS if path.name.endswith(known.suffix)), None)


def _kind(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "link"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "device or a pipe"
