"""The runner: the one thread that runs plans on the one RunEngine.

Plans, device methods and document callbacks run on the RunEngine's own loop; the runner's
thread only waits for it. Orders (pause, resume, abort, stop, halt) never make their sender
wait, and reach the RunEngine in one way only: other threads ask it for a pause, upon which
the runner's thread, and no other, resumes the plan or ends it. An abort that meets the
RunEngine on its way into a pause would leave it in a state that it never leaves.
"""

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from typing import Any

from bluesky import RunEngine
from bluesky.run_engine import DuringTask
from bluesky.utils import FailedStatus, RunEngineInterrupted, TransitionError

from gently.core.catalogue import BoundPlan
from gently.core.errors import WrongStateError
from gently.core.events import EventLog
from gently.core.keeping import kept_text, kept_value
from gently.core.lifecycle import Step
from gently.core.operations import about_item
from gently.core.progress import Progress
from gently.core.queue import Item, PlanQueue, Result
from gently.core.runs import RunList
from storage import DocumentsLostError, DocumentWriter

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
_PAUSES = frozenset({Order.PAUSE, Order.PAUSE_DEFERRED})
_WHEN_PAUSED = frozenset({Order.RESUME, Order.STOP, Order.HALT})
_NOT_RESUMABLE = "it was paused where it cannot be resumed: past its last checkpoint, or at its end"
_RETRY_S = 0.005
_COURTESY_S = 0.001


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
    documents
        Keeps the documents; an item is not completed before they are on the disk.
    """

    def __init__(
        self,
        queue: PlanQueue,
        prepare: Callable[[Item], BoundPlan],
        events: EventLog,
        metadata: Callable[[Item], dict[str, Any]],
        documents: DocumentWriter,
    ) -> None:
        self._queue = queue
        self._prepare = prepare
        self._events = events
        self._metadata = metadata
        self._documents = documents
        self._engine = RunEngine(
            {}, context_managers=[], during_task=DuringTask(), call_returns_result=True
        )
        self._put_away: dict[Order, Callable[[], Any]] = {
            Order.ABORT: lambda: self._engine.abort(self._reason),
            Order.STOP: self._engine.stop,
            Order.HALT: self._engine.halt,
        }
        self._progress = Progress(events.publish, self._item_uid)
        self._engine.waiting_hook = self._progress.watch
        self._engine.msg_hook = self._progress.hear
        self._engine.subscribe(self._take_document)
        self.runs = RunList()
        self._orders = threading.Condition()
        self._wanted: Order | None = None  # a pause until it has come, an ending until the end
        self._reason = ""
        self._is_paused = False
        self._foreseen: list[str] = []
        # Set while the RunEngine has come back: nobody is to interrupt it then.
        self._is_back = threading.Event()
        self._interrupters: list[threading.Thread] = []
        # A daemon: a plan that a dead device holds up must not keep the process from its end.
        self._thread = threading.Thread(target=self._run, name="runner", daemon=True)
        self._thread.start()

    @property
    def state(self) -> str:
        """The RunEngine's state, in its own words; paused once it takes orders as such."""
        if self._is_paused:
            return "paused"
        state = str(self._engine.state)
        return "running" if state == "paused" else state

    @property
    def is_alive(self) -> bool:
        """Whether its thread is there to run plans."""
        return self._thread.is_alive()

    @property
    def item(self) -> Item | None:
        """The item that runs."""
        return self._queue.running

    @property
    def pause_pending(self) -> bool:
        """Whether a pause was asked for that has not come yet."""
        return self._wanted in _PAUSES

    @property
    def progress(self) -> dict[str, Any] | None:
        """How far the present step has come; None if it does not tell."""
        return self._progress.latest

    def order(self, order: Order, reason: str = "") -> None:
        """Ask something of the plan that runs; returns at once.

        A plan that is being ended can be ordered to abort once more, which changes nothing.

        Raises
        ------
        WrongStateError
            If it makes no sense now; says what the state is.
        """
        with self._orders:
            self._refuse_what_makes_no_sense(order)
            if self._wanted in _ENDINGS:
                return
            if order is Order.RESUME:
                self._queue.step(Step.RESUME)
                self._is_back = threading.Event()
            else:
                self._wanted, self._reason = order, reason
                self._interrupt()
            if order not in _PAUSES:
                self._is_paused = False
            self._orders.notify_all()

    def foresee(self, reason: str) -> None:
        """Say that devices will be stopped: a plan that breaks from now on was aborted.

        Waits for nothing. `unforesee` takes it back.
        """
        self._foreseen.append(reason)

    def unforesee(self, reason: str) -> None:
        """Take back a `foresee`."""
        self._foreseen.remove(reason)

    def _refuse_what_makes_no_sense(self, order: Order) -> None:
        if self.item is None:
            raise WrongStateError(f"Nothing runs that could be told to {order}.")
        if self._wanted in _ENDINGS and order is not Order.ABORT:
            raise WrongStateError(f"The plan is about to end: it was told to {self._wanted}.")
        if order in _PAUSES and self._is_paused:
            raise WrongStateError("The plan is paused already: resume it, or end it.")
        if order in _WHEN_PAUSED and not self._is_paused:
            raise WrongStateError(
                f"A plan can be told to {order} only while it is paused; it is {self.state}."
            )

    def close(self, timeout_s: float) -> bool:
        """End the thread; abort a plan that runs. False if the plan did not end in time.

        May be called again, to go on waiting.
        """
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
            # Whoever has asked for it is being answered: two threads that both have something to
            # reckon keep the interpreter from each other for longer than this.
            time.sleep(_COURTESY_S)
            with about_item(item.item_uid):  # what the RunEngine does on its loop is, too
                self._see_through(item)

    def _see_through(self, item: Item) -> None:
        step, result = self._documented(*self._carry_out(item))
        self._call_back_interrupters()
        with self._orders:  # at once, so that an order is for this item or for the next
            self._wanted = None
            self._progress.forget()
            self._reason, self._is_paused = "", False
            self._is_back = threading.Event()
            self._queue.end(step, result)

    def _carry_out(self, item: Item) -> tuple[Step, Result]:
        self.runs.begin()
        try:
            step, value = self._until_ended(self._prepare(item), item)
            value, problem = kept_value(value)
        except Exception as error:  # noqa: BLE001 - the top of a thread: a plan may raise anything
            if ending := self._ending():  # it broke the plan before the RunEngine could end it
                return _ENDINGS[ending], self._result(item, _ENDINGS[ending], self._reason)
            for reason in self._foreseen[:1]:  # a stop did, past the RunEngine
                return Step.ABORT, self._result(item, Step.ABORT, reason)
            LOGGER.warning("%s failed: %s", item.name, error)
            return Step.FAIL, self._result(item, Step.FAIL, _cause(error), error)
        msg = problem if step is Step.COMPLETE else self._reason or _NOT_RESUMABLE
        return step, self._result(item, step, msg, value=value)

    def _documented(self, step: Step, result: Result) -> tuple[Step, Result]:
        """Wait for the documents: an item whose runs cannot be retraced is not completed."""
        try:
            self._documents.flush()
        except DocumentsLostError as error:
            step = Step.FAIL if step is Step.COMPLETE else step
            msg = "; ".join(filter(None, (result.msg, str(error))))
            return step, replace(result, exit_status=str(step), msg=msg)
        return step, result

    def _until_ended(self, plan: BoundPlan, item: Item) -> tuple[Step, Any]:
        """Run the plan, stay with it while it is paused, and say how it has ended."""
        metadata = self._metadata(item)
        go: Callable[[], Any] = lambda: self._engine(plan.generate(), **metadata)  # noqa: E731
        while (ending := self._ending()) is None:
            try:
                return Step.COMPLETE, go().plan_result
            except RunEngineInterrupted:
                self._call_back_interrupters()
            if str(self._engine.state) != "paused":
                return _ENDINGS[self._ending() or Order.ABORT], None
            self._stay_until_ordered()
            go = self._engine.resume
        if str(self._engine.state) == "paused":
            self._put_away[ending]()
        return _ENDINGS[ending], None

    def _ending(self) -> Order | None:
        """Return how the plan was told to end, if it was."""
        return self._wanted if self._wanted in _ENDINGS else None

    def _stay_until_ordered(self) -> None:
        with self._orders:
            if self._wanted in _ENDINGS:
                return
            self._queue.step(Step.PAUSE)
            self._wanted, self._is_paused = None, True  # it is known to be by then
            self._orders.wait_for(lambda: not self._is_paused)

    def _call_back_interrupters(self) -> None:
        """Wait for the threads that interrupt: none of them must find the next plan instead."""
        with self._orders:
            self._is_back.set()
            interrupters, self._interrupters = self._interrupters, []
        for thread in interrupters:
            thread.join()

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
            msg=kept_text(msg),
            traceback=kept_text("".join(traceback.format_exception(error))) if error else "",
            return_value=value,
        )

    # ------------------------------------------------------------------ other threads

    def _interrupt(self) -> None:
        """Let a thread make the RunEngine come back, if it has not."""
        if self._is_back.is_set():
            return
        # The RunEngine answers on its loop, which a device may be holding up.
        thread = threading.Thread(
            target=self._bring_back,
            args=(self._wanted is Order.PAUSE_DEFERRED, self._is_back),
            name="interrupter",
            daemon=True,
        )
        self._interrupters.append(thread)
        thread.start()

    def _bring_back(self, defer: bool, is_back: threading.Event) -> None:  # noqa: FBT001
        while not is_back.is_set():
            try:
                self._engine.request_pause(defer=defer)
            except TransitionError:  # it is just beginning, just ending, or on its way
                is_back.wait(_RETRY_S)
            except Exception:
                LOGGER.exception("the RunEngine did not take the order to pause")
                return
            else:
                return

    def _take_document(self, name: str, document: dict[str, Any]) -> None:
        self.runs.take(name, document)
        self._documents(name, document)
        item_uid = self._item_uid()
        self._events.publish("document", item_uid=item_uid, name=name, doc=document)

    def _item_uid(self) -> str | None:
        item = self.item
        return item.item_uid if item else None


def _end(loop: asyncio.AbstractEventLoop) -> None:
    """End the RunEngine's loop, which otherwise lives as long as the process."""
    if loop.is_closed():
        return
    loop.call_soon_threadsafe(loop.stop)
    while loop.is_running():
        time.sleep(_RETRY_S)
    loop.close()


def _cause(error: BaseException) -> str:
    """Return the sentence of what went wrong: bluesky wraps what a device said in a FailedStatus.

    Not the sentence at the root: a device that names an error of the system as its cause says
    more than the system does.
    """
    while isinstance(error, FailedStatus) and (said := error.args[0].exception()) is not None:
        error = said
    return str(error) or type(error).__name__
