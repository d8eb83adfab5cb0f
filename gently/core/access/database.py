"""Who may do what, on disk: ``{storage}/access.sqlite``.

One process writes, guarded by the lock of the storage folder; what has been acknowledged is
synced to the disk. No key, token or lock key is in the file, but hashes of them with a salt.
"""

import os
import secrets
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from gently.core.access.errors import AccessStoreError

__all__ = ["AccessDatabase"]

_VERSION: Final = 1
_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE salt (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB NOT NULL);
CREATE TABLE key (
    key_id TEXT PRIMARY KEY, hash BLOB NOT NULL,
    name TEXT NOT NULL, kind TEXT NOT NULL, scope TEXT NOT NULL, note TEXT,
    made REAL NOT NULL, expires REAL, latest_activity REAL,
    parent TEXT REFERENCES key (key_id) ON DELETE CASCADE
);
CREATE TABLE session (
    session_uid TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES key (key_id) ON DELETE CASCADE,
    made REAL NOT NULL, expires REAL NOT NULL, revoked INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE token (
    token_id TEXT PRIMARY KEY, hash BLOB NOT NULL,
    session_uid TEXT NOT NULL REFERENCES session (session_uid) ON DELETE CASCADE,
    purpose TEXT NOT NULL, expires REAL NOT NULL
);
CREATE TABLE lease (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL);
CREATE TABLE lock (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL);
CREATE TABLE proposal (
    proposal_uid TEXT PRIMARY KEY, state TEXT NOT NULL, made REAL NOT NULL, body TEXT NOT NULL
);
CREATE INDEX proposal_by_state ON proposal (state, made);
PRAGMA user_version = 1;
COMMIT;
"""


class AccessDatabase:
    """Two connections, each of which threads take in turns: who reads waits for no disk.

    Parameters
    ----------
    path
        Of the file, made if it is not there.

    Raises
    ------
    AccessStoreError
        If it is none of ours, damaged, or of a later version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing, self._reading = threading.RLock(), threading.Lock()
        with self._explained(), ExitStack() as undo:
            _make_private(path)
            self._db = undo.enter_context(closing(_connection(path)))
            self._prepare()
            self._reader = undo.enter_context(closing(_connection(path)))
            ((self._salt,),) = self._reader.execute("SELECT value FROM salt").fetchall()
            undo.pop_all()

    def close(self) -> None:
        """Close the file."""
        with self._writing, self._reading:
            self._reader.close()
            self._db.close()

    def hashed(self, secret: str) -> bytes:
        """Return what is kept of a secret.

        Secrets are drawn with more than 256 bits, or never kept: a slow hash would add nothing.
        """
        return blake2b(secret.encode(), key=self._salt, digest_size=32).digest()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what a query finds of what is on the disk; raises `AccessStoreError`."""
        with self._reading, self._explained():
            return self._reader.execute(query, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction: all of it is on the disk, or nothing; raises `AccessStoreError`."""
        with self._writing, self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def write(self, query: str, *values: Any) -> None:
        """Carry out one statement, in the transaction if there is one."""
        with self._writing, self._explained():
            self._db.execute(query, values)

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        ((version,),) = self._db.execute("PRAGMA user_version").fetchall()
        if version > _VERSION:
            raise AccessStoreError(
                f"{self._path} was written by a later version of gently; use that one, or move "
                "the file away: keys, proposals and the lease are then gone"
            )
        if version < _VERSION:
            self._db.executescript(_SCHEMA)
        self._db.execute("INSERT OR IGNORE INTO salt VALUES (1, ?)", (secrets.token_bytes(32),))
        self._db.execute("PRAGMA foreign_keys = ON")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise AccessStoreError(
                f"the file of keys {self._path} cannot be used: {error}. Look for space on the "
                "disk and for the right to write; if it is damaged, move it away: keys, proposals "
                "and the lease are then gone, and the key of this machine is not."
            ) from error


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _make_private(path: Path) -> None:
    """Make the file readable by its owner only; SQLite's files beside it follow it in this."""
    with suppress(FileExistsError):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        os.close(os.open(path, flags, stat.S_IRUSR | stat.S_IWUSR))
