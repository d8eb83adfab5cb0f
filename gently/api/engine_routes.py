"""Bluesky's routes about the RunEngine and the process around it."""

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool
from starlette.concurrency import run_in_threadpool

from gently.api.describe import allowed_devices, allowed_plans
from gently.api.handlers import Answer, Body, DialectRoute, Handler, parse_lock_key
from gently.api.messages import parse
from gently.api.status import status
from gently.core.device_layer import DeviceLayer
from gently.core.errors import WrongStateError
from gently.core.runner import Order

__all__ = ["ENGINE_ROUTES"]

NO_CODE = "Refused: plans are data here, and uploaded code never runs."
NO_CLOSING = (
    "Refused: the environment is the device layer itself, and open as long as it runs. End the "
    "process to let go of the microscope; POST /api/stop stops everything that moves."
)
PERMISSIONS = {
    "user_groups": {
        "primary": {
            "allowed_plans": [":.*"],
            "forbidden_plans": [None],
            "allowed_devices": [":.*"],
            "forbidden_devices": [None],
            "allowed_functions": [None],
            "forbidden_functions": [":.*"],
        }
    }
}
"""In the notation of Bluesky's queue server: every plan and device, and no function."""


class _PauseBody(Body):
    option: Literal["deferred", "immediate"] = "deferred"


class _EnvironmentUpdateBody(Body):
    run_in_background: bool = False


class _TaskStatusBody(Body):
    task_uid: str | list[str]


class _TaskResultBody(Body):
    task_uid: str


class _LockBody(Body):
    lock_key: Annotated[str, Field(min_length=1)]
    environment: StrictBool = False
    queue: StrictBool = False
    note: str | None = None
    user: str = "operator"


class _UnlockBody(Body):
    lock_key: Annotated[str, Field(min_length=1)]


class _PermissionsBody(Body):
    user_group_permissions: dict[str, Any]


class _ConsoleUpdateBody(Body):
    last_msg_uid: str


class _ConsoleBody(Body):
    nlines: Annotated[int, Field(ge=0)] = 200


# ---------------------------------------------------------------------- what there is


