"""The log file: what every logger of this process says, each line with the item it is about.

Whoever logs waits for nobody: a thread of its own writes the file and rotates it.
"""

import logging
import logging.handlers
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Final

from gently.core.operations.batches import BatchWriter

__all__ = ["ItemStamp", "LogFile", "about_item"]

_MOST_BYTES: Final = 10 << 20
_OLD_FILES: Final = 9
_MOST_WAITING: Final = 100_000
_FLUSH_S: Final = 2.0
_NONE: Final = "-"

# None where nobody has said: on the threads of devices and libraries.
_ITEM: ContextVar[str | None] = ContextVar("item", default=None)


@contextmanager
def about_item(item_uid: str) -> Iterator[None]:
    """Let all that is logged here, and in what is begun here, be about an item; "" is about none.

    It goes with the context: into asyncio's tasks and callbacks, not into new threads.
    """
    token = _ITEM.set(item_uid)
    try:
        yield
    finally:
        _ITEM.reset(token)


class ItemStamp(logging.Filter):
    """Writes on each record which item it is about: `item_uid`, or "-".

    What is logged where nobody has said so (by a device's thread, say) is about the item that
    runs, because there is one at a time. Goes onto handlers, since loggers ask only their own
    filters.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running = ""
        """The uid of the item that runs; set by whoever knows."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Stamp the record and let it pass."""
        said = _ITEM.get()
        record.item_uid = (self.running if said is None else said) or _NONE
        return True


class LogFile(logging.Handler):
    """Writes ``device-layer.log`` and keeps its forerunners ``.1`` (the latest) to ``.9``.

    A line is ``time level item_uid logger: text``. What has several lines, as a traceback, has
    all of that on each, so that no text can pass for a line of its own.

    Parameters
    ----------
    path
        Of the file; its folder is made if it is not there.
    stamp
        Says which item a record is about.
    """

    def __init__(self, path: Path, stamp: ItemStamp) -> None:
        super().__init__()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.addFilter(stamp)
        self.setFormatter(_Lines())
        self._files = _Files(
            path, maxBytes=_MOST_BYTES, backupCount=_OLD_FILES, encoding="utf-8", delay=True
        )
        self._touching = threading.Lock()
        self._writer: BatchWriter[str] = BatchWriter("log-file", self._write, most=_MOST_WAITING)

    @property
    def problem(self) -> str:
        """Why lines are lost at the moment; empty if none are."""
        return self._files.problem

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Take what every logger of this process says.

        Waits for the file to be opened, but not for a disk that hangs.
        """
        logging.getLogger().addHandler(self)
        begins = {"name": __name__, "levelname": "INFO", "msg": f"process {os.getpid()} begins"}
        self._writer.put(self.format(logging.makeLogRecord(begins)))
        self._writer.flush(_FLUSH_S)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(self)
            self._writer.close(_FLUSH_S)
            self._files.close()

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of one record; from any thread, without waiting for the disk."""
        try:
            self._writer.put(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler: a record that cannot be formatted
            self.handleError(record)

    def lines_of(self, item_uid: str, limit: int) -> list[str]:
        """Return the last lines about an item, the oldest first, from all files that there are.

        Reads up to 100 MB: not for an event loop.
        """
        self._writer.flush(_FLUSH_S)
        found: deque[str] = deque(maxlen=limit)
        with self._touching:  # nothing is rotated meanwhile, which Windows would refuse
            for path in reversed(self._paths()):
                with path.open(encoding="utf-8", errors="replace") as file:
                    found.extend(line.rstrip("\n") for line in file if _item(line) == item_uid)
        return list(found)

    def _paths(self) -> list[Path]:
        """Return the files that there are, the newest first."""
        old = (self.path.with_name(f"{self.path.name}.{n}") for n in range(1, _OLD_FILES + 1))
        return [path for path in (self.path, *old) if path.exists()]

    def _write(self, texts: Sequence[str]) -> None:
        with self._touching:
            for text in texts:
                self._files.handle(logging.makeLogRecord({"msg": text}))


class _Lines(logging.Formatter):
    """One line, or several, each complete."""

    def format(self, record: logging.LogRecord) -> str:
        now = datetime.fromtimestamp(record.created).astimezone()
        when = now.isoformat(timespec="milliseconds")
        item_uid = getattr(record, "item_uid", _NONE)
        head = f"{when} {record.levelname} {item_uid} {record.name}: "
        return "\n".join(head + line for line in super().format(record).splitlines() or [""])


class _Files(logging.handlers.RotatingFileHandler):
    """As the standard library's, but what goes wrong is remembered, not printed."""

    problem = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.problem = ""
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - its signature
        self.problem = str(sys.exc_info()[1])


def _item(line: str) -> str:
    parts = line.split(" ", 3)
    return parts[2] if len(parts) == 4 else ""
