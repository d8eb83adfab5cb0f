"""Which names in the store's folders are volumes, and who reads them: decided here alone."""

import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage import ome_tiff
from storage.errors import BrokenVolumeError, InvalidUidError
from storage.values import VolumeRecord, checked_uid

Mark = tuple[int, int]
"""Size (bytes) and last change (ns since 1970): while they are the same, so is the volume."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to keep a volume under one name.

    Attributes
    ----------
    suffix
        What follows the UID in the name.
    head
        For a folder: the file in it that is written last and describes it all. Empty for a file.
    read
        Returns the record without reading pixels; raises BrokenVolumeError or OSError.
    """

    suffix: str
    head: str = ""
    read: Callable[[Path], VolumeRecord]


FORMATS: Final = (Format(suffix=ome_tiff.SUFFIX, read=lambda path: ome_tiff.read_record(path)[0]),)


def find(folder: Path, uid: str) -> Path | None:
    """Return what has this name in `folder`, whatever it is, or None; raises InvalidUidError."""
    paths = [folder / f"{checked_uid(uid)}{known.suffix}" for known in FORMATS]
    return next((path for path in paths if os.path.lexists(path)), None)


def mark(path: Path) -> Mark:
    """Return by what a change of this volume is seen; raises OSError."""
    status = path.lstat()
    known = _format(path)
    if known and known.head and stat.S_ISDIR(status.st_mode):
        with contextlib.suppress(FileNotFoundError):  # then it is broken, and its own times do
            status = (path / known.head).lstat()
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
    if not (stat.S_ISDIR(mode) if known.head else stat.S_ISREG(mode)):
        own = "folder" if known.head else "file"
        raise BrokenVolumeError(path, f"it is a {_kind(mode)}, not a {own} of this store")
    return known


def read(path: Path) -> VolumeRecord:
    """Return the record of the volume at `path`, from its file alone; raises as `check` does."""
    known = check(path)
    try:
        return known.read(path)
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
