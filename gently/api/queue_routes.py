"""Bluesky's routes about the queue."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, Literal

from pydantic import ConfigDict, Field, StrictBool
from starlette.concurrency import run_in_threadpool

from gently.api.messages import RequestRefusedError, parse
from gently.api.models import Answer, Body, Done, ItemBody, Json, Nothing, QueuedItem
from gently.api.queue_bodies import (
    AddBody,
    BatchBody,
    MoveBatchBody,
    MoveBody,
    PickBody,
    RemoveBatchBody,
    UpdateBody,
)
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Principal, Scope
from gently.core.device_layer import Accepted, DeviceLayer
from gently.core.errors import FieldError, GentlyError, PlanRefusedError, WrongStateError
from gently.core.items import Item
from gently.core.preflight import PreflightSummary
from gently.core.queue import AlreadySubmittedError
from gently.core.transitions import QueueMode

__all__ = ["QUEUE_ROUTES", "executed", "requested_item"]


class ModeValues(Body):
    """How the queue runs; what is not given stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    loop: StrictBool | None = Field(None, description="What completes goes to the back again.")
    ignore_failures: StrictBool | None = Field(None, description="Go on after a failure.")


class ModeBody(Body):
    """How the queue runs."""

    mode: Literal["default"] | ModeValues


class AutostartBody(Body):
    """Whether items begin by themselves."""

    enable: StrictBool


class QueueAnswer(Done):
    """The queue."""

    items: list[QueuedItem] = Field(description="Those that wait, in their order.")
    running_item: QueuedItem | dict[str, None] = Field(description="`{}` if none runs.")
    plan_queue_uid: str = Field(description="Changes when the queue does.")


class WaitingItem(Done):
    """An item that waits."""

    item: QueuedItem


class ItemDone(Done):
    """An item to which it was done."""

    item: QueuedItem
    qsize: int = Field(description="How many items wait.")


class SubmittedItem(ItemDone):
    """An item that was accepted."""

    preflight: PreflightSummary | None


class ItemsDone(Done):
    """Items to which it was done."""

    items: list[QueuedItem]
    qsize: int = Field(description="How many items wait.")


class SubmissionResult(Answer):
    """What there is to say about one of several items."""

    success: bool
    msg: str
    preflight: PreflightSummary | None = Field(None, description="If it could be queued.")


class BatchAnswer(Answer):
    """What became of several items."""

    success: bool
    msg: str
    items: list[Json] = Field(
        description="As they were queued; or as they came, if not all can be."
    )
    results: list[SubmissionResult] = Field(description="What there is to say about each.")
    qsize: int = Field(description="How many items wait.")


# ---------------------------------------------------------------------- what waits


async def _queue_get(call: Call[Nothing]) -> Given:
    queue = call.layer.queue.snapshot()
    return {
        "items": [item.message() for item in queue.waiting],
        "running_item": queue.running.message() if queue.running else {},
        "plan_queue_uid": queue.plan_queue_uid,
    }


async def _item_add(call: Call[AddBody]) -> Given:
    layer, body = call.layer, call.body
    item = requested_item(body.item, call.principal, key=body.idempotency_key)
    return await _submitted(layer, item, lambda: layer.add(item, body.place_in(layer)))


async def _item_add_batch(call: Call[BatchBody]) -> Given:
    layer, body = call.layer, call.body
    items, results = await run_in_threadpool(_checked, layer, body.items, call.principal)
    failed = sum(not result["success"] for result in results)
    if failed:
        return {
            "success": False,
            "msg": "Failed to add all items: validation of "
            f"{failed} out of {len(results)} submitted items failed",
            "items": body.items,
            "results": results,
            "qsize": _waiting(layer),
        }
    try:
        qsize = await run_in_threadpool(
            layer.queue.add_batch, items, body.place_in(layer), body.idempotency_key
        )
    except AlreadySubmittedError as known:
        items, qsize = list(known.items), _waiting(layer)
    return {"items": [item.message() for item in items], "results": results, "qsize": qsize}


async def _item_update(call: Call[UpdateBody]) -> Given:
    asked, uid = call.body.item, call.body.item.item_uid
    if uid is None:
        raise RequestRefusedError((FieldError("item.item_uid", "is missing"),))
    item = requested_item(asked, call.principal)
    if not call.body.replace:
        item = replace(item, item_uid=uid)
    return await _submitted(call.layer, item, lambda: call.layer.update(uid, item))


