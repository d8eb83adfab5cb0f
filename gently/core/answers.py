"""The answers to what plans ask by messages of their own (`plans.messages`)."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Final, Protocol, TypeVar

from bluesky import RunEngine
from bluesky.utils import Msg

from devices import Dose, LightSheet, ViewName
from gently.analysis import Measure
from gently.core.calibrations import Calibrations
from gently.core.detections import Detections
from gently.core.dose import DoseLedger
from gently.detector_child import Look, Sharpest
from plans import Acquisition, Seen, TakenPoint
from storage import VolumeStore, new_uid

__all__ = ["Answers", "StoreAnswers", "answer_plans"]

T = TypeVar("T")
_NAP_S: Final = 0.1


class Answers(Protocol):
    """What is known outside of the plan; from any thread."""

    def acquisition(self, uid: str) -> Acquisition:
        """Return an acquisition, and what there is of it."""

    def dose(self, embryo: str) -> Dose:
        """Return the light that an embryo was given in all."""

    def calibrate(
        self,
        light_sheet: LightSheet,
        view: ViewName,
        told: Mapping[str, Any],
        valid_s: float | None,
    ) -> str:
        """Let a light sheet use a calibration, keep it, and return its uid."""

    def sharpest(self, uid: str, measure: Measure) -> Sharpest:
        """Return where the sharpest slice of a sweep lies; raises `SharpestFailedError`."""

    def look(self, uid: str) -> Look:
        """Return in numbers what a volume shows; raises `LookFailedError`."""


class StoreAnswers:
    """Answers from the store's index and the ledger of light; blocks for as long as these do.

    Parameters
    ----------
    store
        Of the volumes.
    ledger
        Of the light.
    detections
        Of the process that looks at pixels.
    calibrations
        Where those that were measured are kept.
    """

    def __init__(
        self,
        store: VolumeStore,
        ledger: DoseLedger,
        detections: Detections,
        calibrations: Calibrations,
    ) -> None:
        self.calibrate = calibrations.keep
        self._store = store
        self._ledger = ledger
        self._detections = detections

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
                    record.uid,
                )
                for record in found
            ),
        )

    def dose(self, embryo: str) -> Dose:
        """Return the light that an embryo was given in all, by any plan of any session."""
        return self._ledger.total(embryo)

    def sharpest(self, uid: str, measure: Measure) -> Sharpest:
        """Have the sharpest slice found by the process that may die of it."""
        return self._detections.sharpest(uid, measure)

    def look(self, uid: str) -> Look:
        """Have a volume looked at by the process that may die of it."""
        return self._detections.look(uid)


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

    async def wait_until(msg: Msg) -> float | None:
        (end_s,) = msg.args
        began_s = time.time()
        while (left_s := end_s - time.time()) > 0:
            if engine.state != "running" or engine.deferred_pause_requested:
                return None
            waits(end_s - began_s - left_s, end_s - began_s)
            await asyncio.sleep(min(left_s, _NAP_S))
        return time.time()

    async def look(msg: Msg) -> Future[Look]:
        return _begun(answers.look, *msg.args)

    async def seen(msg: Msg) -> Seen:
        (looking,) = msg.args
        try:
            return Seen(**(await asyncio.wrap_future(looking)).model_dump())
        except Exception as error:  # noqa: BLE001 - whatever it is, the plan goes on without
            return Seen(error=str(error) or type(error).__name__)

    engine.register_command("acquisition", acquisition)
    engine.register_command("look", look)
    engine.register_command("seen", seen)
    engine.register_command("wait_until", wait_until)
    engine.register_command("dose", lambda msg: _in_a_thread(answers.dose, *msg.args))
    engine.register_command("sharpest", lambda msg: _in_a_thread(answers.sharpest, *msg.args))
    engine.register_command("calibrate", lambda msg: _in_a_thread(answers.calibrate, *msg.args))
    engine.register_command("clock", lambda _: _at_once(answer=time.time()))
    engine.register_command("begin_alike", lambda _: _at_once(answer=True))
    engine.register_command("end_alike", lambda _: _at_once(answer=None))


async def _at_once(*, answer: T) -> T:
    return answer


async def _in_a_thread(answer: Callable[..., T], *asked: Any) -> T:
    return await asyncio.wrap_future(_begun(answer, *asked))


def _begun(answer: Callable[..., T], *asked: Any) -> Future[T]:
    """Ask on a thread of its own, which ends with the answer."""
    found: Future[T] = Future()
    found.set_running_or_notify_cancel()  # a plan that is ended does not wait for it any more

    def ask() -> None:
        try:
            found.set_result(answer(*asked))
        except Exception as error:  # noqa: BLE001 - the top of a thread: the plan is told
            found.set_exception(error)

    threading.Thread(target=ask, name="answer", daemon=True).start()
    return found


Waits = Callable[[float, float], Any]
