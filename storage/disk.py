"""How bytes get to a fixed place in a file: the fastest way that the platform has.

A frame's way is chosen once per file, when the file is made: past the page cache where alignment
and file system allow it, else through the page cache with the kernel told to write at once and to
forget, else by plain seek and write. Nothing here knows of volumes.
"""

import errno
import mmap
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

from storage.errors import StorageFullError

ALIGNMENT: Final = 4096
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_OFFERED: Final = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
# Bytes that may be on their way through the page cache before the oldest are dropped from it.
_BEHIND_BYTES: Final = 64 << 20


class SlotFile(Protocol):
    """A file whose places are written in any order, by several threads at once."""

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data` at `offset`; raises OSError."""

    def close(self) -> None:
        """Close the file, idempotently; what was written may still have to be synced."""


class PlainFile:
    """Seek and write: every platform has it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b", buffering=0)
        self._place = threading.Lock()

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data` at `offset`."""
        with self._place:
            self._file.seek(offset)
            while data:
                data = data[_progress(self._file.write(data)) :]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class WriteBehindFile:
    """Through the page cache, which is told to write at once and to keep nothing.

    Without it a volume fills the cache first and the disk only starts when memory runs out.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("r+b", buffering=0)
        self._behind: list[tuple[int, int]] = []
        self._bookkeeping = threading.Lock()

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data` at `offset` and start its way to the disk."""
        _write_at(self._file.fileno(), offset, data)
        # On Linux DONTNEED starts to write dirty pages and drops clean ones: once now, and once
        # when they have had the time to become clean.
        self._forget(offset, data.nbytes)
        with self._bookkeeping:
            self._behind.append((offset, data.nbytes))
            old = []
            while sum(size for _, size in self._behind) > _BEHIND_BYTES:
                old.append(self._behind.pop(0))
        for place, size in old:
            self._forget(place, size)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _forget(self, offset: int, size: int) -> None:
        os.posix_fadvise(self._file.fileno(), offset, size, os.POSIX_FADV_DONTNEED)


class DirectFile:
    """Past the page cache, from page-aligned memory to page-aligned places: no copy at all."""

    def __init__(self, path: Path, first_slot: int) -> None:
        self._file = FileIO(os.open(path, os.O_RDWR | os.O_DIRECT), "r+")
        try:
            self._probe(first_slot)
        except OSError:
            self._file.close()
            raise

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data` at `offset`; both, and its length, are multiples of 4 KiB."""
        _write_at(self._file.fileno(), offset, data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _probe(self, offset: int) -> None:
        """Read one page: some file systems open the file this way and then refuse to use it."""
        with mmap.mmap(-1, ALIGNMENT) as page:
            os.preadv(self._file.fileno(), [page], offset)


def open_slots(path: Path, first_slot: int, slot_bytes: int) -> SlotFile:
    """Open a laid-out file in the fastest way that this platform and file system offer."""
    aligned = first_slot % ALIGNMENT == 0 and slot_bytes % ALIGNMENT == 0
    if aligned and hasattr(os, "O_DIRECT") and hasattr(os, "preadv"):
        try:
            return DirectFile(path, first_slot)
        except OSError as error:
            if error.errno not in _NOT_OFFERED:
                raise
    if hasattr(os, "pwrite") and hasattr(os, "posix_fadvise"):
        return WriteBehindFile(path)
    return PlainFile(path)


@contextmanager
def room_for(folder: Path, size: int) -> Iterator[None]:
    """Guard the making of a file: a full disk, quota or size limit becomes StorageFullError."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise StorageFullError(folder, size, free)
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise StorageFullError(folder, size, free) from error
        raise


def reserve(path: Path) -> None:
    """Own the space of all holes in a file, so that no later write finds the disk full."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                if error.errno not in _NOT_OFFERED:
                    raise
            else:
                return
        # NTFS gives a file that is not sparse its clusters here; others only a length.
        file.truncate(size)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder; no-op where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable where the platform can sync a folder."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows writes them with the file
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_at(fd: int, offset: int, data: memoryview) -> None:
    while data:
        written = _progress(os.pwrite(fd, data, offset))
        data, offset = data[written:], offset + written


def _progress(written: int | None) -> int:
    if not written:
        raise OSError(errno.EIO, "the operating system took no byte and gave no reason")
    return written