async def _status(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    return status(layer)


async def _config_get(_: DeviceLayer, __: Mapping[str, Any]) -> Answer:
    return {"config": {"ip_connect_info": {}}}


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


async def _permissions_get(_: DeviceLayer, __: Mapping[str, Any]) -> Answer:
    return {"user_group_permissions": PERMISSIONS}


async def _permissions_reload(_: DeviceLayer, __: Mapping[str, Any]) -> Answer:
    return {"msg": "Nothing has changed: the permissions are fixed."}


async def _permissions_set(_: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    if parse(_PermissionsBody, parameters).user_group_permissions != PERMISSIONS:
        raise WrongStateError(
            "Refused: the permissions are fixed. Every client may ask for every plan that the "
            "instrument can run, within the limits of its file, and for nothing else."
        )
    return {}


# ---------------------------------------------------------------------- the environment


async def _environment_open(_: DeviceLayer, __: Mapping[str, Any]) -> Answer:
    raise WrongStateError("The environment is open already: it is the device layer itself.")


def _refused(reason: str) -> Handler:
    async def handler(_: DeviceLayer, __: Mapping[str, Any]) -> Answer:
        raise WrongStateError(reason)

    return handler


async def _environment_update(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_EnvironmentUpdateBody, parameters)
    running = layer.queue.running
    if running is not None and not body.run_in_background:
        raise WrongStateError(
            f"The microscope is busy with {running.name}: wait for it, or run_in_background."
        )
    found = {"plans": [*layer.catalogue], "devices": [*layer.instrument.devices]}
    return {"task_uid": layer.tasks.complete(found, time.time())}


async def _task_status(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    asked = parse(_TaskStatusBody, parameters).task_uid
    if isinstance(asked, str):
        return {"task_uid": asked, "status": layer.tasks.status(asked)}
    return {"task_uid": asked, "status": {uid: layer.tasks.status(uid) for uid in asked}}


async def _task_result(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    uid = parse(_TaskResultBody, parameters).task_uid
    return {
        "task_uid": uid,
        "status": layer.tasks.status(uid),
        "result": layer.tasks.result(uid),
    }


# ---------------------------------------------------------------------- the lock


async def _lock(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    body = parse(_LockBody, parameters)
    layer.lock.lock(
        body.lock_key,
        environment=body.environment,
        queue=body.queue,
        user=body.user,
        note=body.note,
    )
    return _lock_answer(layer)


async def _unlock(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    layer.lock.unlock(parse(_UnlockBody, parameters).lock_key)
    return _lock_answer(layer)


async def _lock_info(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    if (key := parse_lock_key(parameters)) is not None:
        layer.lock.check(key, "environment", "queue")
    return _lock_answer(layer)


def _lock_answer(layer: DeviceLayer) -> Answer:
    return {"lock_info": layer.lock.info(), "lock_info_uid": layer.lock.uid}


# ---------------------------------------------------------------------- console


async def _console_output(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    lines = layer.console.last(parse(_ConsoleBody, parameters).nlines)
    return {"text": "".join(line["msg"] for line in lines)}


async def _console_output_uid(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    return {"console_output_uid": layer.console.last_uid}


async def _console_output_update(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    asked = parse(_ConsoleUpdateBody, parameters).last_msg_uid
    uid, lines = layer.console.update(asked)
    return {"console_output_msgs": lines, "last_msg_uid": uid}


# ---------------------------------------------------------------------- RunEngine


async def _re_pause(layer: DeviceLayer, parameters: Mapping[str, Any]) -> Answer:
    option = parse(_PauseBody, parameters).option
    layer.runner.order(Order.PAUSE if option == "immediate" else Order.PAUSE_DEFERRED)
    return {}


async def _re_resume(layer: DeviceLayer, _: Mapping[str, Any]) -> Answer:
    await run_in_threadpool(layer.runner.order, Order.RESUME)  # it is written
    return {}


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


ENGINE_ROUTES = (
    DialectRoute("GET", "/", _status),
    DialectRoute("GET", "/ping", _status),
    DialectRoute("GET", "/status", _status),
    DialectRoute("GET", "/config/get", _config_get),
    DialectRoute("GET", "/plans/allowed", _plans_allowed),
    DialectRoute("GET", "/devices/allowed", _devices_allowed),
    DialectRoute("GET", "/plans/existing", _plans_existing),
    DialectRoute("GET", "/devices/existing", _devices_existing),
    DialectRoute("GET", "/permissions/get", _permissions_get),
    DialectRoute("POST", "/permissions/reload", _permissions_reload, "queue"),
    DialectRoute("POST", "/permissions/set", _permissions_set, "queue"),
    DialectRoute("POST", "/environment/open", _environment_open, "environment"),
    DialectRoute("POST", "/environment/close", _refused(NO_CLOSING), "environment"),
    DialectRoute("POST", "/environment/destroy", _refused(NO_CLOSING), "environment"),
    DialectRoute("POST", "/environment/update", _environment_update, "environment"),
    DialectRoute("POST", "/script/upload", _refused(NO_CODE), "environment"),
    DialectRoute("POST", "/function/execute", _refused(NO_CODE), "environment"),
    DialectRoute(
        "POST",
        "/kernel/interrupt",
        _refused("There is no IPython kernel here. POST /api/stop stops everything."),
        "environment",
    ),
    DialectRoute("GET", "/task/status", _task_status),
    DialectRoute("GET", "/task/result", _task_result),
    DialectRoute("POST", "/lock", _lock),
    DialectRoute("POST", "/unlock", _unlock),
    DialectRoute("GET", "/lock/info", _lock_info),
    DialectRoute("GET", "/console_output", _console_output),
    DialectRoute("GET", "/console_output/uid", _console_output_uid),
    DialectRoute("GET", "/console_output_update", _console_output_update),
    DialectRoute("POST", "/re/pause", _re_pause, "environment"),
    DialectRoute("POST", "/re/resume", _re_resume, "environment"),
    DialectRoute("POST", "/re/abort", _when_paused(Order.ABORT), "environment"),
    DialectRoute("POST", "/re/stop", _when_paused(Order.STOP), "environment"),
    DialectRoute("POST", "/re/halt", _when_paused(Order.HALT), "environment"),
    DialectRoute("POST", "/re/runs", _runs("active")),
    DialectRoute("GET", "/re/runs/active", _runs("active")),
    DialectRoute("GET", "/re/runs/open", _runs("open")),
    DialectRoute("GET", "/re/runs/closed", _runs("closed")),
)
