"""What the store knows by heart: the records of all volumes, in ``{root}/index.sqlite``.

Made from the volumes' own files alone, so it may be deleted at any time. What is noted was true
then: inside of the writing transaction each file is looked at once more, so that two processes
that see a file come and go note the same in the end.

Tables
------
``file``
    Every name in the store's folders: ``path`` (below the root, with ``/``, so that a store may be
    moved), ``size`` and ``mtime_ns`` (`formats.mark`: by them a change is seen), ``reason`` (why it
    is no volume; NULL if it is one).
``volume``
    The names that are volumes: ``status`` (``complete``, ``incomplete``, or ``trashed``),
    ``created`` (µs since 1970, UTC), what people look for, ``record`` (all of it as JSON) and
    ``digest`` (XXH3 of the row, which finds the damage that SQLite does not see).
``tag``
    The tags of the volumes that have some.
``fill``
    ``generation`` (random, fresh for each empty index), and ``complete``: 1 once every file was
    looked at in this generation.
"""

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import xxhash
from pydantic import ValidationError

from storage import formats
from storage.database import Connection, DamagedError, DisposableDatabase
from storage.errors import StorageError
from storage.formats import Mark
from storage.values import VolumeRecord

T = TypeVar("T")
VOLUMES: Final = "volumes"
TRASH: Final = "trash"
_COMPLETE: Final = "complete"
_TRASHED: Final = "trashed"
_APPLICATION: Final = 0x67656E74  # "gent"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_SCHEMA: Final = (
    """CREATE TABLE file (
        path TEXT NOT NULL PRIMARY KEY,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        reason TEXT
    ) WITHOUT ROWID""",
    "CREATE INDEX file_broken ON file (path, reason) WHERE reason IS NOT NULL",
    """CREATE TABLE volume (
        path TEXT NOT NULL UNIQUE,
        uid TEXT NOT NULL,
        status TEXT NOT NULL,
        created INTEGER NOT NULL,
        session_id TEXT NOT NULL,
        item_uid TEXT NOT NULL,
        run_uid TEXT NOT NULL,
        plan_name TEXT NOT NULL,
        instrument TEXT NOT NULL,
        camera TEXT NOT NULL,
        embryo TEXT,
        acquisition_uid TEXT,
        shape TEXT NOT NULL,
        dtype TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        checksum TEXT NOT NULL,
        record TEXT NOT NULL,
        digest TEXT NOT NULL
    )""",
    "CREATE INDEX volume_by_uid ON volume (uid)",
    "CREATE INDEX volume_by_time ON volume (status, created, uid, bytes)",
    "CREATE INDEX volume_by_session ON volume (session_id, status, created, uid)",
    "CREATE INDEX volume_by_plan ON volume (plan_name, status, created, uid)",
    """CREATE INDEX volume_by_embryo ON volume (embryo, status, created, uid)
        WHERE embryo IS NOT NULL""",
    """CREATE INDEX volume_by_acquisition ON volume (acquisition_uid, status, created, uid)
        WHERE acquisition_uid IS NOT NULL""",
    """CREATE TABLE tag (
        tag TEXT NOT NULL,
        status TEXT NOT NULL,
        created INTEGER NOT NULL,
        uid TEXT NOT NULL,
        path TEXT NOT NULL,
        PRIMARY KEY (tag, status, created, uid, path)
    ) WITHOUT ROWID""",
    "CREATE INDEX tag_of_volume ON tag (path)",
    "CREATE TABLE fill (generation INTEGER NOT NULL, complete INTEGER NOT NULL)",
    "INSERT INTO fill VALUES (random(), 0)",
)
_CONDITIONS: Final = {
    "status": "status = ?",
    "session": "session_id = ?",
    "embryo": "embryo = ?",
    "acquisition": "acquisition_uid = ?",
    "plan": "plan_name = ?",
    "tag": "tag = ?",
    "since": "created >= ?",
    "until": "created < ?",
}


class NotFilledError(StorageError):
    """The index is new and does not know every file yet: look at them all, then ask again."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is being made anew. Ask again in a moment.")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a name in the store's folders is: a volume, or the reason why it is none."""

    path: Path
    mark: Mark
    found: VolumeRecord | str


@dataclass(frozen=True, kw_only=True)
class StoreStats:
    """How much is in the store.

    Attributes
    ----------
    volumes, bytes
        The complete volumes, and the bytes of their pixels.
    incomplete
        How many volumes are there that are not.
    trashed, trashed_bytes
        The same of those in the trash.
    broken
        Names among the volumes that are none.
    sessions
        From which the volumes are.
    oldest, newest
        When the first and the last volume were begun, UTC; None in an empty store.
    """

    volumes: int
    bytes: int
    incomplete: int
    trashed: int
    trashed_bytes: int
    broken: int
    sessions: int
    oldest: datetime | None
    newest: datetime | None


