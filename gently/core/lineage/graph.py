"""The graph of records and edges in the database: kept free of cycles, asked in both directions."""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from gently.core.lineage.database import Database
from gently.core.lineage.trace import Trace, outline
from gently.core.lineage.values import (
    LineageError,
    Record,
    UnknownRecordError,
    as_utc,
    check_kind,
    check_uid,
    encode,
)

# Without a depth every record is reached once; with one, once for each distance up to it.
ANCESTORS: Final = """WITH RECURSIVE reached (uid, depth) AS (
    SELECT parent, 1 - (:depth IS NULL) FROM edge WHERE child = :uid
    UNION SELECT edge.parent, depth + 1 - (:depth IS NULL)
    FROM edge JOIN reached ON edge.child = reached.uid WHERE :depth IS NULL OR depth < :depth
)"""
DESCENDANTS: Final = """WITH RECURSIVE reached (uid, depth) AS (
    SELECT child, 1 - (:depth IS NULL) FROM edge WHERE parent = :uid
    UNION SELECT edge.child, depth + 1 - (:depth IS NULL)
    FROM edge JOIN reached ON edge.parent = reached.uid WHERE :depth IS NULL OR depth < :depth
)"""

BY_UID: Final = "SELECT * FROM record WHERE uid = :uid"
BY_UID_OR_PATH: Final = (
    "SELECT * FROM record WHERE uid = :uid OR (path = :path AND deleted IS NULL)"
)
OF_KINDS: Final = (
    "SELECT * FROM record WHERE uid IN (SELECT uid FROM reached) "
    "AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds))) ORDER BY number"
)
PRESENT: Final = (
    "SELECT * FROM record WHERE (:kind IS NULL OR kind = :kind) AND deleted IS NULL "
    "AND (:uid IS NULL OR uid IN (SELECT uid FROM reached)) ORDER BY created DESC, number DESC"
)
ORIGIN: Final = "SELECT 1 FROM reached WHERE uid = :origin"
EDGES_INTO: Final = """SELECT parent, child
    FROM (SELECT uid FROM reached UNION SELECT :uid) JOIN edge ON child = uid"""