async def _item_execute(call: Call[AddBody]) -> Given:
    body = call.body
    return await executed(
        call.layer, requested_item(body.item, call.principal, key=body.idempotency_key)
    )


async def executed(layer: DeviceLayer, item: Item) -> Given:
    """Run an item now; return what there is to say of it, or of the one with the same key."""
    return await _submitted(layer, item, lambda: layer.execute(item))


async def _submitted(layer: DeviceLayer, item: Item, submit: Callable[[], Accepted]) -> Given:
    try:
        accepted = await run_in_threadpool(submit)
    except AlreadySubmittedError as known:
        return {"item": known.items[0].message(), "qsize": _waiting(layer), "preflight": None}
    return {
        "item": item.message(),
        "qsize": accepted.qsize,
        "preflight": _told(accepted.preflight),
    }


async def _item_get(call: Call[PickBody]) -> Given:
    return {"item": call.body.pick(call.layer.queue.snapshot().waiting).message()}


async def _item_remove(call: Call[PickBody]) -> Given:
    item = call.body.pick(call.layer.queue.snapshot().waiting)
    removed = await run_in_threadpool(call.layer.queue.remove, item.item_uid)
    return {"item": removed.message(), "qsize": _waiting(call.layer)}


async def _item_remove_batch(call: Call[RemoveBatchBody]) -> Given:
    removed = await run_in_threadpool(
        call.layer.queue.remove_batch, call.body.uids, ignore_missing=call.body.ignore_missing
    )
    return {"items": [item.message() for item in removed], "qsize": _waiting(call.layer)}


async def _item_move(call: Call[MoveBody]) -> Given:
    layer, body = call.layer, call.body
    if (body.pos is None) == (body.uid is None):
        raise WrongStateError("Say what to move: either pos or uid.")
    picked = PickBody(uid=body.uid, pos="back" if body.pos is None else body.pos)
    item = picked.pick(layer.queue.snapshot().waiting)
    if item.item_uid not in (body.before_uid, body.after_uid):  # beside itself is where it is
        await run_in_threadpool(
            layer.queue.move, [item.item_uid], lambda others: body.destination(others, 1)
        )
    return {"item": item.message(), "qsize": _waiting(layer)}


async def _item_move_batch(call: Call[MoveBatchBody]) -> Given:
    layer, body = call.layer, call.body
    moved = await run_in_threadpool(
        layer.queue.move,
        body.uids,
        lambda others: body.destination(others, len(body.uids)),
        reorder=body.reorder,
    )
    return {"items": [item.message() for item in moved], "qsize": _waiting(layer)}


async def _queue_clear(call: Call[Nothing]) -> Given:
    await run_in_threadpool(call.layer.queue.clear)
    return {}


# ---------------------------------------------------------------------- what runs


async def _queue_start(call: Call[Nothing]) -> Given:
    await run_in_threadpool(call.layer.queue.start)
    return {}


async def _queue_stop(call: Call[Nothing]) -> Given:
    await run_in_threadpool(call.layer.queue.request_stop, pending=True)
    return {}


async def _queue_stop_cancel(call: Call[Nothing]) -> Given:
    await run_in_threadpool(call.layer.queue.request_stop, pending=False)
    return {}


async def _queue_autostart(call: Call[AutostartBody]) -> Given:
    await run_in_threadpool(call.layer.queue.set_autostart, enabled=call.body.enable)
    return {}


async def _queue_mode_set(call: Call[ModeBody]) -> Given:
    asked = call.body.mode
    mode = asdict(QueueMode()) if asked == "default" else asked.model_dump(exclude_none=True)
    await run_in_threadpool(call.layer.queue.set_mode, **mode)
    return {}


# ---------------------------------------------------------------------- items


def requested_item(body: ItemBody, asker: Principal, *, key: str | None = None) -> Item:
    """Return what somebody asks for as an item; raises `PlanRefusedError`."""
    if body.item_type not in ("plan", "instruction"):
        problem = f"only plans can be queued here, not {body.item_type!r}; uploaded code never runs"
        raise PlanRefusedError(body.name, (FieldError("item_type", problem),))
    return Item(**body.model_dump(exclude={"item_uid"}), user=asker.name, key=key)


