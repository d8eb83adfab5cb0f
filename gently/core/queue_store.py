"""The queue on disk: ``{storage}/queue.sqlite``, written before anything is acknowledged.

One process writes, guarded by the lock of the storage folder; one transaction per change. What
is in memory alone is lost with the process, and so there is nothing of which a client has been
told. Against a power cut the file is synced, at once and for whom nobody waits: a disk that is
busy with frames takes its time for that.

Tables
------
``item``
    Every item: ``state``; ``place`` (among those that wait, ascending; NULL elsewhere);
    ``ended`` (its number in the history; NULL elsewhere); ``key`` (of the request that asked
    for it, if there was one); ``text`` (what a search looks at); ``body`` (all of it, JSON).
``spent_key``
    The keys of items that are not kept any more, with what was asked for (``body``): a request
    that comes late once more must not be carried out again.
``setting``
    How the queue runs: one row, JSON.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from gently.core.encoding import encoded
from gently.core.errors import GentlyError
from gently.core.items import Item, Leftovers, Result
from gently.core.lifecycle import ItemState
from gently.core.operations import BatchWriter
from gently.core.transitions import KEPT, QueueMode, QueueState

__all__ = ["QueueStore", "QueueStoreError", "key_in_batch"]

_VERSION: Final = 2
_SYNC_S: Final = 5.0
_SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS item (
    item_uid TEXT PRIMARY KEY, state TEXT NOT NULL, place REAL, ended INTEGER,
    key TEXT UNIQUE, text TEXT NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS item_place ON item (place) WHERE place IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS item_ended ON item (ended) WHERE ended IS NOT NULL;
CREATE INDEX IF NOT EXISTS item_running ON item (state) WHERE state IN ('running', 'paused');
CREATE TABLE IF NOT EXISTS spent_key (key TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS setting (id INTEGER PRIMARY KEY CHECK (id = 1), body TEXT NOT NULL);
PRAGMA user_version = 2;
COMMIT;
"""
_PUT: Final = """
INSERT INTO item (item_uid, state, place, ended, key, text, body) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (item_uid) DO UPDATE SET
    state = excluded.state, place = excluded.place, ended = excluded.ended,
    text = excluded.text, body = excluded.body
"""


class QueueStoreError(GentlyError):
    """The queue's file cannot be read or written; says which and why."""


