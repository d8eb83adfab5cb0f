"""The answers to what plans ask by messages of their own (`plans.messages`)."""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

from bluesky import RunEngine
from bluesky.utils import Msg

from devices import Dose
from gently.core.dose import DoseLedger
from plans import Acquisition, TakenPoint
from storage import VolumeStore, new_uid

__all__ = ["Answers", "StoreAnswers", "answer_plans"]

_NAP_S: Final = 0.1


class Answers(Protocol):
    """What is known outside of the plan; from any thread."""

    def acquisition(self, uid: str) -> Acquisition:
        """Return an acquisition, and what there is of it."""

    def dose(self, embryo: str) -> Dose:
        """Return the light that an embryo was given in all."""


class StoreAnswers:
    """Answers from the store's index and the ledger of light; blocks for as long as these do.

    Parameters
    ----------
    store
        Of the volumes.
    ledger
        Of the light.
    """

    def __init__(self, store: VolumeStore, ledger: DoseLedger) -> None:
        self._store = store
        self._ledger = ledger

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
        return await asyncio.to_thread(answers.acquisition, uid or item_uid() or new_uid())

    async def dose(msg: Msg) -> Dose:
        return await asyncio.to_thread(answers.dose, *msg.args)

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

    for command in (acquisition, dose, clock, wait_until, begin_alike, end_alike):
        engine.register_command(command.__name__, command)


Waits = Callable[[float, float], Any]