class Index:
    """The records of all volumes below `root`, for any thread.

    Where `root` cannot be written to (an archive), or if that is asked for, a private index is kept
    in a temporary folder.
    All methods raise IndexUnavailableError where the index can be neither used nor made.
    """

    def __init__(self, root: Path, *, private: bool = False) -> None:
        self._root = root
        self.private: Final = private or not os.access(root, os.W_OK)
        folder = Path(tempfile.mkdtemp(prefix="gently-index-")) if self.private else root
        self._database = DisposableDatabase(folder / "index.sqlite", _APPLICATION, _SCHEMA)
        if self.private:
            weakref.finalize(self, _remove, folder, self._database)

    @property
    def path(self) -> Path:
        """The index file."""
        return self._database.path

    @property
    def closed(self) -> bool:
        """Whether it was closed, and so answers no more."""
        return self._database.closed

    def close(self) -> None:
        """End the writing thread and close the file. Idempotent."""
        self._database.close()

    # ------------------------------------------------------------------ writing

    def settle(self, entries: Sequence[Entry], gone: Iterable[Path] = ()) -> None:
        """Note what was found and what is gone, as far as it is still so.

        Waits while another process writes.
        """
        gone = tuple(gone)

        def change(connection: Connection) -> None:
            for path in gone:
                if _mark(path) is None:
                    _forget(connection, self.name(path))
            for entry in entries:
                _forget(connection, self.name(entry.path))
                if _mark(entry.path) == entry.mark:
                    self._insert(connection, entry)

        self._database.write(change)

    def clear(self) -> None:
        """Forget everything."""
        self._database.clear()

    def completed(self, generation: int) -> bool:
        """Note that every file was looked at; False if the index was emptied meanwhile."""
        sql = "UPDATE fill SET complete = 1 WHERE generation = ?"
        return self._database.write(lambda c: c.execute(sql, (generation,)).rowcount == 1)

    # ------------------------------------------------------------------ reading

    def get(self, path: Path) -> Entry | None:
        """Return what is known of this path, or None."""
        return self._database.read(lambda connection: self._get(connection, path))

    def query(
        self, conditions: Mapping[str, str | datetime | None], limit: int | None, after: str | None
    ) -> Sequence[VolumeRecord] | None:
        """Return volumes, newest first; None if no volume has the UID `after`.

        Parameters
        ----------
        conditions
            What to ask for, by the keys of ``_CONDITIONS``; None asks for nothing.
        after
            Return what comes after this volume.

        Raises
        ------
        NotFilledError
            Not all files are known yet.
        """
        asked = {key: value for key, value in conditions.items() if value is not None}
        clauses = [_CONDITIONS[key] for key in asked]
        values: list[object] = [_value(value) for value in asked.values()]

        def ask(connection: Connection) -> Sequence[VolumeRecord] | None:
            if after is not None:
                place = "SELECT created, uid FROM volume WHERE uid = ?"
                if (found := connection.execute(place, (after,)).fetchone()) is None:
                    return None
                clauses.append("(created, uid) < (?, ?)")
                values.extend(found)
            sql = (
                f"SELECT volume.*, size, mtime_ns FROM {_source(asked)} JOIN file USING (path) "  # noqa: S608
                f"WHERE {' AND '.join(clauses)} ORDER BY created DESC, uid DESC LIMIT ?"
            )
            rows = connection.execute(sql, (*values, -1 if limit is None else limit))
            return [self._record(row[:-2], row[-2:]) for row in rows]

        return self._read_filled(ask)

    def broken(self) -> Sequence[tuple[Path, str]]:
        """Return the names among the volumes that are none, and why; raises NotFilledError."""
        rows = self._read_filled(lambda connection: connection.execute(_BROKEN).fetchall())
        return [(self._root / path, reason) for path, reason in rows]

    def stats(self) -> StoreStats:
        """Return how much is in the store; raises NotFilledError."""
        return self._read_filled(_stats)

    def marks(self) -> tuple[int, dict[str, Mark | None]]:
        """Return the generation, and each file's mark by its name; None where it is no volume."""

        def ask(connection: Connection) -> tuple[int, dict[str, Mark | None]]:
            generation, _ = _fill(connection)
            rows = connection.execute("SELECT path, size, mtime_ns, reason IS NULL FROM file")
            return generation, {name: (size, ns) if good else None for name, size, ns, good in rows}

        return self._database.read(ask)

    def name(self, path: Path) -> str:
        """Return how the index calls a path below the root; what is no text is escaped."""
        return _printable(path.relative_to(self._root).as_posix())

    # ------------------------------------------------------------------ rows

    def _read_filled(self, ask: Callable[[Connection], T]) -> T:
        def checked(connection: Connection) -> T:
            if not _fill(connection)[1]:
                raise NotFilledError(self.path)
            return ask(connection)

        return self._database.read(checked)

    def _insert(self, connection: Connection, entry: Entry) -> None:
        name, found = self.name(entry.path), entry.found
        reason = _printable(found) if isinstance(found, str) else None
        connection.execute("INSERT INTO file VALUES (?, ?, ?, ?)", (name, *entry.mark, reason))
        if isinstance(found, str):
            return
        row = _row(name, found)
        digest = _digest((*row, *entry.mark))
        places = ", ".join("?" * (len(row) + 1))
        connection.execute(f"INSERT INTO volume VALUES ({places})", (*row, digest))  # noqa: S608
        status, created = row[2:4]
        tags = [(tag, status, created, found.uid, name) for tag in found.spec.tags]
        connection.executemany("INSERT OR IGNORE INTO tag VALUES (?, ?, ?, ?, ?)", tags)

    def _get(self, connection: Connection, path: Path) -> Entry | None:
        name = self.name(path)
        file = connection.execute("SELECT size, mtime_ns, reason FROM file WHERE path = ?", (name,))
        if (known := file.fetchone()) is None:
            return None
        *size_time, reason = known
        mark = (size_time[0], size_time[1])
        if reason is not None:
            return Entry(path=path, mark=mark, found=reason)
        row = connection.execute("SELECT * FROM volume WHERE path = ?", (name,)).fetchone()
        return row and Entry(path=path, mark=mark, found=self._record(row, mark))

    def _record(self, row: tuple[Any, ...], mark: tuple[Any, ...]) -> VolumeRecord:
        *values, digest = row
        if _digest((*values, *mark)) != digest:
            raise DamagedError(f"the row of {values[0]} is not what was written")
        try:
            record = json.loads(values[-1])
            return VolumeRecord.model_validate(record | {"path": self._root / values[0]})
        except (ValidationError, ValueError) as error:
            raise DamagedError(f"the row of {values[0]} is of another version") from error


