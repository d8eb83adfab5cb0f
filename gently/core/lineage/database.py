"""The lineage's SQLite file: opened, brought to the present version, and written in turns.

Unlike an index of files, this one cannot be made again from the disk: it is never set aside
or emptied, and a version that is not known is refused.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gently.core.lineage.values import DataStoreError

LOCKED_S: Final = 30.0
"""How long to wait for another process's write, which takes milliseconds."""

FIRST: Final = """
CREATE TABLE record (
    number INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created TEXT NOT NULL,
    metadata TEXT NOT NULL,
    path TEXT UNIQUE
);
CREATE INDEX record_by_kind ON record (kind, created);
CREATE TABLE edge (
    parent TEXT NOT NULL REFERENCES record (uid),
    child TEXT NOT NULL REFERENCES record (uid),
    PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE INDEX edge_by_child ON edge (child)
"""
# A constraint of a column can only be dropped with its table; edges refer to the name.
FILES_AND_TOMBSTONES: Final = """
CREATE TABLE record_next (
    number INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created TEXT NOT NULL,
    metadata TEXT NOT NULL,
    path TEXT,
    bytes INTEGER,
    checksum TEXT,
    adopted INTEGER NOT NULL DEFAULT 0,
    deleted TEXT,
    reason TEXT NOT NULL DEFAULT ''
);
INSERT INTO record_next (number, uid, kind, created, metadata, path)
    SELECT number, uid, kind, created, metadata, path FROM record;
DROP TABLE record;
ALTER TABLE record_next RENAME TO record;
CREATE INDEX record_by_kind ON record (kind, created);
CREATE UNIQUE INDEX record_by_path ON record (path) WHERE deleted IS NULL
"""
MIGRATIONS: Final = (FIRST, FILES_AND_TOMBSTONES)
"""What leads from each version to the next; a new file is an empty one of version 0."""


class Database:
    """One connection, which threads take in turns; other processes have theirs.

    Parameters
    ----------
    path : Path
        The file, made if it is not there.

    Raises
    ------
    DataStoreError
        If it cannot be opened, is something else, or of a newer version of gently.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock = threading.RLock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=LOCKED_S, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise DataStoreError(
                f"{self.path} cannot be opened: {error}; is its folder there and writable?"
            ) from error
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._connection.close()

    def rows(self, query: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """Return what a query finds, or raise `DataStoreError`."""
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise DataStoreError(f"{self.path} cannot be used: {error}") from error

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Several questions to one state of the lineage."""
        with self._lock:
            self.rows("BEGIN")
            try:
                yield
            finally:
                self.rows("COMMIT")

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One write transaction: all of it is stored, or nothing."""
        with self._lock:
            # IMMEDIATE waits for another writer here; a later upgrade could only fail.
            self.rows("BEGIN IMMEDIATE")
            try:
                yield
                self.rows("COMMIT")
            except BaseException:
                # SQLite itself has rolled back after some errors, such as a full disk.
                if self._connection.in_transaction:
                    self.rows("ROLLBACK")
                raise

    def _prepare(self) -> None:
        try:
            self._version()  # before anything is written into somebody else's file
            self._connection.execute("PRAGMA journal_mode = WAL")
            with self.writing():
                self._migrate(self._version())
            # Last, since a table that others refer to is exchanged in a migration.
            self._connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.DatabaseError as error:
            raise DataStoreError(
                f"{self.path} cannot be used as a lineage index ({error}); "
                "move it away to begin a new one"
            ) from error

    def _version(self) -> int:
        """Return which of our versions the file has; 0 if it is empty."""
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise DataStoreError(
                f"{self.path} has version {version} and this gently knows up to "
                f"{len(MIGRATIONS)}: use the newer gently that wrote it"
            )
        if version == 0 and self._connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise DataStoreError(
                f"{self.path} is another program's database; move it away to begin a lineage index"
            )
        return int(version)

    def _migrate(self, version: int) -> None:
        if version == len(MIGRATIONS):
            return
        for migration in MIGRATIONS[version:]:
            for statement in migration.split(";"):
                self._connection.execute(statement)
        if broken := self._connection.execute("PRAGMA foreign_key_check").fetchall():
            raise DataStoreError(
                f"{self.path} has version {version} and {len(broken)} edges to no record, so it "
                "stays as it is; restore it from a backup, or move it away to begin a new one"
            )
        self._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
