"""The queue: which items wait, which one runs, what became of the others.

It keeps the order and the states; it runs nothing. Every method is safe from any thread
and returns at once. Whatever changes a part of it renews that part's uid, by which
Bluesky's clients know that they have to read again.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import uuid4

from gently.core.errors import ItemNotFoundError, WrongStateError
from gently.core.lifecycle import ItemState, Step, next_state

__all__ = ["Item", "Mode", "PlanQueue", "QueueSnapshot", "Result"]

Mode = Literal["idle", "one", "queue"]
"""What is being carried out: nothing, one item that was asked for directly, or the queue."""

Announce = Callable[[str, "Item"], None]

_HISTORY = 1_000
"""How many ended items are remembered; what they made is found by the volumes' own uids."""


@dataclass(frozen=True)
class Result:
    """What became of an item, in the words of Bluesky's queue server, and more."""

    exit_status: str
    time_start: float
    time_stop: float
    run_uids: tuple[str, ...] = ()
    scan_ids: tuple[int, ...] = ()
    msg: str = ""
    traceback: str = ""
    return_value: Any = None

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        return {
            "exit_status": self.exit_status,
            "run_uids": list(self.run_uids),
            "scan_ids": list(self.scan_ids),
            "time_start": self.time_start,
            "time_stop": self.time_stop,
            "msg": self.msg,
            "traceback": self.traceback,
            "return_value": self.return_value,
        }


@dataclass(frozen=True, kw_only=True)
class Item:
    """A request for a plan, and how far it has come."""

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    user: str = "operator"
    user_group: str = "primary"
    item_uid: str = field(default_factory=lambda: uuid4().hex)
    state: ItemState = ItemState.QUEUED
    time_start: float | None = None
    result: Result | None = None

    def message(self) -> dict[str, Any]:
        """Return it as Bluesky's queue server would send it."""
        found = self.request()
        if self.result is not None:
            found["result"] = self.result.message()
        return found

    def request(self) -> dict[str, Any]:
        """Return what was asked for, without what became of it."""
        found: dict[str, Any] = {
            "item_type": "plan",
            "name": self.name,
            "args": list(self.args),
            "kwargs": dict(self.kwargs),
            "meta": dict(self.meta),
            "user": self.user,
            "user_group": self.user_group,
            "item_uid": self.item_uid,
        }
        if self.time_start is not None:
            found["properties"] = {"time_start": self.time_start}
        return found


@dataclass(frozen=True)
class QueueSnapshot:
    """The queue at one moment."""

    waiting: tuple[Item, ...]
    running: Item | None
    history: tuple[Item, ...]
    mode: Mode
    stop_pending: bool
    plan_queue_uid: str
    plan_history_uid: str


