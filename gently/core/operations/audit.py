"""The audit log: ``{storage}/audit.ndjson``, a line for everything that somebody made it do.

Who records waits for nobody: a thread of its own appends the lines, syncs them to the disk and
then keeps the new head beside them, in ``audit.head``, which is replaced as a whole. The form
of the lines, and what can be found out with them, is in `gently.core.operations.chain`.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from pydantic_core import from_json

from gently.core.encoding import encoded
from gently.core.errors import GentlyError
from gently.core.operations import chain
from gently.core.operations.batches import BatchWriter
from gently.core.operations.chain import START, Head, Verdict

__all__ = ["Action", "AuditError", "AuditLog", "digest_of", "head_beside"]

LOGGER = logging.getLogger(__name__)
_MOST_WAITING: Final = 100_000
_FLUSH_S: Final = 5.0
_BLOCK_BYTES: Final = 1 << 16
_MOST_DETAIL: Final = 500


class AuditError(GentlyError):
    """The audit log cannot be read; says which and why."""


@dataclass(frozen=True, kw_only=True)
class Action:
    """Something that somebody has asked for, and what came of it.

    Parameters
    ----------
    what
        Such as ``"POST /api/queue/item/execute"``.
    name, kind, key_id
        Of who asked: a name, ``"person"`` or ``"agent"``, the first eight characters of the key.
    origin
        From where: address and port.
    item_name, item_uid
        Of the item that it was about, if it was about one.
    digest
        SHA-256 of the parameters; see `digest_of`.
    outcome
        Whether it was done.
    status
        The answer's, if it was a request.
    detail
        A sentence, where there is one to say.
    """

    what: str
    name: str = ""
    kind: str = ""
    key_id: str = ""
    origin: str = ""
    item_name: str = ""
    item_uid: str = ""
    digest: str = ""
    outcome: Literal["done", "refused", "failed"] = "done"
    status: int | None = None
    detail: str = ""


def digest_of(parameters: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a request's parameters in their canonical form."""
    return chain.digest(chain.canonical(_plain(parameters)))


def head_beside(path: Path) -> Path:
    """Return where the head of a log is kept."""
    return path.with_suffix(".head")


