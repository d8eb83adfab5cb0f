"""The queue: which items wait, which one runs, what became of the others.

It keeps the order and the states; it runs nothing. Every method is safe from any thread
and returns at once. Whatever changes a part of it renews that part's uid, by which
Bluesky's clients know that they have to read again.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from uuid import uuid4

from gently.core import transitions
from gently.core.aftermath import died_under
from gently.core.errors import ItemNotFoundError, WrongStateError
from gently.core.items import Item, Result
from gently.core.lifecycle import Step
from gently.core.queue_store import QueueStore, QueueStoreError, key_in_batch
from gently.core.transitions import Change, Place, QueueState

__all__ = ["AlreadySubmittedError", "Item", "PlanQueue", "QueueSnapshot", "Result"]

LOGGER = logging.getLogger(__name__)


class AlreadySubmittedError(WrongStateError):
    """The request was made before, with the same key; has the items that it made then."""

    def __init__(self, items: tuple[Item, ...]) -> None:
        super().__init__("This request was submitted before.")
        self.items = items


Announce = Callable[[str, Item], None]


@dataclass(frozen=True, kw_only=True)
class QueueSnapshot(QueueState):
    """The queue at one moment, with the uids of its parts."""

    plan_queue_uid: str
    plan_history_uid: str


class PlanQueue:
    """Items in order, one running at most, and the history.

    Parameters
    ----------
    announce
        Called with ``"item.queued"``, ``"item.started"`` … and the item, in the order in
        which things happen. It must not call the queue.
    store
        Where the queue is kept; nothing is announced or returned that is not there yet.
        None keeps it in memory.
    goes_on
        Whether a queue that ran when its process died goes on by itself; otherwise it waits.
    account
        Says what has become of an item whose process died under it.
    quota
        How many items one user may have that wait, run or are paused; None sets no bound.

    Raises
    ------
    QueueStoreError
        If the store cannot be read or written. A change that a client has asked for has then
        not happened; one that ends or stops something has, and is written with the next.
    """

    def __init__(
        self,
        announce: Announce,
        store: QueueStore | None = None,
        *,
        goes_on: bool = False,
        account: Callable[[Item], Result] = died_under,
        quota: int | None = None,
    ) -> None:
        self._announce = announce
        self._store = store or QueueStore()
        self._quota = quota
        self._changed = threading.Condition()
        self._state = self._saved = self._store.load()
        self._taken = True
        self._closed = False
        self._queue_uid = self._history_uid = uuid4().hex
        with self._changed:
            ran = self._state.running
            result = account(ran) if ran else None
            self._commit(transitions.wake(self._state, result, time.time(), goes_on=goes_on))

    def snapshot(self) -> QueueSnapshot:
        """Return everything as it is now."""
        with self._changed:
            return QueueSnapshot(
                **{part.name: getattr(self._state, part.name) for part in fields(QueueState)},
                plan_queue_uid=self._queue_uid,
                plan_history_uid=self._history_uid,
            )

    @property
    def running(self) -> Item | None:
        """The item that runs, from the moment that this was decided; None if none does."""
        return self._state.running

    def find(self, item_uid: str) -> Item:
        """Return an item, wherever it is."""
        state = self._state
        running = [state.running] if state.running else []
        for item in (*state.waiting, *running, *reversed(state.history), *state.aside):
            if item.item_uid == item_uid:
                return item
        if (found := self._store.find(item_uid)) is not None:
            return found
        raise ItemNotFoundError(
            f"there is no item {item_uid!r}: it was never submitted here, or was cleared from "
            "the history"
        )

    def search(self, **page: Any) -> list[tuple[int, Item]]:
        """Return a page of the whole history; see `QueueStore.history`."""
        return self._store.history(**page)

    # ------------------------------------------------------------------ clients

    def add(self, item: Item, place: Place) -> int:
        """Put an item where `place` says, given the uids that wait; return how many wait."""
        with self._changed:
            self._refuse_what_is_known([item], item.key)
            return self._submit(transitions.add(self._state, [item], place))

    def add_batch(self, items: Sequence[Item], place: Place, key: str | None = None) -> int:
        """Put items side by side where `place` says; return how many waited for a moment.

        ``key`` is the idempotency key of the request for all of them.
        """
        with self._changed:
            self._refuse_what_is_known(items, key)
            if key is not None:
                items = [
                    replace(item, key=key_in_batch(key, number))
                    for number, item in enumerate(items)
                ]
            return self._submit(transitions.add(self._state, items, place))

    def remove(self, item_uid: str) -> Item:
        """Take a waiting item out; it becomes cancelled."""
        return self.remove_batch([item_uid])[0]

    def remove_batch(self, uids: Sequence[str], *, ignore_missing: bool = False) -> list[Item]:
        """Take waiting items out, all or none; `ignore_missing` skips those that do not wait."""
        with self._changed:
            if ignore_missing:
                here = set(self._state.uids())
                uids = [uid for uid in dict.fromkeys(uids) if uid in here]
            change = transitions.remove(self._state, uids)
            self._commit(change)
            return [item for _, item in change.said]

    def update(self, item_uid: str, item: Item) -> int:
        """Put another item in the place of one that waits; return how many wait."""
        with self._changed:
            return self._submit(transitions.update(self._state, item_uid, item))

    def move(self, uids: Sequence[str], place: Place, *, reorder: bool = False) -> list[Item]:
        """Move waiting items, side by side, to where `place` says among the others.

        With `reorder` they keep their present order, otherwise they take that of `uids`.
        """
        with self._changed:
            indices = self._state.indices(uids)
            moved = [
                self._state.waiting[index] for index in (sorted(indices) if reorder else indices)
            ]
            self._commit(transitions.move(self._state, [item.item_uid for item in moved], place))
            return moved

    def clear(self) -> None:
        """Take every waiting item out."""
        with self._changed:
            self._commit(transitions.remove(self._state, self._state.uids()))

    def clear_history(
        self, keep: Callable[[tuple[Item, ...]], tuple[Item, ...]] = lambda _: ()
    ) -> None:
        """Forget what has ended, but for what `keep` returns of it."""
        with self._changed:
            self._commit(Change(replace(self._state, history=keep(self._state.history))))

    def set_mode(self, **changes: bool) -> None:
        """Set fields of the `QueueMode`; holds from the end of the present item on."""
        with self._changed:
            mode = replace(self._state.plan_queue_mode, **changes)
            self._commit(Change(replace(self._state, plan_queue_mode=mode)))

    def set_autostart(self, *, enabled: bool) -> None:
        """Let items begin by themselves whenever nothing runs, until something goes wrong."""
        with self._changed:
            self._commit(Change(replace(self._state, autostart=enabled)), is_asked=enabled)

    def execute(self, item: Item) -> int:
        """Run one item now, past the ones that wait, and stop after it.

        Raises
        ------
        WrongStateError
            If something is running.
        """
        with self._changed:
            self._refuse_what_is_known([item], item.key)
            self._refuse_if_closed()
            return self._submit(transitions.execute(self._state, item, time.time()))

    def start(self) -> None:
        """Run the waiting items one after another.

        Raises
        ------
        WrongStateError
            If something is running.
        """
        with self._changed:
            self._refuse_if_closed()
            self._commit(transitions.start(self._state, time.time()))

    def request_stop(self, *, pending: bool) -> None:
        """Stop the queue after the item that runs, or take that back.

        Raises
        ------
        WrongStateError
            If the queue is not running.
        """
        with self._changed:
            change = transitions.request_stop(self._state, pending=pending)
            self._commit(change, is_asked=False)

    def close(self) -> None:
        """Begin nothing more, and let `take` return None once there is nothing to take."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # ------------------------------------------------------------------ the runner

    def take(self) -> Item | None:
        """Wait for an item that has begun, to carry it out; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._taken)
            if self._taken:
                return None
            self._taken = True
            return self._state.running

    def step(self, step: Step) -> None:
        """Say that the running item was paused or resumed."""
        with self._changed:
            self._commit(transitions.step(self._state, step), is_asked=False)

    def end(self, step: Step, result: Result) -> None:
        """Say what became of the running item, and decide what is next."""
        with self._changed:
            state = replace(self._state, stop_pending=True) if self._closed else self._state
            self._commit(transitions.end(state, step, result, time.time()), is_asked=False)

    def wait_until_ended(self, item_uid: str, timeout_s: float) -> bool:
        """Wait until this item does not run any more; False if it still does."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.running is None or self.running.item_uid != item_uid, timeout_s
            )

    def _submit(self, change: Change) -> int:
        """Commit what a client asks for, if it may have that; return how many then waited."""
        if self._quota is not None:
            transitions.check_quota(self._state, change.state, self._quota)
        self._commit(change)
        return len(change.state.waiting)

    def _commit(self, change: Change, *, is_asked: bool = True) -> None:
        """Let a change become true, and say so; not, if it was asked for and cannot be kept."""
        if not self._closed:
            now = time.time()
            change = change.then(lambda state: transitions.settle(state, now))
        try:
            if change.state != self._saved:
                self._store.save(self._saved, change.state)
            self._saved = change.state
        except QueueStoreError:
            if is_asked:
                raise
            LOGGER.exception("what has just happened is not on disk yet")
        before, self._state = self._state, change.state
        now_running, ran = change.state.running, before.running
        if now_running and (ran is None or ran.item_uid != now_running.item_uid):
            self._taken = False
        if (before.waiting, ran) != (change.state.waiting, now_running):
            self._queue_uid = uuid4().hex
        if before.history != change.state.history:
            self._history_uid = uuid4().hex
        for kind, item in change.said:
            self._announce(kind, item)
        self._changed.notify_all()

    def _refuse_what_is_known(self, items: Sequence[Item], key: str | None) -> None:
        """Raise `AlreadySubmittedError` if this was asked for before, with the same key."""
        found = self._store.with_key(key) if key is not None else []
        if not found:
            return
        if len(found) != len(items) or not all(map(Item.asks_the_same, found, items)):
            raise WrongStateError(
                f"The idempotency key of {items[0].name if items else 'no item'} was used for "
                "another request before; take a new one for each."
            )
        raise AlreadySubmittedError(tuple(found))

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise WrongStateError("The device layer is shutting down; nothing begins any more.")
