"""Bluesky's routes about the queue and its history."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, StrictBool, model_validator
from starlette.concurrency import run_in_threadpool

from gently.api.handlers import Answer, Body, DialectRoute
from gently.api.messages import ItemBody, RequestRefusedError, parse
from gently.core.device_layer import DeviceLayer
from gently.core.errors import (
    FieldError,
    GentlyError,
    ItemNotFoundError,
    PlanRefusedError,
    WrongStateError,
)
from gently.core.items import Item
from gently.core.queue import AlreadySubmittedError
from gently.core.transitions import Place, QueueMode

__all__ = ["QUEUE_ROUTES"]

Position = int | Literal["front", "back"]


class _Beside(Body):
    own: ClassVar[str]

    before_uid: str | None = None
    after_uid: str | None = None

    def beside(self, uids: list[str]) -> int | None:
        """Return the index that a neighbour stands for."""
        if self.before_uid is not None:
            return _index(uids, self.before_uid)
        if self.after_uid is not None:
            return _index(uids, self.after_uid) + 1
        return None

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        places = ("before_uid", "after_uid", self.own)
        given = [name for name in places if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"only one of {' and '.join(given)} can say the place")
        return self


class _PlaceBody(_Beside):
    own = "pos"

    pos: Position | None = None

    def place(self, uids: list[str]) -> int:
        """Return where something new goes among those that wait."""
        index = self.beside(uids)
        if index is not None:
            return index
        if self.pos is None or self.pos == "back":
            return len(uids)
        if self.pos == "front":
            return 0
        return min(max(0, self.pos if self.pos >= 0 else len(uids) + 1 + self.pos), len(uids))

    def place_in(self, layer: DeviceLayer) -> Place:
        """Return `place`, by which after the item that runs is at the front."""
        running = layer.queue.running
        if running is not None and self.after_uid == running.item_uid:
            return lambda _: 0
        return self.place


class _SubmitBody(_PlaceBody):
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class _AddBody(_SubmitBody):
    item: ItemBody


class _BatchBody(_SubmitBody):
    items: list[dict[str, Any]]


class _UpdateBody(Body):
    item: ItemBody
    replace: bool = False


class _PickBody(Body):
    uid: str | None = None
    pos: Position = "back"

    def pick(self, items: tuple[Item, ...]) -> Item:
        """Return the item that is meant."""
        if self.uid is not None:
            return items[_index([item.item_uid for item in items], self.uid)]
        place = {"front": 0, "back": -1}[self.pos] if isinstance(self.pos, str) else self.pos
        try:
            return items[place]
        except IndexError:
            raise ItemNotFoundError(f"no item waits at position {self.pos!r}") from None


class _DestinationBody(_Beside):
    own = "pos_dest"

    pos_dest: Position | None = None

    def destination(self, others: list[str], moved: int) -> int:
        """Return where what is moved goes among the others, so that it begins at ``pos_dest``."""
        index = self.beside(others)
        if index is not None:
            return index
        if self.pos_dest is None:
            raise WrongStateError("Say where to: pos_dest, before_uid or after_uid.")
        if isinstance(self.pos_dest, str):
            return 0 if self.pos_dest == "front" else len(others)
        length = len(others) + moved
        if not -length <= self.pos_dest < length:
            raise ItemNotFoundError(f"no item waits at position {self.pos_dest}")
        return min(self.pos_dest % length, len(others))


class _MoveBody(_DestinationBody):
    uid: str | None = None
    pos: Position | None = None


class _MoveBatchBody(_DestinationBody):
    uids: list[str] = Field(default_factory=list)
    reorder: bool = False


class _RemoveBatchBody(Body):
    uids: list[str]
    ignore_missing: bool = True


class _ModeValues(Body):
    model_config = ConfigDict(extra="forbid", frozen=True)

    loop: StrictBool | None = None
    ignore_failures: StrictBool | None = None


class _ModeBody(Body):
    mode: Literal["default"] | _ModeValues


class _AutostartBody(Body):
    enable: StrictBool


class _HistoryBody(Body):
    size: Annotated[int, Field(ge=0)] | None = None
    item_uid: str | None = None

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        if self.size is not None and self.item_uid is not None:
            raise ValueError("only one of size and item_uid can be given")
        return self


# ---------------------------------------------------------------------- what waits


async def _queue_get(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    queue = layer.queue.snapshot()
    return {
        "items": [item.message() for item in queue.waiting],
        "running_item": queue.running.message() if queue.running else {},
        "plan_queue_uid": queue.plan_queue_uid,
    }


async def _item_add(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_AddBody, parameters)
    item = _item(body.item, key=body.idempotency_key)
    try:
        qsize = await run_in_threadpool(layer.add, item, body.place_in(layer))
    except AlreadySubmittedError as known:
        return {"item": known.items[0].message(), "qsize": _waiting(layer)}
    return {"item": item.message(), "qsize": qsize}


async def _item_add_batch(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_BatchBody, parameters)
    items, results = await run_in_threadpool(_checked, layer, body.items)
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


async def _item_update(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_UpdateBody, parameters)
    if body.item.item_uid is None:
        raise RequestRefusedError((FieldError("item.item_uid", "is missing"),))
    item = _item(body.item) if body.replace else _item(body.item, item_uid=body.item.item_uid)
    qsize = await run_in_threadpool(layer.update, body.item.item_uid, item)
    return {"item": item.message(), "qsize": qsize}


async def _item_execute(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_AddBody, parameters)
    item = _item(body.item, key=body.idempotency_key)
    try:
        qsize = await run_in_threadpool(layer.execute, item)
    except AlreadySubmittedError as known:
        return {"item": known.items[0].message(), "qsize": _waiting(layer)}
    return {"item": item.message(), "qsize": qsize}


async def _item_get(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    item = parse(_PickBody, parameters).pick(layer.queue.snapshot().waiting)
    return {"item": item.message()}


async def _item_remove(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    item = parse(_PickBody, parameters).pick(layer.queue.snapshot().waiting)
    removed = await run_in_threadpool(layer.queue.remove, item.item_uid)
    return {"item": removed.message(), "qsize": _waiting(layer)}


async def _item_remove_batch(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_RemoveBatchBody, parameters)
    removed = await run_in_threadpool(
        layer.queue.remove_batch, body.uids, ignore_missing=body.ignore_missing
    )
    return {"items": [item.message() for item in removed], "qsize": _waiting(layer)}


async def _item_move(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_MoveBody, parameters)
    if (body.pos is None) == (body.uid is None):
        raise WrongStateError("Say what to move: either pos or uid.")
    picked = _PickBody(uid=body.uid, pos="back" if body.pos is None else body.pos)
    item = picked.pick(layer.queue.snapshot().waiting)
    if item.item_uid not in (body.before_uid, body.after_uid):  # beside itself is where it is
        await run_in_threadpool(
            layer.queue.move, [item.item_uid], lambda others: body.destination(others, 1)
        )
    return {"item": item.message(), "qsize": _waiting(layer)}


async def _item_move_batch(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_MoveBatchBody, parameters)
    moved = await run_in_threadpool(
        layer.queue.move,
        body.uids,
        lambda others: body.destination(others, len(body.uids)),
        reorder=body.reorder,
    )
    return {"items": [item.message() for item in moved], "qsize": _waiting(layer)}


async def _queue_clear(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    await run_in_threadpool(layer.queue.clear)
    return {}


# ---------------------------------------------------------------------- what runs


async def _queue_start(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    await run_in_threadpool(layer.queue.start)
    return {}


async def _queue_stop(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    await run_in_threadpool(layer.queue.request_stop, pending=True)
    return {}


async def _queue_stop_cancel(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    await run_in_threadpool(layer.queue.request_stop, pending=False)
    return {}


async def _queue_autostart(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    await run_in_threadpool(
        layer.queue.set_autostart, enabled=parse(_AutostartBody, parameters).enable
    )
    return {}


async def _queue_mode_set(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    asked = parse(_ModeBody, parameters).mode
    if asked == "default":
        await run_in_threadpool(layer.queue.set_mode, **asdict(QueueMode()))
    else:
        await run_in_threadpool(layer.queue.set_mode, **asked.model_dump(exclude_none=True))
    return {}


# ---------------------------------------------------------------------- history


async def _history_get(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    queue = layer.queue.snapshot()
    body = parse(_HistoryBody, parameters)
    items = queue.history
    if body.size is not None:
        items = items[max(0, len(items) - body.size) :]
    elif body.item_uid is not None:
        items = tuple(item for item in items if item.item_uid == body.item_uid)
    return {
        "items": [item.message() for item in items],
        "plan_history_uid": queue.plan_history_uid,
    }


async def _history_clear(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_HistoryBody, parameters)

    def keep(history: tuple[Item, ...]) -> tuple[Item, ...]:
        if body.item_uid is None:
            return history[max(0, len(history) - (body.size or 0)) :]
        uids = [item.item_uid for item in history]
        return history[uids.index(body.item_uid) + 1 :] if body.item_uid in uids else history

    await run_in_threadpool(layer.queue.clear_history, keep)
    return {}


# ---------------------------------------------------------------------- items


def _item(body: ItemBody, *, item_uid: str | None = None, key: str | None = None) -> Item:
    if body.item_type not in ("plan", "instruction"):
        problem = f"only plans can be queued here, not {body.item_type!r}; uploaded code never runs"
        raise PlanRefusedError(body.name, (FieldError("item_type", problem),))
    item = Item(**body.model_dump(exclude={"item_uid"}), key=key)
    return item if item_uid is None else replace(item, item_uid=item_uid)


def _checked(
    layer: DeviceLayer, items: list[dict[str, Any]]
) -> tuple[list[Item], list[dict[str, Any]]]:
    """Return the items that can be queued, and for each that came what there is to say."""
    found, results = [], []
    for asked in items:
        try:
            item = _item(parse(ItemBody, asked))
            layer.check(item)
        except GentlyError as error:
            results.append({"success": False, "msg": f"Failed to add a plan: {error}"})
        else:
            found.append(item)
            results.append({"success": True, "msg": ""})
    return found, results


def _waiting(layer: DeviceLayer) -> int:
    return len(layer.queue.snapshot().waiting)


def _index(uids: list[str], uid: str) -> int:
    try:
        return uids.index(uid)
    except ValueError:
        raise ItemNotFoundError(f"no waiting item has the uid {uid!r}") from None


QUEUE_ROUTES = (
    DialectRoute("GET", "/queue/get", _queue_get),
    DialectRoute("POST", "/queue/item/add", _item_add, "queue"),
    DialectRoute("POST", "/queue/item/add/batch", _item_add_batch, "queue"),
    DialectRoute("POST", "/queue/item/update", _item_update, "queue"),
    DialectRoute("POST", "/queue/item/execute", _item_execute, "environment"),
    DialectRoute("GET", "/queue/item/get", _item_get),
    DialectRoute("POST", "/queue/item/remove", _item_remove, "queue"),
    DialectRoute("POST", "/queue/item/remove/batch", _item_remove_batch, "queue"),
    DialectRoute("POST", "/queue/item/move", _item_move, "queue"),
    DialectRoute("POST", "/queue/item/move/batch", _item_move_batch, "queue"),
    DialectRoute("POST", "/queue/clear", _queue_clear, "queue"),
    DialectRoute("POST", "/queue/start", _queue_start, "environment"),
    DialectRoute("POST", "/queue/stop", _queue_stop, "environment"),
    DialectRoute("POST", "/queue/stop/cancel", _queue_stop_cancel, "environment"),
    DialectRoute("POST", "/queue/autostart", _queue_autostart, "environment"),
    DialectRoute("POST", "/queue/mode/set", _queue_mode_set, "queue"),
    DialectRoute("GET", "/history/get", _history_get),
    DialectRoute("POST", "/history/clear", _history_clear, "queue"),
)
