"""Bluesky's documents onto the disk, as they come, with nobody waiting for it.

A RunEngine calls its subscribers on the loop that also runs the plan. So a document is encoded and
enqueued there, and written by a thread.
"""

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from pydantic_core import to_json

from storage.disk import sync_folder
from storage.errors import DocumentsLostError

LOGGER = logging.getLogger(__name__)
RUN_UID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SUFFIX: Final = ".ndjson"
_MOST_WAITING_BYTES: Final = 64 << 20
_END_S: Final = 5.0
# The key by which a document names its run, or another document of its run.
_OWNER: Final = {
    "start": "uid",
    "descriptor": "run_start",
    "resource": "run_start",
    "stream_resource": "run_start",
    "stop": "run_start",
    "datum": "resource",
    "datum_page": "resource",
    "event": "descriptor",
    "event_page": "descriptor",
    "stream_datum": "descriptor",
}
_NAMED_BY_OTHERS: Final = frozenset({"start", "descriptor", "resource"})


@dataclass(frozen=True)
class _Line:
    """A document on its way: what has to be known of it, and its bytes or why there are none."""

    name: str
    uid: str
    owner: str
    content: bytes | ValueError

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else 0


class DocumentWriter:
    """A subscriber that appends each run's documents to a file of its own. A context manager.

    Calling it never waits for the disk. Memory does not grow with the run, and what a disk that
    hangs leaves waiting is bounded. A run that cannot be kept whole gets no further line, so that
    its file never looks whole, and `flush` tells. A file is synced when its run stops.

    Parameters
    ----------
    folder
        Where the files go; exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed = threading.Condition()
        self._waiting: list[_Line | None] = []  # None: from here on, what came was dropped
        self._waiting_bytes = 0
        self._taken = self._done = 0
        self._is_closed = False
        self._problems: deque[str] = deque(maxlen=16)
        # The thread's own: the open files, and the run of each document that others name.
        self._files: dict[str, BufferedWriter] = {}
        self._run_of: dict[str, str] = {}
        self._thread = threading.Thread(target=self._run, name="documents", daemon=True)
        self._thread.start()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document; what becomes of the object afterwards makes no difference."""
        line = _line(name, document)
        with self._changed:
            if self._is_closed:
                LOGGER.warning("a %s came when documents were no longer kept", name)
                return
            if self._waiting and self._waiting[-1] is None:
                return
            is_too_much = self._waiting_bytes + line.size > _MOST_WAITING_BYTES
            self._waiting.append(None if is_too_much else line)
            self._waiting_bytes += line.size
            self._taken += 1
            self._changed.notify_all()

    def flush(self, timeout_s: float = 30.0) -> None:
        """Wait until all that was taken is in the files, and those of stopped runs are synced.

        Raises
        ------
        DocumentsLostError
            Documents that came since the last call are lost; says of which run, and why.
        """
        with self._changed:
            taken = self._taken
            if not self._changed.wait_for(lambda: self._done >= taken, timeout_s):
                self._problems.append(f"the disk has not taken them for {timeout_s:g} s")
            problems = tuple(self._problems)
            self._problems.clear()
        if problems:
            raise DocumentsLostError(self._folder, problems)

    def close(self) -> None:
        """Write what waits and end the thread, unless the disk hangs. Idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(_END_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while lines := self._next_lines():
            for line in lines:
                if line is None:
                    self._drop()
                else:
                    self._keep(line)
            with self._changed:
                self._done += len(lines)
                self._changed.notify_all()
        for run_uid in list(self._files):
            self._forget(run_uid)

    def _next_lines(self) -> list[_Line | None]:
        """Return what waits; nothing once the writer is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
            return lines

    def _drop(self) -> None:
        error = MemoryError(f"more than {_MOST_WAITING_BYTES >> 20} MiB waited for the disk")
        for run_uid in list(self._files) or ["that was to begin"]:
            self._give_up(run_uid, error)

    def _keep(self, line: _Line) -> None:
        run_uid = line.uid if line.name == "start" else self._run_of.get(line.owner)
        if run_uid is None:
            return  # it was given up
        try:
            self._append(run_uid, line)
        except Exception as error:  # noqa: BLE001 - the top of a thread
            self._give_up(run_uid, error)

    def _append(self, run_uid: str, line: _Line) -> None:
        if isinstance(line.content, ValueError):
            raise line.content
        file = self._begin(run_uid) if line.name == "start" else self._files[run_uid]
        file.write(line.content)
        file.flush()
        if line.name in _NAMED_BY_OTHERS:
            self._run_of[line.uid] = run_uid
        if line.name == "stop":
            os.fsync(file.fileno())
            self._forget(run_uid)
            sync_folder(self._folder)

    def _begin(self, run_uid: str) -> BufferedWriter:
        if not RUN_UID.fullmatch(run_uid):
            raise ValueError("it does not begin with the UID of a run")
        file = (self._folder / f"{run_uid}{SUFFIX}").open("xb")
        self._files[run_uid] = file
        return file

    def _give_up(self, run_uid: str, error: Exception) -> None:
        LOGGER.error("documents of run %s are lost: %r", run_uid[:80], error)
        with self._changed:
            self._problems.append(f"run {run_uid[:80]}: {error!r}")
        self._forget(run_uid)

    def _forget(self, run_uid: str) -> None:
        self._run_of = {uid: run for uid, run in self._run_of.items() if run != run_uid}
        if file := self._files.pop(run_uid, None):
            with suppress(OSError):  # a full disk, which was told already
                file.close()


def _line(name: str, document: Mapping[str, Any]) -> _Line:
    content: bytes | ValueError
    try:
        content = _to_json([name, document]) + b"\n"
    except ValueError as error:
        content = error
    owner = document.get(_OWNER.get(name, ""), "")
    return _Line(name, str(document.get("uid", "")), str(owner), content)


def _to_json(value: object) -> bytes:
    """Return strict JSON: NaN and infinities, which it does not know, become null."""
    text: bytes = to_json(value, inf_nan_mode="null", bytes_mode="base64", fallback=_plain)
    return text


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)