class AuditLog:
    """Appends to the audit log; a context manager. Safe from any thread.

    Opened again after a crash it goes on where it stood, and says in an entry of its own what
    was left of an unfinished line, or that it is not what it was.

    Parameters
    ----------
    path
        Of the file, made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._head = START
        self._size = 0  # up to which all lines are whole; what is behind was never finished
        self._is_open = False
        self._lost = 0
        self._counting = threading.Lock()
        self._writer: BatchWriter[dict[str, Any]] = BatchWriter(
            "audit", self._write, most=_MOST_WAITING
        )

    @property
    def head(self) -> Head:
        """Of what is on the disk."""
        return self._head

    @property
    def problem(self) -> str:
        """Why nothing can be recorded at the moment; empty if all is well."""
        return self._writer.problem

    def record(self, action: Action) -> None:
        """Append an action; returns at once, from any thread."""
        entry = _entry(action)
        if not self._writer.put(entry):
            with self._counting:
                self._lost += 1

    def flush(self, timeout_s: float = _FLUSH_S) -> bool:
        """Wait until all that was recorded is on the disk; False if it is not in time."""
        return self._writer.flush(timeout_s)

    def close(self) -> None:
        """Write what waits and end, unless the disk hangs. Idempotent."""
        if not self._writer.close(_FLUSH_S) or self._writer.problem:
            LOGGER.error("the end of the audit log is lost: the disk does not take it")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def verify(self, *heads: Head) -> Verdict:
        """Read the whole log and tell whether it is what was written.

        Parameters
        ----------
        heads
            That somebody has noted elsewhere, besides the one that is kept.

        Raises
        ------
        AuditError
            If it cannot be read.
        """
        self.flush()
        head, size = self._head, self._size
        try:
            return chain.verify(self.path, head, *heads, most_bytes=size)
        except OSError as error:
            raise AuditError(f"{self.path} cannot be read: {error}") from error

    def entries(self, limit: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return the last entries, the newest first.

        Parameters
        ----------
        limit
            How many at most.
        before
            Only those with a lower number ``n``.

        Raises
        ------
        AuditError
            If the log cannot be read.
        """
        self.flush()
        found: list[dict[str, Any]] = []
        try:
            for line in _lines_backwards(self.path, self._size):
                entry = chain.parsed(line)
                if entry is None or (before is not None and entry["n"] >= before):
                    continue
                if len(found) == limit:
                    break
                found.append(entry)
        except OSError as error:
            raise AuditError(f"{self.path} cannot be read: {error}") from error
        return found

    # ------------------------------------------------------------------ the thread

    def _write(self, entries: Sequence[dict[str, Any]]) -> None:
        if not self._is_open:
            self._go_on()
            self._is_open = True
        with self._counting:
            lost, self._lost = self._lost, 0
        if lost:
            detail = f"{lost} actions were not recorded, because the disk took nothing"
            entries = [*entries, _entry(Action(what=chain.LOST, outcome="failed", detail=detail))]
        try:
            self._append(entries)
        except OSError:
            with self._counting:
                self._lost += lost
            raise

    def _go_on(self) -> None:
        """Find the end of what an earlier process has left, and account for it."""
        self._size = _end_last_line(self.path)
        kept = chain.read_head(head_beside(self.path))
        self._head, whole = _last_entry(self.path, self._size)
        accounts = []
        if torn := _bytes_from(self.path, whole):
            detail = f"{len(torn)} bytes before this are of lines that were never finished"
            accounts.append(Action(what=chain.TORN, digest=chain.digest(torn), detail=detail))
        if problem := self._unlike(kept):
            LOGGER.error("%s: %s", self.path, problem)
            accounts.append(Action(what=chain.BROKEN, outcome="failed", detail=problem))
        self._append([_entry(action) for action in accounts])

    def _unlike(self, kept: Head | None) -> str:
        """Return what tells that the log is not what was written; empty if it goes on well."""
        if kept is None:
            found = self._head.count
            return f"it has {found} entries, and its head is not kept beside it" if found else ""
        if kept.count > self._head.count:
            return f"it has {self._head.count} entries; {kept.count} were written"
        if kept.count == 0 or self._hash_of(kept.count) == kept.hash:
            return ""
        return f"its entry {kept.count} is not the one that was written"

    def _hash_of(self, count: int) -> str:
        for line in _lines_backwards(self.path, self._size):
            if (entry := chain.parsed(line)) is not None and entry["n"] <= count:
                return str(entry["hash"]) if entry["n"] == count else ""
        return ""

    def _append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write entries, all or none of them, and then the head."""
        head, content = self._head, bytearray()
        for entry in entries:
            line, head = chain.linked(entry, head)
            content += line
        with self.path.open("r+b", buffering=0) as file:
            try:
                file.seek(self._size)
                _write_all(file.fileno(), content)
                os.fsync(file.fileno())
            except OSError:
                # What was not finished was never said to be written; a crash before this line
                # is accounted for at the next start.
                file.truncate(self._size)
                raise
        self._head, self._size = head, self._size + len(content)
        self._keep_head()

    def _keep_head(self) -> None:
        kept = head_beside(self.path)
        new = kept.with_suffix(".head.new")
        try:
            with new.open("w", encoding="ascii") as file:
                file.write(f"{self._head}\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(kept)
        except OSError as error:  # the next one will be kept; until then the one before counts
            LOGGER.warning("the head of the audit log is not kept in %s: %s", kept, error)


def _entry(action: Action) -> dict[str, Any]:
    """Return an action as an entry of this moment."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    detail = action.detail[:_MOST_DETAIL]
    return {"time": now, **_plain({**asdict(action), "detail": detail})}


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values as they are read back: whatever cannot be JSON is what it stands for."""
    found: dict[str, Any] = from_json(encoded(value))
    return found


def _write_all(fd: int, content: bytes | bytearray) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]


def _end_last_line(path: Path) -> int:
    """Give the last line of a file, made if need be, its newline; return the file's size.

    A crash may have cut off no more than that; of any other line it makes one that is wrong.
    """
    with path.open("a+b", buffering=0) as file:
        size = file.tell()
        if size:
            file.seek(size - 1)
            if file.read(1) != b"\n":
                _write_all(file.fileno(), b"\n")
                return size + 1
    return size


def _last_entry(path: Path, size: int) -> tuple[Head, int]:
    """Return the head of the last whole entry, and where it ends; the start if there is none."""
    end = size
    for line in _lines_backwards(path, size):
        if (entry := chain.parsed(line)) is not None:
            return Head(entry["n"], entry["hash"]), end
        end -= len(line)
    return START, 0


def _bytes_from(path: Path, place: int) -> bytes:
    with path.open("rb") as file:
        file.seek(place)
        return file.read()


def _lines_backwards(path: Path, end: int) -> Iterator[bytes]:
    """Yield the lines before `end`, the last one first, each with its newline if it has one."""
    with path.open("rb") as file:
        rest = b""
        while end > 0:
            begin = max(0, end - _BLOCK_BYTES)
            file.seek(begin)
            lines = (file.read(end - begin) + rest).splitlines(keepends=True)
            end = begin
            rest = lines.pop(0) if begin else b""  # its beginning may lie before
            yield from reversed(lines)
