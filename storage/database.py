"""An SQLite file that may be lost at any time: whatever is wrong with it, it is made anew, empty.

Any number of processes may use it at once (write-ahead log: not on a network share). In each, one
thread owns the one connection that writes; readers take theirs from a pool.
"""

import contextlib
import logging
import sqlite3
import weakref
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from filelock import FileLock

from storage.errors import IndexUnavailableError

T = TypeVar("T")
Connection = sqlite3.Connection
LOGGER = logging.getLogger(__name__)
_LOCKED_S: Final = 30.0
_TRIES: Final = 3
_WAL_FILES: Final = ("-wal", "-shm")
# Troubles of the moment or of the machine; all others mean that the file is not what was written.
_NOT_DAMAGE: Final = {
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}

_Identity = tuple[int, int]
_Pool = deque[tuple[Connection, _Identity]]


class DamagedError(sqlite3.DatabaseError):
    """The file is a database, but what it says is not what was written."""


class DisposableDatabase:
    """A database of our own making, for any thread; nothing is opened before its first use.

    A file that is damaged, of another schema or somebody else's is set aside (``….broken``) and
    made anew; one that another process deleted or exchanged is noticed at the next use.

    Parameters
    ----------
    application
        The number by which our files are known (SQLite's ``application_id``).
    schema
        The statements that make the empty database.
    """

    def __init__(self, path: Path, application: int, schema: Sequence[str]) -> None:
        self.path = path
        self._schema = tuple(schema)
        self._ours = (application, zlib.crc32("".join(schema).encode()) >> 1)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="index-writer")
        self._writing: _Pool = deque()
        self._reading: _Pool = deque()
        self._closing = weakref.finalize(self, _close, self._thread, self._writing, self._reading)

    def close(self) -> None:
        """End the thread and close the file. Idempotent."""
        self._closing()
        self._thread.shutdown()

    def write(self, change: Callable[[Connection], T]) -> T:
        """Run `change` in a transaction of the writing thread: all of it is stored, or nothing.

        Waits for other processes' transactions. `change` may be run again, on an empty database.

        Raises
        ------
        IndexUnavailableError
            The file cannot be written.
        """
        self._check_open()
        work = self._thread.submit(self._attempt, self._writing, "BEGIN IMMEDIATE", change)
        return work.result()

    def read(self, ask: Callable[[Connection], T]) -> T:
        """Run `ask` on one state of the database, on this thread, perhaps again on an empty one.

        Raises
        ------
        IndexUnavailableError
            The file cannot be read, or not be made.
        """
        self._check_open()
        return self._attempt(self._reading, "BEGIN", ask)

    def clear(self) -> None:
        """Make the database empty, for all its users at once."""
        self.write(self._clear)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return not self._closing.alive

    def _check_open(self) -> None:
        if self.closed:
            raise IndexUnavailableError(self.path, "its store was closed")

    def _attempt(self, pool: _Pool, begin: str, work: Callable[[Connection], T]) -> T:
        problem: Exception | None = None
        for _ in range(_TRIES):
            try:
                identity = self._identity() or self._make()
                try:
                    with _lent(pool, identity, self.path) as connection:
                        return self._transact(connection, begin, work)
                except sqlite3.DatabaseError as error:
                    problem = error
                    if not _is_damage(error):
                        break
                    self._set_aside(identity, error)
            except OSError as error:
                problem = error
                break
        raise IndexUnavailableError(self.path, problem) from problem

    def _transact(self, connection: Connection, begin: str, work: Callable[[Connection], T]) -> T:
        connection.execute(begin)
        try:
            self._check_ours(connection)
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return result

    def _check_ours(self, connection: Connection) -> None:
        pragmas = "SELECT * FROM pragma_application_id, pragma_user_version"
        if connection.execute(pragmas).fetchone() != self._ours:
            raise DamagedError("it is another program's, or another version's")

    def _identity(self) -> _Identity | None:
        """Return which file has the name now, or None; raises OSError."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino

    def _alone(self) -> FileLock:
        """Return the right to exchange the file."""
        return FileLock(self.path.with_suffix(".lock"))

    def _make(self) -> _Identity:
        """Make the file under another name first, so that nobody sees it half made."""
        with self._alone():
            if identity := self._identity():
                return identity
            new = self.path.with_name(f"{self.path.name}.new")
            _remove(new, *(f"{name}{end}" for name in (new, self.path) for end in _WAL_FILES))
            with contextlib.closing(sqlite3.connect(new, isolation_level=None)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                application, version = self._ours
                connection.execute("BEGIN")
                self._clear(connection)
                connection.execute(f"PRAGMA application_id = {application}")
                connection.execute(f"PRAGMA user_version = {version}")
                connection.execute("COMMIT")
            new.rename(self.path)
            status = self.path.stat()
            return status.st_dev, status.st_ino

    def _clear(self, connection: Connection) -> None:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
        for (name,) in connection.execute(tables).fetchall():
            connection.execute(f'DROP TABLE "{name}"')
        for statement in self._schema:
            connection.execute(statement)

    def _set_aside(self, identity: _Identity, problem: Exception) -> None:
        """Move this file out of the way, unless another process has."""
        with self._alone():
            if self._identity() != identity:
                return
            for pool in (self._reading, self._writing):
                _drop(pool)  # Windows moves no open file
            aside = self.path.with_name(f"{self.path.name}.broken")
            LOGGER.warning(
                "%s becomes %s and is made again: %s", self.path, aside.name, str(problem)
            )
            self.path.replace(aside)
            _remove(*(f"{self.path}{end}" for end in _WAL_FILES))


@contextlib.contextmanager
def _lent(pool: _Pool, identity: _Identity, path: Path) -> Iterator[Connection]:
    """Lend a connection to this very file; it is closed if the database fails it."""
    connection = _idle(pool, identity) or _connect(path)
    try:
        yield connection
    except sqlite3.Error:
        connection.close()
        raise
    except BaseException:
        pool.append((connection, identity))
        raise
    pool.append((connection, identity))


def _idle(pool: _Pool, identity: _Identity) -> Connection | None:
    """Take an idle connection to this file out of the pool; close those to others."""
    while True:
        try:
            connection, file = pool.pop()
        except IndexError:
            return None
        if file == identity:
            return connection
        connection.close()


def _connect(path: Path) -> Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",  # never makes a file
        uri=True,
        timeout=_LOCKED_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    if isinstance(error, sqlite3.ProgrammingError):
        return False
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF not in _NOT_DAMAGE


def _remove(*paths: Path | str) -> None:
    for path in paths:
        Path(path).unlink(missing_ok=True)


def _drop(pool: _Pool) -> None:
    while pool:
        with contextlib.suppress(IndexError):
            pool.pop()[0].close()


def _close(thread: ThreadPoolExecutor, *pools: _Pool) -> None:
    thread.shutdown(wait=False)
    for pool in pools:
        _drop(pool)
