"""Looking at all files of a store, and reading those that the index does not know as they are."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

from storage import formats
from storage.errors import BrokenVolumeError, IndexUnavailableError
from storage.formats import Mark
from storage.index import TRASH, VOLUMES, Entry, Index
from storage.trash import NOTE
from storage.writer import PART

T = TypeVar("T")
LOGGER = logging.getLogger(__name__)
Progress = Callable[[int, int], None]
"""Called with the files that were read so far, and how many are to be read."""

# Names that belong there and are no volumes.
_OTHERS: Final = {VOLUMES: (PART,), TRASH: (NOTE, f"{NOTE}.new")}
_BATCH: Final = 500
# While one waits for the disk, the others parse: half as fast again from a cold disk.
_READERS: Final = 4
_TRIES: Final = 3


@dataclass(frozen=True, kw_only=True)
class BrokenFile:
    """A file among the volumes that is none, and why."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """What a look at all files came to.

    Attributes
    ----------
    files
        Names that were looked at, in the store and its trash.
    read
        Of them, those that were not known, or not as they are, and so were read.
    gone
        Names that were known and are no more.
    broken
        Of the files that were read, those that are no volumes.
    seconds
        How long it took.
    """

    files: int
    read: int
    gone: int
    broken: Sequence[BrokenFile]
    seconds: float


def refresh(index: Index, folders: Sequence[Path], progress: Progress | None = None) -> Refreshed:
    """Bring the index in line with the files in `folders`.

    Files of the same size and time as before are not read again, except those that were broken:
    a right or a disk may have come back.
    """
    began = time.perf_counter()
    for _ in range(_TRIES):
        generation, known = index.marks()
        files, changed = 0, []
        for path, mark in _present(folders):
            files += 1
            name = index.name(path)
            if name not in known or known[name] != mark:
                changed.append(path)
            known.pop(name, None)
        broken = _read(index, changed, progress)
        index.settle((), gone=[folders[0].parent / name for name in known])
        if index.completed(generation):
            return Refreshed(
                files=files,
                read=len(changed),
                gone=len(known),
                broken=broken,
                seconds=time.perf_counter() - began,
            )
    raise IndexUnavailableError(index.path, "other processes empty it all the time")


def examine(path: Path) -> Entry:
    """Read one file, whatever it is; raises FileNotFoundError if it is gone."""
    mark = formats.mark(path)
    try:
        return Entry(path=path, mark=mark, found=formats.read(path))
    except BrokenVolumeError as error:
        return Entry(path=path, mark=mark, found=error.reason)


def _present(folders: Sequence[Path]) -> Iterator[tuple[Path, Mark]]:
    """Look at every name that may be a volume's."""
    for folder in folders:
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(_OTHERS[folder.name]):
                    continue
                try:
                    yield (path := folder / entry.name), formats.mark(path)
                except OSError:  # gone since the folder was read
                    continue


def _read(index: Index, changed: Sequence[Path], progress: Progress | None) -> list[BrokenFile]:
    broken: list[BrokenFile] = []
    done = 0
    with ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader") as readers:
        for batch in _batches(changed):
            entries = [entry for entry in readers.map(_examined, batch) if entry]
            index.settle(entries)
            broken += _broken(entries)
            done += len(batch)
            if progress:
                progress(done, len(changed))
    return broken


def _examined(path: Path) -> Entry | None:
    try:
        return examine(path)
    except FileNotFoundError:  # gone since it was seen
        return None


def _broken(entries: Sequence[Entry]) -> Iterator[BrokenFile]:
    for entry in entries:
        if isinstance(entry.found, str):
            LOGGER.warning("%r is no volume: %s", str(entry.path), entry.found)
            yield BrokenFile(path=entry.path, reason=entry.found)


def _batches(all_of_them: Sequence[T]) -> Iterator[list[T]]:
    rest = iter(all_of_them)
    while batch := list(islice(rest, _BATCH)):
        yield batch