def _checked(
    layer: DeviceLayer, items: list[dict[str, Any]], asker: Principal
) -> tuple[list[Item], list[dict[str, Any]]]:
    """Return the items that can be queued, and for each that came what there is to say."""
    found, results = [], []
    for asked in items:
        try:
            item = requested_item(parse(ItemBody, asked), asker)
            summary = layer.check(item)
        except GentlyError as error:
            results.append({"success": False, "msg": f"Failed to add a plan: {error}"})
        else:
            found.append(item)
            results.append({"success": True, "msg": "", "preflight": _told(summary)})
    return found, results


def _told(summary: PreflightSummary | None) -> dict[str, Any] | None:
    return None if summary is None else summary.model_dump()


def _waiting(layer: DeviceLayer) -> int:
    return len(layer.queue.snapshot().waiting)


# ---------------------------------------------------------------------- the table


def _looks(path: str, **what: Any) -> ApiRoute:
    return ApiRoute(method="GET", path=path, scope=Scope.VIEW, dialect=True, **what)


def _commands(path: str, **what: Any) -> ApiRoute:
    return ApiRoute(
        method="POST", path=path, scope=Scope.OPERATE, commands=True, dialect=True, **what
    )


QUEUE_ROUTES = (
    _looks(
        "/api/queue/get",
        handler=_queue_get,
        summary="The items that wait, and the one that runs",
        answer=QueueAnswer,
    ),
    _commands(
        "/api/queue/item/add",
        handler=_item_add,
        summary="Queue an item",
        body=AddBody,
        headers=("Idempotency-Key",),
        answer=SubmittedItem,
        locked_by="queue",
    ),
    _commands(
        "/api/queue/item/add/batch",
        handler=_item_add_batch,
        summary="Queue several items, all or none",
        body=BatchBody,
        headers=("Idempotency-Key",),
        answer=BatchAnswer,
        locked_by="queue",
    ),
    _commands(
        "/api/queue/item/update",
        handler=_item_update,
        summary="Put another item in the place of one that waits",
        body=UpdateBody,
        answer=SubmittedItem,
        locked_by="queue",
    ),
    _commands(
        "/api/queue/item/execute",
        handler=_item_execute,
        summary="Run an item now, past those that wait",
        body=AddBody,
        headers=("Idempotency-Key",),
        answer=SubmittedItem,
        locked_by="environment",
    ),
    _looks(
        "/api/queue/item/get",
        handler=_item_get,
        summary="One of the items that wait",
        body=PickBody,
        answer=WaitingItem,
    ),
    _commands(
        "/api/queue/item/remove",
        handler=_item_remove,
        summary="Take an item out of the queue",
        body=PickBody,
        answer=ItemDone,
        locked_by="queue",
    ),
    _commands(
        "/api/queue/item/remove/batch",
        handler=_item_remove_batch,
        summary="Take several items out of the queue",
        body=RemoveBatchBody,
        answer=ItemsDone,
        locked_by="queue",
    ),
    _commands(
        "/api/queue/item/move",
        handler=_item_move,
        summary="Move an item to another place in the queue",
        body=MoveBody,
        answer=ItemDone,
        locked_by="queue",
    ),
    _commands(
        "/api/queue/item/move/batch",
        handler=_item_move_batch,
        summary="Move several items side by side",
        body=MoveBatchBody,
        answer=ItemsDone,
        locked_by="queue",
    ),
    _commands(
        "/api/queue/clear",
        handler=_queue_clear,
        summary="Take all items that wait out of the queue",
        answer=Done,
        locked_by="queue",
    ),
    _commands(
        "/api/queue/start",
        handler=_queue_start,
        summary="Run the waiting items one after another, until one does not complete",
        answer=Done,
        locked_by="environment",
    ),
    _commands(
        "/api/queue/stop",
        handler=_queue_stop,
        summary="Let the queue stop after the item that runs",
        answer=Done,
        locked_by="environment",
    ),
    _commands(
        "/api/queue/stop/cancel",
        handler=_queue_stop_cancel,
        summary="Let the queue go on after the item that runs",
        answer=Done,
        locked_by="environment",
    ),
    _commands(
        "/api/queue/autostart",
        handler=_queue_autostart,
        summary="Let items begin by themselves whenever nothing runs, or not",
        body=AutostartBody,
        answer=Done,
        locked_by="environment",
    ),
    _commands(
        "/api/queue/mode/set",
        handler=_queue_mode_set,
        summary="Say whether the queue loops, and whether it goes on after a failure",
        body=ModeBody,
        answer=Done,
        locked_by="queue",
    ),
)
