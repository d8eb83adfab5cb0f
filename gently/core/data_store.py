"""Where every piece of data came from: sessions, items, runs, volumes and what is made of them.

The `DataStore` keeps one directed graph in an SQLite file: a *record* is anything with a
uid (a session, an item, a run, a volume), an edge leads from what was there first to what
came of it. It knows files by reference and reads them only to check what it is told. It
has no part in acquiring, and never writes an image.
"""

import contextlib
import json
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import JsonValue

from gently.core.tiff_check import NotThatTiffError, check_tiff

__all__ = [
    "DataStore",
    "DataStoreError",
    "LineageError",
    "Record",
    "RegistrationError",
    "UnknownRecordError",
]

SCHEMA_VERSION: Final = 1
SCHEMA: Final = """
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
CREATE INDEX edge_by_child ON edge (child);
"""
LOCKED_S: Final = 30.0
"""How long to wait for another process's write, which takes milliseconds."""

ORIGINS: Final = (("session", "session_id"), ("item", "item_uid"), ("run", "run_uid"))
"""Kinds that a file comes from, first to last, and the metadata key that names each."""

FILE_UID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
RECORD_UID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:@+-]{0,127}", re.ASCII)

PARENTS: Final = "WITH reached (uid) AS (SELECT parent FROM edge WHERE child = ?)"
CHILDREN: Final = "WITH reached (uid) AS (SELECT child FROM edge WHERE parent = ?)"
ANCESTORS: Final = """WITH RECURSIVE reached (uid) AS (
    SELECT parent FROM edge WHERE child = ?
    UNION SELECT edge.parent FROM edge JOIN reached ON edge.child = reached.uid
)"""
DESCENDANTS: Final = """WITH RECURSIVE reached (uid) AS (
    SELECT child FROM edge WHERE parent = ?
    UNION SELECT edge.child FROM edge JOIN reached ON edge.parent = reached.uid
)"""
RECORDS: Final = "SELECT uid, kind, created, metadata, path FROM record"
REACHED: Final = f"{RECORDS} JOIN reached USING (uid)"


class DataStoreError(Exception):
    """Anything the data store refuses."""


class RegistrationError(DataStoreError):
    """A file that cannot be registered as what it is said to be."""


class UnknownRecordError(DataStoreError):
    """No record has that uid."""


class LineageError(DataStoreError):
    """A record or an edge that would contradict what is stored."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One node of the lineage.

    Attributes
    ----------
    uid : str
        Its name, unique among all kinds.
    kind : str
        "session", "item", "run", "volume", …
    created : str
        ISO time, UTC.
    metadata : mapping
        JSON values.
    path : Path or None
        Absolute path of its file, if it is one.
    """

    uid: str
    kind: str
    created: str
    metadata: Mapping[str, JsonValue]
    path: Path | None = None