class QueueStore:
    """Keeps a `QueueState` across the end of the process, however it ends.

    Safe from any thread.

    Parameters
    ----------
    path
        Of the file, made if it is not there; None keeps everything in memory.

    Raises
    ------
    QueueStoreError
        If the file is none of ours, damaged, or of a later version.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._places: dict[str, float] = {}
        with self._explained():
            self._db = sqlite3.connect(
                path or ":memory:", isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise
            self._syncer = _Syncer(path) if path else None

    def close(self) -> None:
        """Sync and close the file."""
        if self._syncer is not None:
            self._syncer.close()
        with self._lock:
            self._db.close()

    def load(self) -> QueueState:
        """Return the queue as it was when the last change was saved."""
        with self._lock, self._explained():
            waiting = self._db.execute(
                "SELECT place, body FROM item WHERE place IS NOT NULL ORDER BY place"
            ).fetchall()
            history = self._bodies("ended IS NOT NULL ORDER BY ended DESC LIMIT ?", KEPT)
            running = self._bodies("state IN ('running', 'paused')")
            (setting,) = self._db.execute("SELECT body FROM setting").fetchone() or ("{}",)
        items = tuple(_decoded(body) for _, body in waiting)
        self._places = {
            item.item_uid: place for item, (place, _) in zip(items, waiting, strict=True)
        }
        found = json.loads(setting)
        return QueueState(
            waiting=items,
            running=running[0] if running else None,
            history=tuple(reversed(history)),
            mode=found.get("mode", "idle"),
            autostart=found.get("autostart", False),
            plan_queue_mode=QueueMode(**found.get("plan_queue_mode", {})),
        )

    def save(self, before: QueueState, after: QueueState) -> None:
        """Write what has changed between what was saved last and now, all of it or nothing.

        Raises
        ------
        QueueStoreError
            If the disk refuses; the file is then as it was.
        """
        is_same_order = after.waiting is before.waiting  # most changes are about what runs
        places = self._places if is_same_order else _places(before, after, self._places)
        with self._lock, self._explained(), self._transaction():
            if not is_same_order:
                self._save_waiting(before, after, places)
            self._save_others(before, after)
            self._forget_history(before, after)
            if _setting(before) != _setting(after) or before == QueueState():
                self._db.execute("INSERT OR REPLACE INTO setting VALUES (1, ?)", (_setting(after),))
        self._places = places
        if self._syncer is not None:
            self._syncer.ask()

    def find(self, item_uid: str) -> Item | None:
        """Return an item, wherever it is, and however long ago it has ended."""
        with self._lock, self._explained():
            found = self._bodies("item_uid = ?", item_uid)
        return found[0] if found else None

    def with_key(self, key: str) -> list[Item]:
        """Return the items that the request with this key has made, in their order."""
        with self._lock, self._explained():
            rows = self._db.execute(
                "SELECT body FROM (SELECT key, body FROM item UNION ALL SELECT * FROM spent_key) "
                "WHERE key = ? OR key BETWEEN ? AND ? ORDER BY key",
                (key, *_batch(key)),
            )
            return [_decoded(body) for (body,) in rows]

    def history(
        self, *, limit: int, before: int | None = None, state: str | None = None, search: str = ""
    ) -> list[tuple[int, Item]]:
        """Return items that have ended and their numbers in the history, newest first.

        Parameters
        ----------
        limit
            How many at most.
        before
            Only those with a lower number: the last one of the page before.
        state
            Only those that ended so.
        search
            Only those in whose name, arguments, metadata, uid or message each of these words is.
        """
        conditions, values = ["ended IS NOT NULL"], list[Any]()
        if before is not None:
            conditions.append("ended < ?")
            values.append(before)
        if state is not None:
            conditions.append("state = ?")
            values.append(state)
        for word in search.casefold().split():
            conditions.append("instr(text, ?)")
            values.append(word)
        query = (
            f"SELECT ended, body FROM item WHERE {' AND '.join(conditions)} "  # noqa: S608
            "ORDER BY ended DESC LIMIT ?"
        )
        with self._lock, self._explained():
            rows = self._db.execute(query, (*values, limit)).fetchall()
        return [(number, _decoded(body)) for number, body in rows]

    # ------------------------------------------------------------------ within the lock

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise QueueStoreError(
                f"{self._path} was written by a later version of gently; use that one, or move "
                "the file away to begin with an empty queue"
            )
        if version < _VERSION:
            self._db.executescript(_SCHEMA)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise QueueStoreError(
                f"the queue's file {self._path} cannot be used: {error}. Look for space on the "
                "disk and for the right to write; if it is damaged, move it away, and the queue "
                "begins empty."
            ) from error

    def _bodies(self, condition: str, *values: Any) -> list[Item]:
        query = f"SELECT body FROM item WHERE {condition}"  # noqa: S608 - from this file alone
        return [_decoded(body) for (body,) in self._db.execute(query, values)]

    def _save_waiting(
        self, before: QueueState, after: QueueState, places: dict[str, float]
    ) -> None:
        moved = [
            (place, uid) for uid, place in places.items() if self._places.get(uid, place) != place
        ]
        self._db.executemany("UPDATE item SET place = ? WHERE item_uid = ?", moved)
        known = {id(item) for item in before.waiting}
        new = [item for item in after.waiting if id(item) not in known]
        for uid in frozenset(before.uids()) & {item.item_uid for item in new}:
            self._forget("item_uid = ?", uid)  # changed since: its key stands for what it was
        self._put(new, places)
        if left := frozenset(before.uids()) - frozenset(after.uids()):
            # What was replaced by another is gone; the others have begun, or were removed.
            left -= {item.item_uid for item in (*after.unfinished, *after.aside, *after.history)}
            for uid in left:
                self._forget("item_uid = ?", uid)

    def _save_others(self, before: QueueState, after: QueueState) -> None:
        if after.running is not None and after.running is not before.running:
            self._put([after.running])
        self._put(_new(before.aside, after.aside))
        if ended := _new(before.history, after.history):
            (last,) = self._db.execute("SELECT coalesce(max(ended), 0) FROM item").fetchone()
            for number, item in enumerate(ended, last + 1):
                self._put([item], ended=number)

    def _put(
        self,
        items: Sequence[Item],
        places: dict[str, float] | None = None,
        ended: int | None = None,
    ) -> None:
        self._db.executemany(
            _PUT,
            [
                (
                    item.item_uid,
                    str(item.state),
                    places[item.item_uid] if places else None,
                    ended,
                    item.key,
                    _text(item),
                    encoded(item).decode(),
                )
                for item in items
            ],
        )

    def _forget_history(self, before: QueueState, after: QueueState) -> None:
        """Delete what was cleared from the history; what has dropped out by its age stays."""
        if len(after.history) >= len(before.history) or _new(before.history, after.history):
            return
        first = after.history[0].item_uid if after.history else None
        self._forget(
            "ended IS NOT NULL AND "
            "(? IS NULL OR ended < (SELECT ended FROM item WHERE item_uid = ?))",
            *(first, first),
        )

    def _forget(self, condition: str, *values: Any) -> None:
        """Delete items, but for the keys that they came with."""
        rest = f"FROM item WHERE {condition}"
        spent = f"SELECT key, json_set(body, '$.result', NULL) {rest} AND key IS NOT NULL"
        self._db.execute(f"INSERT INTO spent_key {spent}", values)
        self._db.execute(f"DELETE {rest}", values)


class _Syncer:
    """Syncs the file behind those who write it, once for all that they have written meanwhile."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # Two: the one that is under way, and one more, for all that came too late for it.
        self._writer: BatchWriter[None] = BatchWriter("queue-sync", self._sync, most=2)

    def ask(self) -> None:
        """Have all synced that is written by now; waits for nothing."""
        self._writer.put(None)

    def close(self) -> None:
        """Sync what was asked for, unless the disk hangs."""
        if self._writer.close(_SYNC_S):
            self._db.close()

    def _sync(self, _: Sequence[None]) -> None:
        try:
            # Syncs the log, takes it over into the database, and syncs that; keeps nobody waiting.
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except sqlite3.Error as error:
            raise OSError(f"the queue's file is not synced: {error}") from error


