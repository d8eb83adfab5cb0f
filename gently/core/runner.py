"""The runner: the one thread that runs plans on the one RunEngine.

Plans, device methods and document callbacks run on the RunEngine's own loop; the runner's
thread only waits for it. Orders (pause, resume, abort, stop, halt) reach it through a
mailbox and never make their sender wait.
"""

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

from bluesky import RunEngine
from bluesky.run_engine import DuringTask
from bluesky.utils import FailedStatus, RunEngineInterrupted, TransitionError

from gently.core.catalogue import BoundPlan
from gently.core.errors import WrongStateError
from gently.core.events import EventLog
from gently.core.lifecycle import Step
from gently.core.queue import Item, PlanQueue, Result
from gently.core.runs import RunList

__all__ = ["Order", "Runner"]

LOGGER = logging.getLogger(__name__)


class Order(StrEnum):
    """What can be asked of the plan that runs."""

    PAUSE = "pause"
    PAUSE_DEFERRED = "pause at the next checkpoint"
    RESUME = "resume"
    ABORT = "abort"
    STOP = "stop"
    HALT = "halt"


_ENDINGS = {Order.ABORT: Step.ABORT, Order.STOP: Step.STOP, Order.HALT: Step.HALT}
_NO_CHECKPOINT = "it was paused where it has no checkpoint to resume from"
_RETRY_S = 0.005
_PAUSES = frozenset({Order.PAUSE, Order.PAUSE_DEFERRED})