class DataStore:
    """The lineage of all data of one storage folder.

    May be used from several threads (one connection, taken in turns) and by several
    processes at once (SQLite's write-ahead log). It is a context manager. Files within
    the index's own folder are stored relative to it, so that the folder may be moved.

    Parameters
    ----------
    path : Path
        The index, made if it is not there; by custom `{storage}/lineage.sqlite`.

    Raises
    ------
    DataStoreError
        If the file is no index, or one of a newer version of gently.
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
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index."""
        with self._lock:
            self._connection.close()

    # Writing

    def add(
        self,
        kind: str,
        uid: str,
        metadata: Mapping[str, JsonValue] | None = None,
        *,
        parents: Iterable[str] = (),
        created: str | None = None,
    ) -> Record:
        """Add a record, or more metadata and parents to the one that has this uid.

        Parameters
        ----------
        kind, uid
            What it is and its name.
        metadata : mapping, optional
            JSON values; known keys are replaced, others stay.
        parents : iterable of str
            Uids of the records that it came of; they must be there.
        created : str, optional
            ISO time with its zone; now, if not given. The first one told stays.

        Raises
        ------
        LineageError
            If the uid is malformed or names a record of another kind, or a parent
            descends from this record.
        UnknownRecordError
            If a parent is not there.
        """
        with self._writing():
            self._put(kind, uid, metadata or {}, created=created)
            self._link(uid, parents)
            return self.record(uid)

    def register_external_file(
        self, uid: str, path: Path, metadata: Mapping[str, JsonValue] | None = None
    ) -> Record:
        """Register a TIFF that another process wrote as the volume of this uid.

        Registering the same file under the same uid again is allowed and changes nothing
        but the metadata. The file is checked outside of any lock, never written or moved.

        Parameters
        ----------
        uid : str
            The volume's uid, 32 lower-case hex digits.
        path : Path
            The file.
        metadata : mapping, optional
            JSON values. `shape` and `dtype`, where given, must be the file's own.
            `session_id`, `item_uid` and `run_uid`, where given, become its ancestors:
            session → item → run → volume.

        Raises
        ------
        RegistrationError
            If the uid is malformed, the file missing, not a whole TIFF or not as the
            metadata say, or either is registered with another.
        """
        if not FILE_UID.fullmatch(uid):
            raise RegistrationError(f"{uid!r} is no volume uid: give 32 lower-case hex digits")
        metadata = dict(metadata or {})
        path = path.resolve()
        try:
            check_tiff(path, metadata)
        except NotThatTiffError as error:
            raise RegistrationError(f"{uid} cannot be registered: {error}") from error
        with self._writing():
            self._check_unclaimed(uid, path)
            parent: tuple[str, ...] = ()
            for kind, key in ORIGINS:
                if origin := metadata.get(key):
                    self._put(kind, str(origin), {})
                    self._link(str(origin), parent)
                    parent = (str(origin),)
            created = metadata.get("created")
            self._put("volume", uid, metadata, created=None if created is None else str(created))
            self._link(uid, parent)
            self._connection.execute(
                "UPDATE record SET path = ? WHERE uid = ?", (self._stored(path), uid)
            )
            return self.record(uid)

    # Reading

    def __contains__(self, uid: object) -> bool:
        with self._lock:
            query = "SELECT 1 FROM record WHERE uid = ?"
            return self._connection.execute(query, (uid,)).fetchone() is not None

    def record(self, uid: str) -> Record:
        """Return the record of this uid, or raise `UnknownRecordError`."""
        found = self._records(f"{RECORDS} WHERE uid = ?", (uid,))
        if not found:
            raise UnknownRecordError(f"nothing is recorded under the uid {uid!r} in {self.path}")
        return found[0]

    def parents(self, uid: str) -> list[Record]:
        """Return what this record directly came of, in the order recorded."""
        return self._reached(PARENTS, uid)

    def children(self, uid: str) -> list[Record]:
        """Return what directly came of this record, in the order recorded."""
        return self._reached(CHILDREN, uid)

    def ancestors(self, uid: str) -> list[Record]:
        """Return all that this record came of, at any distance, in the order recorded."""
        return self._reached(ANCESTORS, uid)

    def descendants(self, uid: str) -> list[Record]:
        """Return all that came of this record, at any distance, in the order recorded."""
        return self._reached(DESCENDANTS, uid)

    def find(self, *, kind: str | None = None, session_id: str | None = None) -> list[Record]:
        """Return the records of a kind, or of a session (at any distance), newest first."""
        query, values = RECORDS, []
        if session_id is not None:
            query = f"{DESCENDANTS} {REACHED}"
            values.append(session_id)
        if kind is not None:
            query += " WHERE kind = ?"
            values.append(kind)
        return self._records(f"{query} ORDER BY created DESC, number DESC", values)

    # Beneath

    def _prepare(self) -> None:
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            with self._writing():
                (version,) = self._connection.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    self._check_empty()
                    for statement in SCHEMA.split(";"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        except sqlite3.DatabaseError as error:
            raise DataStoreError(
                f"{self.path} cannot be used as a lineage index ({error}); "
                "move it away to begin a new one"
            ) from error
        if version > SCHEMA_VERSION:
            raise DataStoreError(
                f"{self.path} has version {version} and this gently knows up to "
                f"{SCHEMA_VERSION}: use the newer gently that wrote it"
            )

    def _check_empty(self) -> None:
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables:
            raise DataStoreError(
                f"{self.path} is another program's database; move it away to begin a lineage index"
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One write transaction: all of it is stored, or nothing."""
        with self._lock:
            # IMMEDIATE waits for another writer here; a later upgrade could only fail.
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise DataStoreError(f"{self.path} cannot be written: {error}") from error
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _put(
        self, kind: str, uid: str, metadata: Mapping[str, JsonValue], created: str | None = None
    ) -> None:
        if not RECORD_UID.fullmatch(uid):
            raise LineageError(
                f"{uid!r} is no uid: give 1 to 128 letters, digits or . _ : @ + - in ASCII"
            )
        if uid not in self:
            self._connection.execute(
                "INSERT INTO record (uid, kind, created, metadata) VALUES (?, ?, ?, ?)",
                (uid, kind, _utc(created), _encoded(uid, metadata)),
            )
            return
        known = self.record(uid)
        if known.kind != kind:
            raise LineageError(f"{uid} is recorded as a {known.kind}; it cannot be a {kind} too")
        self._connection.execute(
            "UPDATE record SET metadata = ? WHERE uid = ?",
            (_encoded(uid, {**known.metadata, **metadata}), uid),
        )

    def _link(self, child: str, parents: Iterable[str]) -> None:
        for parent in parents:
            self.record(parent)
            if parent == child or any(r.uid == parent for r in self.descendants(child)):
                raise LineageError(f"{parent} came of {child}, so it cannot be its origin")
            self._connection.execute("INSERT OR IGNORE INTO edge VALUES (?, ?)", (parent, child))

    def _check_unclaimed(self, uid: str, path: Path) -> None:
        claimed = self._records(f"{RECORDS} WHERE uid = ? OR path = ?", (uid, self._stored(path)))
        for record in claimed:
            if record.uid != uid:
                raise RegistrationError(f"{path} is registered already, as {record.uid}")
            if record.path not in (None, path):
                raise RegistrationError(
                    f"{uid} is registered already, as {record.path}; give {path} another uid"
                )

    def _reached(self, relation: str, uid: str) -> list[Record]:
        with self._lock:
            self.record(uid)
            return self._records(f"{relation} {REACHED} ORDER BY number", (uid,))

    def _records(self, query: str, values: Sequence[str]) -> list[Record]:
        with self._lock:
            rows = self._connection.execute(query, values).fetchall()
        return [self._decoded(*row) for row in rows]

    def _decoded(
        self, uid: str, kind: str, created: str, metadata: str, path: str | None
    ) -> Record:
        return Record(
            uid=uid,
            kind=kind,
            created=created,
            metadata=json.loads(metadata),
            path=None if path is None else self.path.parent / path,
        )

    def _stored(self, path: Path) -> str:
        folder = self.path.parent
        return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _encoded(uid: str, metadata: Mapping[str, JsonValue]) -> str:
    try:
        return json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataStoreError(f"metadata of {uid} are no JSON: {error}") from error


def _utc(created: str | None) -> str:
    if created is None:
        return datetime.now(UTC).isoformat(timespec="microseconds")
    try:
        time = datetime.fromisoformat(created)
    except ValueError as error:
        raise DataStoreError(f"created: {created!r} is no ISO time") from error
    if time.tzinfo is None:
        raise DataStoreError(f"created: {created!r} has no time zone; append Z for UTC")
    return time.astimezone(UTC).isoformat(timespec="microseconds")