def key_in_batch(key: str, number: int) -> str:
    """Return the key of one item of a batch, made of that of the request."""
    return f"{key}#{number:06}"


def _batch(key: str) -> tuple[str, str]:
    return key_in_batch(key, 0), key_in_batch(key, 999_999)


def _new(before: tuple[Item, ...], after: tuple[Item, ...]) -> list[Item]:
    """Return what was appended."""
    if not after or (before and before[-1] is after[-1]):
        return []
    known = {id(item) for item in before}
    return [item for item in after if id(item) not in known]


def _places(before: QueueState, after: QueueState, places: dict[str, float]) -> dict[str, float]:
    """Return by uid a number that rises along the queue, new only where the order has changed."""
    old, new = before.uids(), after.uids()
    if old == new:
        return places
    shorter = min(len(old), len(new))
    head = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    rest = shorter - head
    tail = next((at for at in range(rest) if old[-1 - at] != new[-1 - at]), rest)
    middle = new[head : len(new) - tail]
    low = places[new[head - 1]] if head else None
    high = places[new[len(new) - tail]] if tail else None
    if low is None:
        low = 0.0 if high is None else high - len(middle) - 1
    if high is None:
        high = low + len(middle) + 1
    step = (high - low) / (len(middle) + 1)
    found = {uid: places[uid] for uid in new[:head]}
    found |= {uid: low + step * (at + 1) for at, uid in enumerate(middle)}
    found |= {uid: places[uid] for uid in new[len(new) - tail :]}
    numbers = list(found.values())
    if any(right <= left for left, right in pairwise(numbers)):
        return {uid: float(at) for at, uid in enumerate(new)}  # no number is left in between
    return found


def _setting(state: QueueState) -> str:
    return json.dumps(
        {
            "mode": state.mode,
            "autostart": state.autostart,
            "plan_queue_mode": asdict(state.plan_queue_mode),
        }
    )


def _text(item: Item) -> str:
    found = {**item.request(), "msg": item.result.msg if item.result else ""}
    return encoded(found).decode().casefold()


def _decoded(body: str) -> Item:
    found = json.loads(body)
    result = found.pop("result")
    state, args = ItemState(found.pop("state")), tuple(found.pop("args"))
    return Item(**found, state=state, args=args, result=result and _result(result))


def _result(found: dict[str, Any]) -> Result:
    if (left := found.pop("leftovers", None)) is not None:
        left = Leftovers(**{name: tuple(uids) for name, uids in left.items()})
    run_uids, scan_ids = tuple(found.pop("run_uids")), tuple(found.pop("scan_ids"))
    return Result(**found, run_uids=run_uids, scan_ids=scan_ids, leftovers=left)
