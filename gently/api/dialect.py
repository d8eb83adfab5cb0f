"""The routes that Bluesky's own clients speak, with their semantics.

A business failure is 200 with ``"success": false``: that is what the clients look at.
Whatever such a handler is asked, it answers at once; the RunEngine is never waited for.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.routing import Route

from gently.api.describe import allowed_devices, allowed_plans
from gently.api.messages import ItemBody, Json, parse, read_parameters
from gently.core.device_layer import DeviceLayer
from gently.core.errors import (
    FieldError,
    GentlyError,
    ItemNotFoundError,
    PlanRefusedError,
    WrongStateError,
)
from gently.core.queue import Item, QueueSnapshot
from gently.core.runner import Order

__all__ = ["dialect_routes"]

Answer = dict[str, Any]
Handler = Callable[[DeviceLayer, Mapping[str, Any]], Awaitable[Answer]]
Place = int | Literal["front", "back"]


class _AddBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    item: ItemBody
    pos: Place | None = None
    before_uid: str | None = None
    after_uid: str | None = None

    def place(self, uids: list[str]) -> int:
        """Return where the item goes among those that wait."""
        if self.before_uid is not None:
            return _index(uids, self.before_uid)
        if self.after_uid is not None:
            return _index(uids, self.after_uid) + 1
        if self.pos is None or self.pos == "back":
            return len(uids)
        if self.pos == "front":
            return 0
        return min(max(0, self.pos if self.pos >= 0 else len(uids) + 1 + self.pos), len(uids))


class _PickBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    uid: str | None = None
    pos: Place = "back"

    def pick(self, items: tuple[Item, ...]) -> Item:
        """Return the item that is meant."""
        if self.uid is not None:
            return items[_index([item.item_uid for item in items], self.uid)]
        place = {"front": 0, "back": -1}[self.pos] if isinstance(self.pos, str) else self.pos
        try:
            return items[place]
        except IndexError:
            raise ItemNotFoundError(f"no item waits at position {self.pos!r}") from None


class _PauseBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    option: Literal["deferred", "immediate"] = "deferred"


class _HistoryBody(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    size: Annotated[int, Field(ge=0)] | None = None


def dialect_routes() -> list[Route]:
    """Return the routes, each with its handler."""
    handlers: list[tuple[str, str, Handler]] = [
        ("GET", "/", _status),
        ("GET", "/ping", _status),
        ("GET", "/status", _status),
        ("GET", "/plans/allowed", _plans_allowed),
        ("GET", "/devices/allowed", _devices_allowed),
        ("GET", "/plans/existing", _plans_existing),
        ("GET", "/devices/existing", _devices_existing),
        ("GET", "/queue/get", _queue_get),
        ("POST", "/queue/item/add", _item_add),
        ("POST", "/queue/item/execute", _item_execute),
        ("GET", "/queue/item/get", _item_get),
        ("POST", "/queue/item/remove", _item_remove),
        ("POST", "/queue/start", _queue_start),
        ("POST", "/queue/stop", _queue_stop),
        ("POST", "/queue/stop/cancel", _queue_stop_cancel),
        ("POST", "/queue/clear", _queue_clear),
        ("GET", "/history/get", _history_get),
        ("POST", "/history/clear", _history_clear),
        ("POST", "/re/pause", _re_pause),
        ("POST", "/re/resume", _order(Order.RESUME)),
        ("POST", "/re/abort", _when_paused(Order.ABORT)),
        ("POST", "/re/stop", _when_paused(Order.STOP)),
        ("POST", "/re/halt", _when_paused(Order.HALT)),
        ("POST", "/re/runs", _runs("active")),
        ("GET", "/re/runs/active", _runs("active")),
        ("GET", "/re/runs/open", _runs("open")),
        ("GET", "/re/runs/closed", _runs("closed")),
    ]
    return [
        Route(f"/api{path}", _endpoint(handler), methods=[method], name=path)
        for method, path, handler in handlers
    ]


def _endpoint(handler: Handler) -> Callable[[Request], Awaitable[Json]]:
    async def endpoint(request: Request) -> Json:
        layer: DeviceLayer = request.state.layer
        parameters = await read_parameters(request)
        try:
            answer = await handler(layer, parameters)
        except GentlyError as error:
            refused: Answer = {"success": False, "msg": str(error)}
            if errors := getattr(error, "errors", ()):
                refused["errors"] = list(errors)
            if "item" in parameters:
                refused |= {"item": parameters["item"], "qsize": _waiting(layer)}
            return Json(refused)
        return Json({"success": True, "msg": "", **answer})

    return endpoint


# ---------------------------------------------------------------------- status


async def _status(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    queue = layer.queue.snapshot()
    run_list_uid = layer.runner.runs.snapshot()[1]
    state = layer.runner.state
    return {
        "msg": f"gently {layer.version}",
        "manager_state": _manager_state(queue, state),
        "time": time.time(),
        "items_in_queue": len(queue.waiting),
        "items_in_history": len(queue.history),
        "running_item_uid": queue.running.item_uid if queue.running else None,
        "queue_stop_pending": queue.stop_pending,
        "queue_autostart_enabled": False,
        "worker_environment_exists": True,
        "worker_environment_state": "executing_plan" if queue.running else "idle",
        "worker_background_tasks": 0,
        "re_state": state,
        "ip_kernel_state": None,
        "ip_kernel_captured": None,
        "pause_pending": layer.runner.pause_pending,
        "run_list_uid": run_list_uid,
        "plan_queue_uid": queue.plan_queue_uid,
        "plan_history_uid": queue.plan_history_uid,
        "devices_existing_uid": layer.catalogue_uid,
        "plans_existing_uid": layer.catalogue_uid,
        "devices_allowed_uid": layer.catalogue_uid,
        "plans_allowed_uid": layer.catalogue_uid,
        "task_results_uid": layer.catalogue_uid,
        "lock_info_uid": layer.catalogue_uid,
        "status_uid": queue.plan_queue_uid,
        "plan_queue_mode": {"loop": False, "ignore_failures": False},
        "lock": {"environment": False, "queue": False},
    }


def _manager_state(queue: QueueSnapshot, engine_state: str) -> str:
    if queue.mode == "idle":
        return "idle"
    if engine_state == "paused":
        return "paused"
    return "executing_queue" if queue.running else "starting_queue"


async def _plans_allowed(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    return {
        "plans_allowed": allowed_plans(layer.catalogue),
        "plans_allowed_uid": layer.catalogue_uid,
        "plans_unavailable": layer.catalogue.unavailable,
    }


async def _devices_allowed(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    return {
        "devices_allowed": allowed_devices(layer.instrument.devices),
        "devices_allowed_uid": layer.catalogue_uid,
    }


async def _plans_existing(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    return {
        "plans_existing": allowed_plans(layer.catalogue),
        "plans_existing_uid": layer.catalogue_uid,
    }


async def _devices_existing(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    return {
        "devices_existing": allowed_devices(layer.instrument.devices),
        "devices_existing_uid": layer.catalogue_uid,
    }


# ---------------------------------------------------------------------- queue


async def _queue_get(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    queue = layer.queue.snapshot()
    return {
        "items": [item.message() for item in queue.waiting],
        "running_item": queue.running.message() if queue.running else {},
        "plan_queue_uid": queue.plan_queue_uid,
    }


async def _item_add(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_AddBody, parameters)
    item = _item(body.item)
    qsize = await run_in_threadpool(layer.add, item, body.place)
    return {"item": item.message(), "qsize": qsize}


async def _item_execute(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    item = _item(parse(_AddBody, parameters).item)
    qsize = await run_in_threadpool(layer.execute, item)
    return {"item": item.message(), "qsize": qsize}


async def _item_get(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    item = parse(_PickBody, parameters).pick(layer.queue.snapshot().waiting)
    return {"item": item.message()}


async def _item_remove(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    item = parse(_PickBody, parameters).pick(layer.queue.snapshot().waiting)
    removed = layer.queue.remove(item.item_uid)
    return {"item": removed.message(), "qsize": _waiting(layer)}


async def _queue_start(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    layer.queue.start()
    return {}


async def _queue_stop(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    layer.queue.request_stop(pending=True)
    return {}


async def _queue_stop_cancel(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    layer.queue.request_stop(pending=False)
    return {}


async def _queue_clear(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    layer.queue.clear()
    return {}


async def _history_get(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    queue = layer.queue.snapshot()
    size = parse(_HistoryBody, parameters).size
    items = queue.history if size is None else queue.history[max(0, len(queue.history) - size) :]
    return {
        "items": [item.message() for item in items],
        "plan_history_uid": queue.plan_history_uid,
    }


async def _history_clear(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    layer.queue.clear_history()
    return {}


# ---------------------------------------------------------------------- RunEngine


async def _re_pause(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    option = parse(_PauseBody, parameters).option
    layer.runner.order(Order.PAUSE if option == "immediate" else Order.PAUSE_DEFERRED)
    return {}


def _order(order: Order) -> Handler:
    async def handler(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
        layer.runner.order(order)
        return {}

    return handler


def _when_paused(order: Order) -> Handler:
    async def handler(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
        if layer.runner.state != "paused":
            raise WrongStateError(
                f"A plan can be told to {order} only while it is paused (it is "
                f"{layer.runner.state}). POST /api/stop ends it in any state."
            )
        layer.runner.order(order, f"{order} was asked for")
        return {}

    return handler


def _runs(option: str) -> Handler:
    async def handler(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
        wanted = parameters.get("option", option)
        if wanted not in ("active", "open", "closed"):
            raise WrongStateError(f"option can be active, open or closed, not {wanted!r}")
        runs, uid = layer.runner.runs.snapshot()
        found = [
            run.message()
            for run in runs
            if wanted == "active" or (run.exit_status is None) == (wanted == "open")
        ]
        return {"run_list": found, "run_list_uid": uid}

    return handler


# ---------------------------------------------------------------------- items


def _item(body: ItemBody) -> Item:
    if body.item_type != "plan":
        problem = f"only plans can be queued here, not {body.item_type!r}; uploaded code never runs"
        raise PlanRefusedError(body.name, (FieldError("item_type", problem),))
    return Item(name=body.name, args=body.args, kwargs=body.kwargs, meta=body.meta)


def _waiting(layer: DeviceLayer) -> int:
    return len(layer.queue.snapshot().waiting)


def _index(uids: list[str], uid: str) -> int:
    try:
        return uids.index(uid)
    except ValueError:
        raise ItemNotFoundError(f"no waiting item has the uid {uid!r}") from None
