"""The answers to what plans ask by messages of their own (`plans.messages`)."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, Protocol, TypeVar

from bluesky import RunEngine
from bluesky.utils import Msg

from devices import Dose
from gently.analysis import Metric
from gently.core.dose import DoseLedger
from gently.core.errors import GentlyError
from gently.detector_child import Outcome, Sharpest, Supervisor, SweepOrder
from plans import Acquisition, TakenPoint
from storage import VolumeStore, new_uid

__all__ = ["Answers", "SharpestFailedError", "StoreAnswers", "answer_plans"]

T = TypeVar("T")
_NAP_S: Final = 0.1
_SHARPEST_S: Final = 60.0


class SharpestFailedError(GentlyError):
    """The pictures of a sweep could not be looked at; says why."""


class Answers(Protocol):
    """What is known outside of the plan; from any thread."""

    def acquisition(self, uid: str) -> Acquisition:
        """Return an acquisition, and what there is of it."""

    def dose(self, embryo: str) -> Dose:
        """Return the light that an embryo was given in all."""

    def sharpest(self, uid: str, metric: Metric) -> Sharpest:
        """Return where the sharpest slice of a sweep lies; raises `SharpestFailedError`."""


class StoreAnswers:
    """Answers from the store's index and the ledger of light; blocks for as long as these do.

    Parameters
    ----------
    store
        Of the volumes.
    ledger
        Of the light.
    supervisor
        Of the process that looks at pixels.
    """

    def __init__(self, store: VolumeStore, ledger: DoseLedger, supervisor: Supervisor) -> None:
        self._store = store
        self._ledger = ledger
        self._supervisor = supervisor

    def acquisition(self, uid: str) -> Acquisition:
        """Return an acquisition, and the whole volumes that there are of it."""
        found = (record for record in self._store.query(acquisition=uid))
        return Acquisition(
            uid,
            tuple(
                TakenPoint(
                    record.spec.embryo,
                    record.spec.time_point,
                    record.spec.channel,
                    record.created.timestamp(),
                )
                for record in found
            ),
        )

    def dose(self, embryo: str) -> Dose:
        """Return the light that an embryo was given in all, by any plan of any session."""
        return self._ledger.total(embryo)

    def sharpest(self, uid: str, metric: Metric) -> Sharpest:
        """Have the sharpest slice of a sweep found, by the process that may die of it."""
        came: Future[Outcome] = Future()
        order = SweepOrder(uid=new_uid(), source_uid=uid, metric=metric)
        self._supervisor.submit(order.uid, _SHARPEST_S, lambda: order, came.set_result)
        outcome = came.result()
        if outcome.sharpest is None:
            raise SharpestFailedError(f"the focus of {uid} was not looked for: {outcome.error}")
        return outcome.sharpest


def answer_plans(
    engine: RunEngine, answers: Answers, item_uid: Callable[[], str | None], waits: "Waits"
) -> None:
    """Let a RunEngine answer what plans ask; nothing of it holds up its loop.

    Parameters
    ----------
    engine
        Which is to answer.
    answers
        What it asks in turn, on a thread of its own.
    item_uid
        Of the item that runs, whose acquisition is called by it if it is called by nothing else.
    waits
        Is told how far a wait has come: seconds gone, and of how many.
    """

    async def acquisition(msg: Msg) -> Acquisition:
        (uid,) = msg.args
        return await _in_a_thread(answers.acquisition, uid or item_uid() or new_uid())

    async def dose(msg: Msg) -> Dose:
        return await _in_a_thread(answers.dose, *msg.args)

    async def sharpest(msg: Msg) -> Sharpest:
        return await _in_a_thread(answers.sharpest, *msg.args)

    async def clock(_: Msg) -> float:
        return time.time()

    async def wait_until(msg: Msg) -> float | None:
        (end_s,) = msg.args
        began_s = time.time()
        while (left_s := end_s - time.time()) > 0:
            if engine.state != "running" or engine.deferred_pause_requested:
                return None
            waits(end_s - began_s - left_s, end_s - began_s)
            await asyncio.sleep(min(left_s, _NAP_S))
        return time.time()

    async def begin_alike(_: Msg) -> bool:
        return True

    async def end_alike(_: Msg) -> None: ...

    for command in (acquisition, dose, sharpest, clock, wait_until, begin_alike, end_alike):
        engine.register_command(command.__name__, command)


async def _in_a_thread(answer: Callable[..., T], *asked: Any) -> T:
    """Wait for an answer of a thread of its own, which ends with it."""
    found: Future[T] = Future()

    def ask() -> None:
        try:
            found.set_result(answer(*asked))
        except Exception as error:  # the top of a thread: the plan is told
            found.set_exception(error)

    threading.Thread(target=ask, name="answer", daemon=True).start()
    return await asyncio.wrap_future(found)


Waits = Callable[[float, float], Any]