_BROKEN: Final = f"""SELECT path, reason FROM file
    WHERE reason IS NOT NULL AND path GLOB '{VOLUMES}/*' ORDER BY path"""  # noqa: S608


def _fill(connection: Connection) -> tuple[int, bool]:
    """Return the generation, and whether every file was looked at in it."""
    rows = connection.execute("SELECT generation, complete FROM fill").fetchall()
    match rows:
        case [(int(generation), 0 | 1 as complete)]:
            return generation, bool(complete)
    raise DamagedError(f"it says of itself {rows!r:.200}")


def _forget(connection: Connection, name: str) -> None:
    for table in ("tag", "volume", "file"):
        connection.execute(f"DELETE FROM {table} WHERE path = ?", (name,))  # noqa: S608


def _source(asked: Mapping[str, object]) -> str:
    """Return where the volumes come from: a tag's own table has them in the order of time."""
    return "tag JOIN volume USING (path, status, created, uid)" if "tag" in asked else "volume"


def _stats(connection: Connection) -> StoreStats:
    sums = "SELECT status, count(*), sum(bytes) FROM volume GROUP BY status"
    by_status = {status: (volumes, size) for status, volumes, size in connection.execute(sums)}
    volumes, size = by_status.get(_COMPLETE, (0, 0))
    trashed, trashed_size = by_status.get(_TRASHED, (0, 0))
    times = "SELECT min(created), max(created) FROM volume WHERE status = ?"
    oldest, newest = connection.execute(times, (_COMPLETE,)).fetchone()
    sessions = "SELECT count(DISTINCT session_id) FROM volume WHERE status = ?"
    return StoreStats(
        volumes=volumes,
        bytes=size,
        incomplete=by_status.get("incomplete", (0, 0))[0],
        trashed=trashed,
        trashed_bytes=trashed_size,
        broken=len(connection.execute(_BROKEN).fetchall()),
        sessions=connection.execute(sessions, (_COMPLETE,)).fetchone()[0],
        oldest=None if oldest is None else _EPOCH + oldest * _MICROSECOND,
        newest=None if newest is None else _EPOCH + newest * _MICROSECOND,
    )


def _row(name: str, record: VolumeRecord) -> tuple[object, ...]:
    """Return a volume's row but for its digest, in the order of the schema."""
    spec = record.spec
    return (
        name,
        spec.uid,
        _TRASHED if name.startswith(f"{TRASH}/") else record.status,
        _value(record.created),
        spec.session_id,
        spec.item_uid,
        spec.run_uid,
        spec.plan_name,
        spec.instrument,
        spec.camera,
        spec.embryo or None,
        spec.acquisition_uid or None,
        json.dumps(spec.shape),
        spec.dtype,
        spec.volume_bytes,
        record.checksum,
        record.model_dump_json(exclude={"path"}),
    )


def _value(value: str | datetime) -> str | int:
    """Return a value as the index keeps it."""
    return (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value


def _digest(values: Sequence[object]) -> str:
    return xxhash.xxh3_64_hexdigest("\0".join(map(str, values)).encode())


def _remove(folder: Path, database: DisposableDatabase) -> None:
    database.close()  # Windows removes no open file
    shutil.rmtree(folder, ignore_errors=True)


def _mark(path: Path) -> Mark | None:
    try:
        return formats.mark(path)
    except OSError:
        return None


def _printable(text: str) -> str:
    """Return `text` with what UTF-8 cannot say written out: names on a disk may be any bytes."""
    return text.encode(errors="backslashreplace").decode()