class Runner:
    """Runs the queue's items, one at a time, from its own thread.

    Parameters
    ----------
    queue
        Where the items come from, and where it says what became of them.
    prepare
        Validates an item once more and preflights it; raises what would be refused.
    events
        Where documents and progress go.
    metadata
        What goes into the start document of every run, besides the item's own.
    """

    def __init__(
        self,
        queue: PlanQueue,
        prepare: Callable[[Item], BoundPlan],
        events: EventLog,
        metadata: Callable[[Item], dict[str, Any]],
    ) -> None:
        self._queue = queue
        self._prepare = prepare
        self._events = events
        self._metadata = metadata
        self._engine = RunEngine(
            {}, context_managers=[], during_task=DuringTask(), call_returns_result=True
        )
        self._put_away: dict[Order, Callable[[], Any]] = {
            Order.ABORT: lambda: self._engine.abort(self._reason),
            Order.STOP: self._engine.stop,
            Order.HALT: self._engine.halt,
        }
        self._interruptions: dict[Order, Callable[[], Any]] = {
            Order.PAUSE: lambda: self._engine.request_pause(defer=False),
            Order.PAUSE_DEFERRED: lambda: self._engine.request_pause(defer=True),
            **self._put_away,
        }
        self._engine.waiting_hook = self._watch
        self._engine.subscribe(self._take_document)
        self.runs = RunList()
        self._item: Item | None = None
        self._ending: Order | None = None
        self._reason = ""
        self._pause_pending = False
        self._progress: dict[str, Any] | None = None
        self._orders = threading.Condition()
        self._order: Order | None = None
        self._thread = threading.Thread(target=self._run, name="runner")
        self._thread.start()

    @property
    def state(self) -> str:
        """The RunEngine's state, in its own words."""
        return str(self._engine.state)

    @property
    def item(self) -> Item | None:
        """The item whose plan runs, as it was when it was started."""
        return self._item

    @property
    def pause_pending(self) -> bool:
        """Whether a pause was asked for that has not come yet."""
        return self._pause_pending

    @property
    def progress(self) -> dict[str, Any] | None:
        """How far the present step has come; None if it does not tell."""
        return self._progress

    def order(self, order: Order, reason: str = "") -> None:
        """Ask something of the running plan; returns at once.

        Raises
        ------
        WrongStateError
            If it makes no sense now; says what the state is.
        """
        paused = self.state == "paused"
        if order in _PAUSES and (self._item is None or paused):
            raise WrongStateError(f"Nothing runs that could be paused (it is {self.state}).")
        if order is Order.RESUME and not paused:
            raise WrongStateError(f"Nothing is paused that could be resumed (it is {self.state}).")
        if order in _ENDINGS:
            if self._item is None:
                raise WrongStateError(f"Nothing runs that could be ended (it is {self.state}).")
            self._ending, self._reason = order, reason
        self._pause_pending = order in _PAUSES
        if paused:
            with self._orders:
                self._order = order
                self._orders.notify_all()
        else:
            # The RunEngine answers on its loop, which a device may be holding up.
            threading.Thread(
                target=self._interrupt, args=(order,), name=str(order), daemon=True
            ).start()

    def close(self, timeout_s: float) -> bool:
        """End the thread; abort a plan that runs. False if the plan did not end in time."""
        self._queue.close()
        try:
            self.order(Order.ABORT, "the device layer is shutting down")
        except WrongStateError:
            LOGGER.debug("nothing to abort")
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            return False
        _end(self._engine.loop)
        return True

    # ------------------------------------------------------------------ the runner's thread

    def _run(self) -> None:
        while (item := self._queue.take()) is not None:
            self._item = item
            step, result = self._carry_out(item)
            # Forgotten first: an order that comes now must not hit the next item.
            self._item = self._ending = self._progress = None
            self._pause_pending, self._reason = False, ""
            self._queue.end(step, result)

    def _carry_out(self, item: Item) -> tuple[Step, Result]:
        self.runs.begin()
        try:
            step, value = self._until_ended(self._prepare(item), item)
        except Exception as error:  # noqa: BLE001 - the top of a thread: a plan may raise anything
            if self._ending:  # the stop broke the plan before the RunEngine could end it
                return _ENDINGS[self._ending], self._result(
                    item, _ENDINGS[self._ending], self._reason
                )
            LOGGER.warning("%s failed: %s", item.name, error)
            return Step.FAIL, self._result(item, Step.FAIL, _cause(error), error)
        msg = "" if step is Step.COMPLETE else self._reason or _NO_CHECKPOINT
        return step, self._result(item, step, msg, value=value)

    def _until_ended(self, plan: BoundPlan, item: Item) -> tuple[Step, Any]:
        """Run the plan, stay with it while it is paused, and say how it has ended."""
        if self._ending:
            return _ENDINGS[self._ending], None
        metadata = self._metadata(item)
        go: Callable[[], Any] = lambda: self._engine(plan.generate(), **metadata)  # noqa: E731
        while True:
            try:
                return Step.COMPLETE, go().plan_result
            except RunEngineInterrupted:
                if self.state != "paused":
                    return (_ENDINGS[self._ending] if self._ending else Step.ABORT), None
            self._pause_pending = False
            self._queue.step(Step.PAUSE)
            order = self._next_order()
            if order is not Order.RESUME:
                self._put_away[order]()
                return _ENDINGS[order], None
            self._queue.step(Step.RESUME)
            go = self._engine.resume

    def _next_order(self) -> Order:
        with self._orders:
            self._orders.wait_for(lambda: self._order is not None)
            order, self._order = self._order, None
        assert order is not None  # noqa: S101 - what the wait was for
        return order

    def _result(
        self,
        item: Item,
        step: Step,
        msg: str,
        error: Exception | None = None,
        value: Any = None,
    ) -> Result:
        runs, _ = self.runs.snapshot()
        return Result(
            exit_status=str(step),
            time_start=item.time_start or 0.0,
            time_stop=time.time(),
            run_uids=tuple(run.uid for run in runs),
            scan_ids=tuple(run.scan_id for run in runs),
            msg=msg,
            traceback="".join(traceback.format_exception(error)) if error else "",
            return_value=value,
        )

    # ------------------------------------------------------------------ other threads

    def _interrupt(self, order: Order) -> None:
        """Put an order to the RunEngine, as long as the plan it was meant for runs."""
        item = self._item
        while item is not None and self._item is item:
            try:
                self._interruptions[order]()
            except TransitionError:
                time.sleep(_RETRY_S)  # the plan is just beginning, or just at its end
            except Exception:
                LOGGER.exception("the RunEngine did not take the order to %s", order)
                return
            else:
                return

    def _take_document(self, name: str, document: dict[str, Any]) -> None:
        self.runs.take(name, document)
        item_uid = self._item.item_uid if self._item else None
        self._events.publish("document", item_uid=item_uid, name=name, doc=document)

    def _watch(self, statuses: Iterable[Any] | None) -> None:
        for status in statuses or ():
            if watch := getattr(status, "watch", None):
                watch(self._tell_progress)

    def _tell_progress(self, *, fraction: float | None = None, **progress: Any) -> None:
        self._progress = {
            "name": progress.get("name"),
            "current": progress.get("current"),
            "target": progress.get("target"),
            "unit": progress.get("unit"),
            "fraction": None if fraction is None else 1 - fraction,
            "seconds_left": progress.get("time_remaining"),
        }
        item_uid = self._item.item_uid if self._item else None
        self._events.publish("item.progress", item_uid=item_uid, **self._progress)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """End the RunEngine's loop, which otherwise lives as long as the process."""
    loop.call_soon_threadsafe(loop.stop)
    while loop.is_running():
        time.sleep(_RETRY_S)
    loop.close()


def _cause(error: BaseException) -> str:
    """Return the sentence at the root: bluesky wraps what a device said in a FailedStatus."""
    while isinstance(error, FailedStatus) or error.__cause__ is not None:
        cause = error.args[0].exception() if isinstance(error, FailedStatus) else error.__cause__
        if cause is None:
            break
        error = cause
    return str(error) or type(error).__name__
