"""Where every piece of data came from: prompts, items, runs, volumes and what is made of them.

The `DataStore` keeps one directed graph in an SQLite file: a *record* is anything with a
uid (a session, a prompt, an item, a run, a volume, a projection), an edge leads from what
was there first to what came of it. It knows files by reference, or by a copy that it keeps
if it is asked to, and reads them only to check what it is told. It has no part in acquiring,
and never writes an image of its own.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from pydantic import JsonValue

from gently.core.lineage import (
    SCHEME,
    Content,
    Database,
    DataStoreError,
    FileChangedError,
    FileGoneError,
    Graph,
    LineageError,
    Record,
    RegistrationError,
    Session,
    Step,
    Trace,
    UnknownRecordError,
    as_utc,
    copied,
    discard,
    examine,
    measure,
    publish,
    vouched,
)

__all__ = [
    "Custody",
    "DataStore",
    "DataStoreError",
    "FileChangedError",
    "FileGoneError",
    "LineageError",
    "Record",
    "RegistrationError",
    "Session",
    "Step",
    "Trace",
    "UnknownRecordError",
]

Custody = Literal["referenced", "adopted"]

ORIGINS: Final = (("session", "session_id"), ("item", "item_uid"), ("run", "run_uid"))
"""Kinds that a file comes from, first to last, and the metadata key that names each."""

FILE_UID: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)
LONG_SUFFIX: Final = re.compile(r"(\.ome)?\.[0-9A-Za-z]{1,16}$", re.ASCII | re.IGNORECASE)


class DataStore:
    """The lineage of all data of one storage folder.

    May be used from several threads (one connection, taken in turns) and by several
    processes at once (SQLite's write-ahead log). It is a context manager. Files within
    the lineage's own folder are stored relative to it, so that the folder may be moved.

    Parameters
    ----------
    path : Path
        The lineage, made if it is not there; by custom `{storage}/lineage.sqlite`. One of an
        older version is brought to the present one.

    Raises
    ------
    DataStoreError
        If the file is no lineage, or one of a newer version of gently.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path)
        self._graph = Graph(self._database)
        self.path = self._database.path
        self.external = self.path.parent / "external"

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
        """Close the lineage. Idempotent."""
        self._database.close()

    # Records

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
            Uids of the records that it came of; they must be there, or have been.
        created : str, optional
            ISO time with its zone; now, if not given. The first one told stays.

        Raises
        ------
        LineageError
            If the uid or kind is malformed, the uid names a record of another kind or a
            deleted one, or a parent descends from this record.
        UnknownRecordError
            If a parent is not there.
        """
        with self._database.writing():
            self._graph.put(kind, uid, metadata or {}, created)
            self._graph.link(uid, parents)
            return self.record(uid)

    def derive(
        self,
        uid: str,
        kind: str,
        parents: Iterable[str],
        path: Path | None = None,
        metadata: Mapping[str, JsonValue] | None = None,
        *,
        custody: Custody = "referenced",
    ) -> Record:
        """Add what was made of other records: a projection, a mask, a detection, a table.

        Parameters
        ----------
        uid, kind
            Its own name, and what it is. A file's uid is 32 lower-case hex digits.
        parents : iterable of str
            Uids of what it was made of: one at least.
        path : Path, optional
            Its file, if it is one; checked as `register_external_file` does.
        metadata : mapping, optional
            JSON values: with which parameters it was made, by what.
        custody : "referenced" or "adopted"
            Whether the file stays where it is or is copied into the storage folder.

        Raises
        ------
        DataStoreError
            As `add` and `register_external_file`.
        """
        parents = tuple(parents)
        if not parents:
            raise LineageError(f"{uid} has no parents: derived data is made of something")
        if path is not None:
            return self.register_external_file(
                uid, path, metadata, kind=kind, parents=parents, custody=custody
            )
        return self.add(kind, uid, metadata, parents=parents)

    def delete(self, uid: str, reason: str) -> Record:
        """Delete a record; a tombstone stays in its place, with all edges.

        A copy that was adopted is removed. A file that is only referenced is not touched.
        Its uid is never given again. Deleting again removes what could not be before.

        Raises
        ------
        UnknownRecordError
            If there is no such record.
        DataStoreError
            If the record is deleted but its copy cannot be removed.
        """
        with self._database.writing():
            self.record(uid)
            self._graph.bury(uid, reason)
            record = self.record(uid)
        if record.adopted and record.path is not None:
            try:
                discard(record.path)
            except OSError as error:
                raise DataStoreError(
                    f"{uid} is deleted but its copy {record.path} cannot be removed ({error}); "
                    "close what uses it and delete it again"
                ) from error
        return record

    # Sessions

    def begin_session(
        self, uid: str, *, title: str = "", who: str = "", begun: str | None = None
    ) -> Session:
        """Begin a session, or go on with the one that has this id.

        Parameters
        ----------
        uid : str
            Its id; what is acquired in it carries this as `session_id`.
        title, who : str
            What for, and whose; what is not given stays as it was.
        begun : str, optional
            ISO time with its zone; now, if not given. The first one told stays.
        """
        said: dict[str, JsonValue] = {"title": title, "who": who}
        said = {key: value for key, value in said.items() if value}
        return Session.of(self.add("session", uid, {**said, "ended": None}, created=begun))

    def end_session(self, uid: str) -> Session:
        """End a session; what runs on in its name still belongs to it.

        Raises
        ------
        UnknownRecordError
            If there is no such session.
        """
        with self._database.writing():
            record = self.record(uid)
            if record.kind != "session":
                raise LineageError(f"{uid} is a {record.kind} and no session")
            if record.metadata.get("ended") is None:
                self._graph.put("session", uid, {"ended": as_utc(None)})
            return Session.of(self.record(uid))

    def sessions(self) -> list[Session]:
        """Return all sessions, newest first; also those that only a file tells of."""
        return [Session.of(record) for record in self.find(kind="session")]

    # Files

    def register_external_file(
        self,
        uid: str,
        path: Path,
        metadata: Mapping[str, JsonValue] | None = None,
        *,
        kind: str = "volume",
        parents: Iterable[str] = (),
        custody: Custody = "referenced",
        checksum: str | None = None,
    ) -> Record:
        """Register a file or folder that another process wrote.

        Registering the same content under the same uid again is allowed and changes nothing
        but the metadata. The file is read outside of any lock, never written or moved.

        Parameters
        ----------
        uid : str
            Its uid, 32 lower-case hex digits.
        path : Path
            A TIFF, an OME-Zarr folder, a NPY, CSV, TSV or Parquet; anything else for
            kind="file".
        metadata : mapping, optional
            JSON values. `shape` and `dtype`, where given, must be the file's own.
            `session_id`, `item_uid` and `run_uid`, where given, become its ancestors:
            session → item → run → file.
        kind : str
            What it is; a volume has to be an image.
        parents : iterable of str
            Uids of other records that it came of; they must be there.
        custody : "referenced" or "adopted"
            Whether it stays where it is, or is copied to `{storage}/external/{uid}{suffix}`:
            whole and on the disk before it is registered, never in place of something else.
        checksum : str, optional
            Given by a store that has just checked a file of its own, and vouches for it with
            this: the file is then not read again.

        Raises
        ------
        RegistrationError
            If the uid is malformed, the file missing, not whole or not as its suffix and the
            metadata say, it has changed, or either is registered with another.
        LineageError, UnknownRecordError
            If its parents cannot be its parents.
        """
        if not FILE_UID.fullmatch(uid):
            raise RegistrationError(f"{uid!r} is no file's uid: give 32 lower-case hex digits")
        metadata, path = dict(metadata or {}), path.resolve()
        adopted = custody == "adopted"
        target = self.external / f"{uid}{_suffix(path)}" if adopted else path
        is_new = self._check_claim(uid, target) is None
        try:
            with (
                _looked_at(path, target, kind, metadata, checksum, is_new) as (source, content),
                self._database.writing(),
            ):
                known = self._check_claim(uid, target, content)
                origins = self._originate(metadata)
                self._graph.put(kind, uid, metadata, _created(metadata))
                self._graph.link(uid, [*origins, *parents])
                if source != path:
                    publish(source, target, content)
                self._graph.keep_file(
                    uid, target, content.bytes, _stronger(known, content), adopted=adopted
                )
                return self.record(uid)
        except OSError as error:
            raise RegistrationError(f"{uid} cannot be registered: {error}") from error

    def verify(self, uid: str) -> Record:
        """Read a record's file through and match it with its checksum.

        Raises
        ------
        FileGoneError
            If it is not where it was registered, or was deleted.
        FileChangedError
            If it holds something else than when it was registered.
        DataStoreError
            If it has no file or no checksum of the data store, or cannot be read.
        """
        record = self.record(uid)
        if record.path is None:
            raise DataStoreError(f"{uid} is a {record.kind} and has no file to be verified")
        if record.deleted is not None:
            raise FileGoneError(f"{record.tombstone}; {record.path} is not looked at any more")
        if record.missing:
            raise FileGoneError(
                f"{record.path}, which is {uid}, is gone: bring it back there, or delete the record"
            )
        if record.checksum is None or not record.checksum.startswith(SCHEME):
            raise DataStoreError(
                f"{uid} was registered with the checksum {record.checksum}, which is not over the "
                "file: verify it with the store that wrote it, or register it again for one"
            )
        try:
            content = measure(record.path)
        except OSError as error:
            raise DataStoreError(f"{record.path} cannot be read: {error}") from error
        if content.checksum != record.checksum:
            raise FileChangedError(
                f"{record.path}, which is {uid}, holds {content.checksum} ({content.bytes} bytes), "
                f"not {record.checksum} ({record.bytes} bytes) as when it was registered"
            )
        return record

    # Questions

    def __contains__(self, uid: object) -> bool:
        return self._graph.has(uid)

    def record(self, uid: str) -> Record:
        """Return the record of this uid, also a deleted one, or raise `UnknownRecordError`."""
        return self._graph.record(uid)

    def parents(self, uid: str) -> list[Record]:
        """Return what this record directly came of, in the order recorded."""
        return self.ancestors(uid, depth=1)

    def children(self, uid: str) -> list[Record]:
        """Return what directly came of this record, in the order recorded."""
        return self.descendants(uid, depth=1)

    def ancestors(
        self, uid: str, *, depth: int | None = None, kinds: Iterable[str] | None = None
    ) -> list[Record]:
        """Return all that this record came of, in the order recorded; deleted ones too.

        Parameters
        ----------
        uid : str
            The record; `UnknownRecordError` if there is none.
        depth : int, optional
            Within how many steps; any distance, if not given.
        kinds : iterable of str, optional
            Of which kinds; those of others between them are passed through.
        """
        return self._graph.ancestors(uid, depth, kinds)

    def descendants(
        self, uid: str, *, depth: int | None = None, kinds: Iterable[str] | None = None
    ) -> list[Record]:
        """Return all that came of this record; as `ancestors`."""
        return self._graph.descendants(uid, depth, kinds)

    def trace(self, uid: str, *, depth: int | None = None) -> Trace:
        """Return a record with all that it came of and all that came of it, as an outline."""
        return self._graph.trace(uid, depth)

    def find(self, *, kind: str | None = None, session_id: str | None = None) -> list[Record]:
        """Return the records of a kind, or of a session, newest first; no deleted ones."""
        return self._graph.present(kind, session_id)

    # Beneath

    def _originate(self, metadata: Mapping[str, JsonValue]) -> list[str]:
        """Record where a file says that it came from; return the last of it, if it says so."""
        told = ((kind, str(metadata.get(key) or "")) for kind, key in ORIGINS)
        last = self._graph.put_chain((kind, uid) for kind, uid in told if uid)
        return [] if last is None else [last]

    def _check_claim(self, uid: str, path: Path, content: Content | None = None) -> Record | None:
        """Refuse a uid or a path that belongs to another; return the record that has the file."""
        for record in self._graph.claims(uid, path):
            if record.uid != uid:
                raise RegistrationError(f"{path} is registered already, as {record.uid}")
            if record.deleted is not None:
                raise RegistrationError(f"{record.tombstone}; register {path} with another uid")
            if record.path is None:
                return None
            if record.path != path:
                raise RegistrationError(
                    f"{uid} is registered already, as {record.path}; give {path} another uid"
                )
            if content is not None and _contradicts(record, content):
                raise RegistrationError(
                    f"{uid} is registered already with the content {record.checksum}, and it is "
                    f"{content.checksum} now; register the new one with another uid"
                )
            return record
        return None


@contextmanager
def _looked_at(
    path: Path,
    target: Path,
    kind: str,
    metadata: Mapping[str, JsonValue],
    checksum: str | None,
    is_new: bool,  # noqa: FBT001
) -> Iterator[tuple[Path, Content]]:
    """Give what is to be registered and its content: the file, or a copy of it to be published.

    What is there already is not copied again; what its store vouches for is not read.
    """
    if checksum is not None:
        yield path, vouched(path, checksum)
    elif target == path or not is_new:
        examine(path, kind, metadata)
        yield path, measure(path)
    else:
        with copied(path, target) as (copy, content):
            examine(copy, kind, metadata)
            yield copy, content


def _suffix(path: Path) -> str:
    found = LONG_SUFFIX.search(path.name)
    return found.group() if found else ""


def _created(metadata: Mapping[str, JsonValue]) -> str | None:
    created = metadata.get("created")
    return None if created is None else str(created)


def _stronger(known: Record | None, content: Content) -> str:
    """Return the checksum to keep: one measured here is not replaced by another's word."""
    measured = content.checksum.startswith(SCHEME)
    return content.checksum if measured or known is None else known.checksum or content.checksum


def _contradicts(record: Record, content: Content) -> bool:
    """Whether two checksums of the same making differ; others cannot be compared."""
    known, found = record.checksum, content.checksum
    return known not in (None, found) and str(known).partition(":")[0] == found.partition(":")[0]