class Graph:
    """Records and edges; what changes them belongs into a transaction of the database.

    Paths within the database's own folder are stored relative to it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._folder = database.path.parent

    # Changes

    def put(
        self, kind: str, uid: str, metadata: Mapping[str, JsonValue], created: str | None = None
    ) -> None:
        """Add a record, or more metadata to the one that has this uid."""
        if not self.has(check_uid(uid)):
            self._database.rows(
                "INSERT INTO record (uid, kind, created, metadata) VALUES (?, ?, ?, ?)",
                (uid, check_kind(kind), as_utc(created), encode(uid, metadata)),
            )
            return
        known = self.record(uid)
        _check_same_kind(known, kind)
        if known.deleted is not None:
            raise LineageError(f"{known.tombstone}; give what comes now another uid")
        self._database.rows(
            "UPDATE record SET metadata = ? WHERE uid = ?",
            (encode(uid, {**known.metadata, **metadata}), uid),
        )

    def put_chain(self, chain: Iterable[tuple[str, str]]) -> str | None:
        """Have records of these (kind, uid), each the origin of the next; return the last uid.

        A deleted one may be among them: what came of it did so all the same.
        """
        last: str | None = None
        for kind, uid in chain:
            if self.has(uid):
                _check_same_kind(self.record(uid), kind)
            else:
                self.put(kind, uid, {})
            # An item may be told already to be of its session, by way of its prompt.
            if last is not None and not self._came_of(uid, last):
                self.link(uid, [last])
            last = uid
        return last

    def link(self, child: str, parents: Iterable[str]) -> None:
        """Add edges; refuse one that would close a cycle."""
        for parent in parents:
            self.record(parent)
            if parent == child or self._came_of(parent, child):
                raise LineageError(f"{parent} came of {child}, so it cannot be its origin")
            self._database.rows("INSERT OR IGNORE INTO edge VALUES (?, ?)", (parent, child))

    def keep_file(
        self, uid: str, path: Path, size: int, checksum: str | None, *, adopted: bool
    ) -> None:
        """Store where a record's file is and what it holds."""
        self._database.rows(
            "UPDATE record SET path = ?, bytes = ?, checksum = ?, adopted = ? WHERE uid = ?",
            (self._stored(path), size, checksum, adopted, uid),
        )

    def bury(self, uid: str, reason: str) -> None:
        """Make a record a tombstone, unless it is one."""
        self._database.rows(
            "UPDATE record SET deleted = ?, reason = ? WHERE uid = ? AND deleted IS NULL",
            (as_utc(None), reason, uid),
        )

    # Questions

    def has(self, uid: object) -> bool:
        """Whether there is, or was, a record of this uid."""
        return bool(self._database.rows("SELECT 1 FROM record WHERE uid = ?", (uid,)))

    def record(self, uid: str) -> Record:
        """Return the record of this uid, or raise `UnknownRecordError`."""
        found = self._records(BY_UID, uid=uid)
        if not found:
            raise UnknownRecordError(
                f"nothing is recorded under the uid {uid!r} in {self._database.path}"
            )
        return found[0]

    def claims(self, uid: str, path: Path) -> list[Record]:
        """Return the records that have this uid, or this path and are not deleted."""
        return self._records(BY_UID_OR_PATH, uid=uid, path=self._stored(path))

    def ancestors(
        self, uid: str, depth: int | None = None, kinds: Iterable[str] | None = None
    ) -> list[Record]:
        """Return what a record came of, in the order recorded."""
        return self._reached(ANCESTORS, uid, depth, kinds)

    def descendants(
        self, uid: str, depth: int | None = None, kinds: Iterable[str] | None = None
    ) -> list[Record]:
        """Return what came of a record, in the order recorded."""
        return self._reached(DESCENDANTS, uid, depth, kinds)

    def present(self, kind: str | None, origin: str | None) -> list[Record]:
        """Return what is not deleted, of a kind and an origin if they are given; newest first."""
        return self._records(f"{DESCENDANTS} {PRESENT}", kind=kind, uid=origin, depth=None)

    def trace(self, uid: str, depth: int | None = None) -> Trace:
        """Return the whole lineage of a record, from one state of the database."""
        with self._database.reading():
            above, below = self.ancestors(uid, depth), self.descendants(uid, depth)
            up = {record.uid for record in above}
            down = {uid, *(record.uid for record in below)}
            edges = [
                *(edge for edge in self._edges_into(ANCESTORS, uid, depth) if edge[0] in up),
                *(edge for edge in self._edges_into(DESCENDANTS, uid, depth) if edge[0] in down),
            ]
            return outline(uid, [*above, self.record(uid), *below], edges)

    def _edges_into(self, relation: str, uid: str, depth: int | None) -> list[tuple[str, str]]:
        rows = self._database.rows(f"{relation} {EDGES_INTO}", {"uid": uid, "depth": depth})
        return [(row["parent"], row["child"]) for row in rows]

    def _came_of(self, uid: str, origin: str) -> bool:
        given = {"uid": uid, "origin": origin, "depth": None}
        return bool(self._database.rows(f"{ANCESTORS} {ORIGIN}", given))

    def _reached(
        self, relation: str, uid: str, depth: int | None, kinds: Iterable[str] | None
    ) -> list[Record]:
        if depth is not None and depth < 1:
            raise ValueError(f"depth: {depth} reaches nothing; give 1 or more, or None for all")
        self.record(uid)
        wanted = None if kinds is None else json.dumps(sorted(kinds))
        return self._records(f"{relation} {OF_KINDS}", uid=uid, depth=depth, kinds=wanted)

    def _records(self, query: str, **values: str | int | None) -> list[Record]:
        return [self._decoded(row) for row in self._database.rows(query, values)]

    def _decoded(self, row: sqlite3.Row) -> Record:
        path = row["path"]
        return Record(
            uid=row["uid"],
            kind=row["kind"],
            created=row["created"],
            metadata=json.loads(row["metadata"]),
            path=None if path is None else self._folder / path,
            bytes=row["bytes"],
            checksum=row["checksum"],
            adopted=bool(row["adopted"]),
            deleted=row["deleted"],
            reason=row["reason"],
        )

    def _stored(self, path: Path) -> str:
        inside = path.is_relative_to(self._folder)
        return (path.relative_to(self._folder) if inside else path).as_posix()


def _check_same_kind(known: Record, kind: str) -> None:
    if known.kind != kind:
        raise LineageError(f"{known.uid} is recorded as a {known.kind}; it cannot be a {kind} too")
