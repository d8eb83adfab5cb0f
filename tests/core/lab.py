"""A queue, a runner and plans that are handed in: what the core's tests experiment with."""

import threading
from collections.abc import Callable
from typing import Any, NoReturn

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator
from ophyd.status import Status

from devices import Dose
from gently.core.catalogue import BoundPlan
from gently.core.errors import PlanRefusedError
from gently.core.events import EventLog
from gently.core.queue import Item, PlanQueue
from gently.core.runner import Order, Runner
from gently.detector_child import Look
from plans import Acquisition
from storage import DocumentWriter
from tests.waiting import until

Plan = Callable[[], MsgGenerator[Any]]
LONG = 2_000


class Nothing:
    """The answers where nothing was taken and nothing was lit."""

    def acquisition(self, uid: str) -> Acquisition:
        return Acquisition(uid)

    def dose(self, _: str) -> Dose:
        return Dose()

    def calibrate(self, *told: object) -> NoReturn:
        raise AssertionError(f"nothing was measured, and so not {told}")

    def look(self, uid: str) -> Look:
        raise AssertionError(f"nothing was taken, and so no {uid} to look at")

    def sharpest(self, uid: str, metric: str) -> NoReturn:
        raise AssertionError(f"nothing was taken, and so no {uid} by {metric}")


class Lab:
    """A queue, a runner and a log; items name plans that are handed in."""

    def __init__(self, documents: DocumentWriter) -> None:
        self.log = EventLog()
        self.plans: dict[str, Plan] = {}
        self.refusal: PlanRefusedError | None = None
        self.queue = PlanQueue(self._announce)
        self.runner = Runner(
            self.queue, self._prepare, self.log, self._metadata, documents, Nothing()
        )

    def _announce(self, kind: str, item: Item) -> None:
        self.log.publish(kind, item_uid=item.item_uid)

    def _prepare(self, item: Item) -> BoundPlan:
        if self.refusal:
            raise self.refusal
        return BoundPlan(item.name, {}, self.plans[item.name])

    def _metadata(self, item: Item) -> dict[str, Any]:
        return {"item_uid": item.item_uid, "plan_name": item.name}

    def item(self, plan: Plan) -> Item:
        self.plans[plan.__name__] = plan
        return Item(name=plan.__name__)

    def begin(self, plan: Plan) -> Item:
        item = self.item(plan)
        self.queue.execute(item)
        return item

    def ended(self, item: Item) -> Item:
        assert self.queue.wait_until_ended(item.item_uid, 30), f"{item.name} is stuck"
        return self.queue.find(item.item_uid)

    def run(self, plan: Plan) -> Item:
        return self.ended(self.begin(plan))

    def paused(self, plan: Plan, order: Order = Order.PAUSE) -> Item:
        item = self.begin(plan)
        until(lambda: self.runner.state == "running")
        self.runner.order(order)
        until(lambda: self.runner.state == "paused")
        return item

    def heard(self, item: Item) -> list[str]:
        events = [event for event in self.log.after(0) if event.data.get("item_uid")]
        mine = [event.kind for event in events if event.data["item_uid"] == item.item_uid]
        return [kind.removeprefix("item.") for kind in mine if kind.startswith("item.")]

    def documents(self, item: Item, name: str) -> list[dict[str, Any]]:
        events = [event for event in self.log.after(0) if event.kind == "document"]
        mine = [event.data for event in events if event.data["item_uid"] == item.item_uid]
        return [data["doc"] for data in mine if data["name"] == name]


def result(item: Item) -> dict[str, Any]:
    assert item.result is not None
    return item.result.message()


def quick() -> MsgGenerator[str]:
    yield from bps.null()
    return "done"


def long() -> MsgGenerator[str]:
    """Hardly end, with a checkpoint every few milliseconds."""
    for _ in range(LONG):
        yield from bps.checkpoint()
        yield from bps.sleep(0.01)
    return "done"


def long_run() -> MsgGenerator[str]:
    yield from bps.open_run()
    value = yield from long()
    yield from bps.close_run()
    return str(value)


class Blocking:
    """A device that holds up the RunEngine's loop until it is let go."""

    name = "blocking"
    parent = None

    def __init__(self) -> None:
        self.is_held = threading.Event()
        self.let_go = threading.Event()

    def describe(self) -> dict[str, Any]:
        return {}

    def read(self) -> dict[str, Any]:
        return {}

    def hold(self) -> None:
        self.is_held.set()
        assert self.let_go.wait(30)


class BlockingRead(Blocking):
    def read(self) -> dict[str, Any]:
        self.hold()
        return {}


class BlockingPause(Blocking):
    def pause(self) -> None:
        self.hold()

    def resume(self) -> None:
        pass


class Motor:
    """A device whose motion ends when the test says so."""

    name = "motor"
    parent = None

    def __init__(self) -> None:
        self.status: Any = None
        self.stops: list[bool] = []

    def set(self, _: float) -> Any:
        self.status = Status()
        return self.status

    def stop(self, *, success: bool = False) -> None:
        self.stops.append(success)
