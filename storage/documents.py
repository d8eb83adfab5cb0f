"""Bluesky's documents, ``{root}/documents/{run_uid}.ndjson``: one file a run, a JSON array a line.

``["start", {…}]``, ``["descriptor", {…}]`` … in the order in which they were emitted: the layout
of suitcase-jsonl, which any line-wise tool reads. The files lie beside the volumes and their index
but, unlike the index, they are a copy of nothing: they are never rewritten. Knows no Bluesky.
"""

import itertools
import json
import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from storage.document_writer import RUN_UID, SUFFIX, DocumentWriter
from storage.errors import BrokenDocumentsError, RunNotFoundError, StorageError

Document = tuple[str, dict[str, Any]]
"""What it is called, such as ``"event"``, and what it says."""

LOGGER = logging.getLogger(__name__)
_BLOCK_BYTES: Final = 1 << 16
_TAIL_BYTES: Final = 1 << 18


@dataclass(frozen=True, kw_only=True)
class KeptRun:
    """A run whose documents are kept.

    Attributes
    ----------
    start
        Its first document.
    stop
        Its last; None while it runs, and for ever if it was cut off by a crash or a full disk.
    """

    run_uid: str
    path: Path
    start: Mapping[str, Any]
    stop: Mapping[str, Any] | None


class DocumentStore:
    """The documents of all runs, by run UID. Usable alone, from any thread.

    Parameters
    ----------
    root
        The storage folder; ``documents`` is made inside it.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root.absolute() / "documents"
        self.folder.mkdir(parents=True, exist_ok=True)

    def writer(self) -> DocumentWriter:
        """Return a new writer: a context manager, and a subscriber for a RunEngine."""
        return DocumentWriter(self.folder)

    def path(self, run_uid: str) -> Path:
        """Return the file of a run.

        Raises
        ------
        RunNotFoundError
            There is none, or `run_uid` is no UID, which never reaches the file system.
        BrokenDocumentsError
            What has this name is no file of this store.
        """
        if not RUN_UID.fullmatch(run_uid):
            raise RunNotFoundError(run_uid, self.folder)
        path = self.folder / f"{run_uid}{SUFFIX}"
        try:
            status = path.lstat()
        except FileNotFoundError:
            raise RunNotFoundError(run_uid, self.folder) from None
        if not stat.S_ISREG(status.st_mode):
            raise BrokenDocumentsError(path, "it is a link or a folder, not a file of this store")
        return path

    def replay(self, run_uid: str) -> Iterator[Document]:
        """Yield a run's documents as they were emitted; one block of lines is in memory.

        Of a run that was cut off, be it in the middle of a line, all whole documents come.

        Raises
        ------
        RunNotFoundError
            At once.
        BrokenDocumentsError
            On the way, at a line that is no document.
        """
        path = self.path(run_uid)
        lines = itertools.chain.from_iterable(_blocks(path))
        return (_parsed(path, number, line) for number, line in enumerate(lines, start=1))

    def replay_to(self, subscriber: Callable[[str, dict[str, Any]], Any], *run_uids: str) -> None:
        """Give the documents of runs to anything that could subscribe to a RunEngine."""
        for run_uid in run_uids:
            for name, document in self.replay(run_uid):
                subscriber(name, document)

    def blocks(self, run_uid: str) -> Iterator[bytes]:
        """Yield the whole lines of a run's file, about 64 KiB at a time; raises as `path` does."""
        return (b"".join(lines) for lines in _blocks(self.path(run_uid)))

    def runs(self, limit: int | None = None, *, since: datetime | None = None) -> Sequence[KeptRun]:
        """Return the runs, the one that was written to last first.

        The first and the last line of each are read. Files that hold no run are logged and
        skipped.

        Parameters
        ----------
        limit
            How many at most.
        since
            Only those that were written to from then on; with a time zone.
        """
        oldest_ns = int(since.timestamp() * 1e9) if since else 0
        with os.scandir(self.folder) as entries:
            dated = [
                (entry.stat(follow_symlinks=False).st_mtime_ns, entry.name) for entry in entries
            ]
        dated = [(written_ns, name) for written_ns, name in dated if written_ns >= oldest_ns]
        newest_first = (self._look(Path(name)) for _, name in sorted(dated, reverse=True))
        return list(itertools.islice(filter(None, newest_first), limit))

    def _look(self, name: Path) -> KeptRun | None:
        try:
            if name.suffix != SUFFIX:
                raise RunNotFoundError(name.name, self.folder)
            path = self.path(name.stem)
            return KeptRun(run_uid=name.stem, path=path, start=_start(path), stop=_stop(path))
        except StorageError as error:
            LOGGER.warning("%s holds no run: %s", self.folder / name, error)
            return None


def _blocks(path: Path) -> Iterator[list[bytes]]:
    """Yield whole lines, many at a time."""
    with path.open("rb") as file:
        while lines := file.readlines(_BLOCK_BYTES):
            if not lines[-1].endswith(b"\n"):
                lines.pop()  # torn by a crash, or just being written
            yield lines


def _parsed(path: Path, number: int, line: bytes) -> Document:
    try:
        match json.loads(line):
            case [str(name), dict(document)]:
                return name, document
    except ValueError as error:
        raise BrokenDocumentsError(path, f"line {number} is no JSON: {error}") from None
    raise BrokenDocumentsError(path, f"line {number} is no array of a name and a document")


def _start(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        line = file.readline()
    name, document = _parsed(path, 1, line)
    if name != "start":
        raise BrokenDocumentsError(path, f"it begins with a {name}, not with a start")
    return document


def _stop(path: Path) -> dict[str, Any] | None:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        last = file.readlines()[-1]
    if not (last.startswith(b'["stop",') and last.endswith(b"\n")):
        return None
    return _parsed(path, -1, last)[1]