class PlanQueue:
    """Items in order, one running at most, and the history.

    Parameters
    ----------
    announce
        Called with ``"item.queued"``, ``"item.started"`` … and the item, in the order in
        which things happen. It must not call the queue.
    """

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
        self._changed = threading.Condition()
        self._waiting: deque[Item] = deque()
        self._running: Item | None = None
        self._taken = True
        self._history: deque[Item] = deque(maxlen=_HISTORY)
        self._cancelled: deque[Item] = deque(maxlen=_HISTORY)
        self._mode: Mode = "idle"
        self._stop_pending = False
        self._closed = False
        self._queue_uid = self._history_uid = uuid4().hex

    def snapshot(self) -> QueueSnapshot:
        """Return everything as it is now."""
        with self._changed:
            return QueueSnapshot(
                tuple(self._waiting),
                self._running,
                tuple(self._history),
                self._mode,
                self._stop_pending,
                self._queue_uid,
                self._history_uid,
            )

    @property
    def running(self) -> Item | None:
        """The item that runs, from the moment that this was decided; None if none does."""
        with self._changed:
            return self._running

    def find(self, item_uid: str) -> Item:
        """Return an item, wherever it is."""
        with self._changed:
            running = [self._running] if self._running else []
            here = [*self._waiting, *running, *self._history, *self._cancelled]
        for item in here:
            if item.item_uid == item_uid:
                return item
        raise ItemNotFoundError(
            f"there is no item {item_uid!r}: it was never submitted here, or is older than the "
            f"last {_HISTORY} that have ended"
        )

    # ------------------------------------------------------------------ clients

    def add(self, item: Item, place: Callable[[list[str]], int]) -> int:
        """Put an item where `place` says, given the uids that wait; return how many wait."""
        with self._changed:
            self._waiting.insert(place([other.item_uid for other in self._waiting]), item)
            self._renew_queue()
            self._announce("item.queued", item)
            return len(self._waiting)

    def remove(self, item_uid: str) -> Item:
        """Take a waiting item out; it becomes cancelled."""
        with self._changed:
            for item in self._waiting:
                if item.item_uid == item_uid:
                    self._waiting.remove(item)
                    cancelled = _stepped(item, Step.CANCEL)
                    self._cancelled.append(cancelled)
                    self._renew_queue()
                    self._announce("item.cancelled", cancelled)
                    return cancelled
        raise ItemNotFoundError(f"no waiting item has the uid {item_uid!r}")

    def clear(self) -> None:
        """Take every waiting item out."""
        for item in self.snapshot().waiting:
            try:
                self.remove(item.item_uid)
            except ItemNotFoundError:
                continue  # it has begun, or somebody else removed it

    def clear_history(self) -> None:
        """Forget what has ended."""
        with self._changed:
            self._history.clear()
            self._history_uid = uuid4().hex

    def execute(self, item: Item) -> int:
        """Run one item now, past the ones that wait, and stop after it.

        Raises
        ------
        WrongStateError
            If something is running.
        """
        with self._changed:
            self._refuse_unless_idle()
            self._mode = "one"
            self._announce("item.queued", item)
            self._begin(item)
            return len(self._waiting)

    def start(self) -> None:
        """Run the waiting items one after another.

        Raises
        ------
        WrongStateError
            If something is running, or nothing waits.
        """
        with self._changed:
            self._refuse_unless_idle()
            if not self._waiting:
                raise WrongStateError("The queue is empty: add an item first.")
            self._mode = "queue"
            self._begin(self._waiting.popleft())

    def request_stop(self, *, pending: bool) -> None:
        """Stop the queue after the item that runs, or take that back.

        Raises
        ------
        WrongStateError
            If the queue is not running.
        """
        with self._changed:
            if pending and self._mode == "idle":
                raise WrongStateError("The queue is not running, so there is nothing to stop.")
            self._stop_pending = pending

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
            return self._running

    def step(self, step: Step) -> None:
        """Say that the running item was paused or resumed."""
        with self._changed:
            self._running = _stepped(self._present(), step)
            self._renew_queue()
            self._announce(f"item.{step}", self._running)

    def end(self, step: Step, result: Result) -> None:
        """Say what became of the running item, and decide what is next."""
        with self._changed:
            ended = replace(_stepped(self._present(), step), result=result)
            self._running = None
            self._history.append(ended)
            self._history_uid = uuid4().hex
            self._announce(f"item.{step}", ended)
            goes_on = self._mode == "queue" and step is Step.COMPLETE and not self._stop_pending
            if goes_on and self._waiting and not self._closed:
                self._begin(self._waiting.popleft())
            else:
                self._mode = "idle"
                self._stop_pending = False
                self._renew_queue()
                self._changed.notify_all()

    def wait_until_ended(self, item_uid: str, timeout_s: float) -> bool:
        """Wait until this item does not run any more; False if it still does."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._running is None or self._running.item_uid != item_uid, timeout_s
            )

    def _begin(self, item: Item) -> None:
        """Let an item run.

        Decided where the item is chosen and not where the runner takes it: in between there
        would be a moment in which a stop finds nothing to stop.
        """
        self._running = replace(_stepped(item, Step.START), time_start=time.time())
        self._taken = False
        self._renew_queue()
        self._announce("item.started", self._running)
        self._changed.notify_all()

    def _present(self) -> Item:
        if self._running is None:
            raise WrongStateError("nothing is running")
        return self._running

    def _refuse_unless_idle(self) -> None:
        if self._closed:
            raise WrongStateError("The device layer is shutting down; nothing begins any more.")
        if self._running is not None:
            raise WrongStateError(
                f"The microscope is busy with {self._running.name}: wait for it, or stop it."
            )

    def _renew_queue(self) -> None:
        self._queue_uid = uuid4().hex


def _stepped(item: Item, step: Step) -> Item:
    return replace(item, state=next_state(item.state, step))
