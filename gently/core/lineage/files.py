"""Files that others wrote: whether they are what they are said to be, and their checksum.

Everything is read once and in pieces, so that memory does not grow with the file. What is
wrong is a `RegistrationError` that names the file.
"""

import contextlib
import csv
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
import xxhash
from pydantic import JsonValue

from gently.core.lineage.tiff import inspect_tiff
from gently.core.lineage.values import UNREADABLE, RegistrationError
from gently.core.lineage.zarr import inspect_zarr

PIECE_BYTES: Final = 1 << 20
ROWS_READ: Final = 1000
"""Rows of a table that are parsed: a table says nowhere how many it should have."""

SCHEME: Final = "xxh3_128:"

PARQUET: Final = b"PAR1"

Contents = tuple[tuple[int, ...], str]
Inspection = Callable[[Path], Contents | None]


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a file or folder holds, in a few bytes.

    Attributes
    ----------
    bytes : int
        Its size; of a folder, that of all its files.
    checksum : str
        "xxh3_128:" and 32 hexadecimal digits over the bytes of the file, if it was measured
        here; else whatever its own store vouches with. Of a folder, over
        each file in the order of its path: the path, a zero byte, the size as 8 bytes
        (little-endian) and the bytes.
    """

    bytes: int
    checksum: str


def examine(path: Path, kind: str, metadata: Mapping[str, JsonValue]) -> None:
    """Raise `RegistrationError` unless the file is whole and as its suffix and metadata say.

    A kind of "file" may be anything; every other has to be of a format that is known here.
    """
    inspect = _INSPECTIONS.get(path.suffix.lower())
    if inspect is None:
        if kind != "file":
            raise RegistrationError(
                f"{path} is of no format that can be checked ({', '.join(_INSPECTIONS)}); "
                "register it with kind='file' to keep it unchecked"
            )
        return
    if kind == "volume" and inspect not in _IMAGES:
        raise RegistrationError(
            f"{path} is no volume: give a TIFF or an OME-Zarr folder, or another kind"
        )
    wanted = "folder" if inspect is inspect_zarr else "file"
    if not (path.is_dir() if inspect is inspect_zarr else path.is_file()):
        there = f"{path} is no {wanted}" if path.exists() else f"there is no {wanted} {path}"
        raise RegistrationError(there)
    try:
        found = inspect(path)
    except ValueError as error:
        raise RegistrationError(f"{path} {error}") from error
    if found is not None:
        _check_agreement(path, found, metadata)


def measure(path: Path, into: Path | None = None) -> Content:
    """Return size and checksum, reading everything once; refuse what changes meanwhile.

    Parameters
    ----------
    path : Path
        The file or folder.
    into : Path, optional
        Where to write a copy; its bytes are on the disk when this returns.
    """
    total = _Sum()
    for name, file in _files_of(path):
        before = file.stat()
        if name:
            total.begin(name, before.st_size)
        with file.open("rb") as reading, _copying(into and into / name) as write:
            while piece := reading.read(PIECE_BYTES):
                total.add(piece)
                write(piece)
        after = file.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise RegistrationError(
                f"{file} is being written; register it when its writer has finished"
            )
    return total.content()


def vouched(path: Path, checksum: str) -> Content:
    """Return a content that its own store has checked, without reading it."""
    return Content(bytes=sum(file.stat().st_size for _, file in _files_of(path)), checksum=checksum)


class _Sum:
    """Sums up a content, piece by piece."""

    def __init__(self) -> None:
        self._hash = xxhash.xxh3_128()
        self._bytes = 0

    def begin(self, name: str, size: int) -> None:
        """Go on to the next file of a folder."""
        self._hash.update(os.fsencode(name) + b"\0" + size.to_bytes(8, "little"))

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._hash.update(piece)
        self._bytes += len(piece)

    def content(self) -> Content:
        """Return the sum."""
        return Content(bytes=self._bytes, checksum=f"{SCHEME}{self._hash.hexdigest()}")


@contextlib.contextmanager
def _copying(copy: Path | None) -> Iterator[Callable[[bytes], object]]:
    """Give what writes the next bytes of the copy, if there is to be one."""
    if copy is None:
        yield lambda _: None
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    with copy.open("xb") as file:
        yield file.write
        file.flush()
        os.fsync(file.fileno())


def _files_of(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield each file with its name within the folder, sorted; a file itself has no name."""
    if not path.exists():
        raise RegistrationError(f"there is no file {path}")
    if not path.is_dir():
        _check_regular(path)
        yield "", path
        return
    inside = sorted((entry.relative_to(path).as_posix(), entry) for entry in path.rglob("*"))
    for name, entry in inside:
        if entry.is_symlink() or not entry.is_dir():
            _check_regular(entry)
            yield name, entry


def _check_regular(path: Path) -> None:
    """Refuse a link, which leads out of the folder, or a pipe, which never ends."""
    if not stat.S_ISREG(path.lstat().st_mode):
        raise RegistrationError(f"{path} is neither a file nor a folder; give what it leads to")


def _check_agreement(path: Path, found: Contents, metadata: Mapping[str, Any]) -> None:
    shape, dtype = found
    if "dtype" in metadata and dtype != metadata["dtype"]:
        raise RegistrationError(
            f"{path} holds {dtype}, not {metadata['dtype']} as its metadata say"
        )
    if "shape" not in metadata:
        return
    said = metadata["shape"]
    if not isinstance(said, Sequence) or _long_axes(shape) != _long_axes(said):
        said = tuple(said) if isinstance(said, Sequence) else said
        raise RegistrationError(f"{path} has the shape {shape}, not {said} as its metadata say")


def _long_axes(shape: Sequence[int]) -> list[int]:
    """Return the axes but those of length 1, which a file may leave out."""
    return [length for length in shape if length != 1]


def _inspect_npy(path: Path) -> Contents:
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except UNREADABLE as error:
        raise ValueError(f"is not a whole NPY: {error}") from error
    return array.shape, array.dtype.name


def _inspect_table(path: Path) -> None:
    """Parse the first rows; the delimiter is a tab in .tsv."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(_lines(file), delimiter=delimiter, strict=True)
            count = sum(1 for _ in islice(rows, ROWS_READ))
    except (csv.Error, ValueError) as error:
        raise ValueError(f"is not a readable table of text: {error}") from error
    if not count:
        raise ValueError("is an empty table")


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(PIECE_BYTES):
        if len(line) == PIECE_BYTES or "\0" in line:
            raise ValueError("it holds bytes that are no text, or a line of a megabyte")
        yield line


def _inspect_parquet(path: Path) -> None:
    """Find both marks and a footer between them; a file that was cut off has no second."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        begins = file.read(4)
        file.seek(max(size - 8, 0))
        length, ends = int.from_bytes(file.read(4), "little"), file.read(4)
    if not (begins == ends == PARQUET and 0 < length <= size - 12):
        raise ValueError("is not a whole Parquet file: its marks or its footer are missing")


_IMAGES: Final[tuple[Inspection, ...]] = (inspect_tiff, inspect_zarr)
_INSPECTIONS: Final[Mapping[str, Inspection]] = {
    ".tif": inspect_tiff,
    ".tiff": inspect_tiff,
    ".btf": inspect_tiff,
    ".zarr": inspect_zarr,
    ".npy": _inspect_npy,
    ".csv": _inspect_table,
    ".tsv": _inspect_table,
    ".parquet": _inspect_parquet,
}
