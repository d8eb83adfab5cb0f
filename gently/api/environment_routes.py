"""Bluesky's routes about what there is, the process around the RunEngine, and tasks."""

import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from gently.api.describe import allowed_devices, allowed_plans
from gently.api.models import Answer, Body, Done, Json, Nothing, Refusal
from gently.api.routes import ApiRoute, Call, Given
from gently.api.status import StatusAnswer, status
from gently.core.access import Scope
from gently.core.errors import WrongStateError

__all__ = ["ENVIRONMENT_ROUTES"]

_OPEN = "The environment is open already: it is the device layer itself."
_NO_CODE = "Refused: plans are data here, and uploaded code never runs."
_NO_KERNEL = "There is no IPython kernel here. POST /api/stop stops everything."
_NO_CLOSING = (
    "Refused: the environment is the device layer itself, and open as long as it runs. End the "
    "process to let go of the microscope; POST /api/stop stops everything that moves."
)
_PERMISSIONS = {
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


class _PermissionsBody(Body):
    user_group_permissions: dict[str, Any]


class _UpdateBody(Body):
    run_in_background: bool = Field(default=False, description="Also while a plan runs.")


class _TaskStatusBody(Body):
    task_uid: str | list[str]


class _TaskResultBody(Body):
    task_uid: str


class _ConfigAnswer(Done):
    config: dict[str, Json] = Field(description="Empty: there is no IPython kernel.")


class _PermissionsAnswer(Done):
    user_group_permissions: dict[str, Json] = Field(
        description="Every plan and device, no function."
    )


class _Kind(Answer):
    name: str
    value: int


class _Annotation(Answer):
    type: str
    devices: dict[str, list[str]] | None = None
    enums: dict[str, list[Json]] | None = None


class _Parameter(Answer):
    name: str
    kind: _Kind
    annotation: _Annotation
    description: str | None = None
    default: str | None = Field(None, description="As Python writes it.")
    min: float | None = None
    max: float | None = None


class _Plan(Answer):
    name: str
    description: str
    module: str
    properties: dict[str, bool]
    parameters: list[_Parameter]
    schema_: dict[str, Json] = Field(
        alias="schema", description="The JSON Schema that the arguments are validated by."
    )


class _Limits(Answer):
    low: float
    high: float
    units: str


class _Device(Answer):
    classname: str
    module: str
    is_readable: bool
    is_movable: bool
    is_flyable: bool
    components: dict[str, Json]
    label: str = Field(description="In Micro-Manager.")
    limits: dict[str, _Limits] = Field(description="By axis, both ends allowed.")


class _PlansAllowed(Done):
    plans_allowed: dict[str, _Plan]
    plans_allowed_uid: str
    plans_unavailable: dict[str, str] = Field(
        description="The plans that this instrument cannot run, and why."
    )


class _PlansExisting(Done):
    plans_existing: dict[str, _Plan]
    plans_existing_uid: str


class _DevicesAllowed(Done):
    devices_allowed: dict[str, _Device]
    devices_allowed_uid: str


class _DevicesExisting(Done):
    devices_existing: dict[str, _Device]
    devices_existing_uid: str


class _TaskUid(Done):
    task_uid: str


class _TaskStatus(Done):
    task_uid: str | list[str]
    status: str | dict[str, str] = Field(
        description="`completed` or `not_found`; by uid if a list was asked for."
    )


class _TaskOutcome(Answer):
    task_uid: str
    success: bool
    msg: str
    return_value: Json
    time_start: float = Field(description="Seconds since 1970.")
    time_stop: float = Field(description="Seconds since 1970.")


class _TaskResult(Done):
    task_uid: str
    status: Literal["completed", "not_found"]
    result: _TaskOutcome | dict[str, None] = Field(description="`{}` if it is not known.")


# ---------------------------------------------------------------------- what there is


async def _status(call: Call[Nothing]) -> Given:
    return status(call.layer)


async def _config_get(_: Call[Nothing]) -> Given:
    return {"config": {"ip_connect_info": {}}}


async def _plans_allowed(call: Call[Nothing]) -> Given:
    return {
        "plans_allowed": allowed_plans(call.layer.catalogue),
        "plans_allowed_uid": call.layer.catalogue_uid,
        "plans_unavailable": call.layer.catalogue.unavailable,
    }


async def _devices_allowed(call: Call[Nothing]) -> Given:
    return {
        "devices_allowed": allowed_devices(call.layer.instrument.devices),
        "devices_allowed_uid": call.layer.catalogue_uid,
    }


async def _plans_existing(call: Call[Nothing]) -> Given:
    return {
        "plans_existing": allowed_plans(call.layer.catalogue),
        "plans_existing_uid": call.layer.catalogue_uid,
    }


async def _devices_existing(call: Call[Nothing]) -> Given:
    return {
        "devices_existing": allowed_devices(call.layer.instrument.devices),
        "devices_existing_uid": call.layer.catalogue_uid,
    }


async def _permissions_get(_: Call[Nothing]) -> Given:
    return {"user_group_permissions": _PERMISSIONS}


async def _permissions_reload(_: Call[Nothing]) -> Given:
    return {"msg": "Nothing has changed: the permissions are fixed."}


async def _permissions_set(call: Call[_PermissionsBody]) -> Given:
    if call.body.user_group_permissions != _PERMISSIONS:
        raise WrongStateError(
            "Refused: the permissions are fixed. Every client may ask for every plan that the "
            "instrument can run, within the limits of its file, and for nothing else."
        )
    return {}


# ---------------------------------------------------------------------- the environment


async def _environment_update(call: Call[_UpdateBody]) -> Given:
    layer = call.layer
    running = layer.queue.running
    if running is not None and not call.body.run_in_background:
        raise WrongStateError(
            f"The microscope is busy with {running.name}: wait for it, or run_in_background."
        )
    found = {"plans": [*layer.catalogue], "devices": [*layer.instrument.devices]}
    return {"task_uid": layer.tasks.complete(found, time.time())}


async def _task_status(call: Call[_TaskStatusBody]) -> Given:
    asked, tasks = call.body.task_uid, call.layer.tasks
    if isinstance(asked, str):
        return {"task_uid": asked, "status": tasks.status(asked)}
    return {"task_uid": asked, "status": {uid: tasks.status(uid) for uid in asked}}


async def _task_result(call: Call[_TaskResultBody]) -> Given:
    uid, tasks = call.body.task_uid, call.layer.tasks
    return {"task_uid": uid, "status": tasks.status(uid), "result": tasks.result(uid)}


# ---------------------------------------------------------------------- the table


def _looks(path: str, **what: Any) -> ApiRoute:
    return ApiRoute(method="GET", path=path, scope=Scope.VIEW, dialect=True, **what)


def _acts(
    path: str, *, scope: Scope = Scope.OPERATE, answer: type[BaseModel] = Done, **what: Any
) -> ApiRoute:
    return ApiRoute(
        method="POST",
        path=path,
        scope=scope,
        answer=answer,
        commands=True,
        dialect=True,
        **{"locked_by": "environment", **what},
    )


def _refuses(path: str, reason: str, summary: str) -> ApiRoute:
    async def handler(_: Call[Nothing]) -> Given:
        raise WrongStateError(reason)

    return _acts(path, handler=handler, summary=summary, answer=Refusal)


ENVIRONMENT_ROUTES = (
    *(
        _looks(path, handler=_status, summary="Everything that a client polls", answer=StatusAnswer)
        for path in ("/api/", "/api/ping", "/api/status")
    ),
    _looks(
        "/api/config/get",
        handler=_config_get,
        summary="How to reach the IPython kernel, of which there is none",
        answer=_ConfigAnswer,
    ),
    _looks(
        "/api/plans/allowed",
        handler=_plans_allowed,
        summary="The plans that this instrument can run, and the schemas of their arguments",
        answer=_PlansAllowed,
    ),
    _looks(
        "/api/devices/allowed",
        handler=_devices_allowed,
        summary="The devices, and the limits of their axes",
        answer=_DevicesAllowed,
    ),
    _looks(
        "/api/plans/existing",
        handler=_plans_existing,
        summary="The same plans as those allowed",
        answer=_PlansExisting,
    ),
    _looks(
        "/api/devices/existing",
        handler=_devices_existing,
        summary="The same devices as those allowed",
        answer=_DevicesExisting,
    ),
    _looks(
        "/api/permissions/get",
        handler=_permissions_get,
        summary="What clients may ask for, in the queue server's notation",
        answer=_PermissionsAnswer,
    ),
    _acts(
        "/api/permissions/reload",
        handler=_permissions_reload,
        summary="Read the permissions again, which are fixed",
        scope=Scope.ADMIN,
        locked_by="queue",
    ),
    _acts(
        "/api/permissions/set",
        handler=_permissions_set,
        summary="Refused, unless the permissions are what they are",
        scope=Scope.ADMIN,
        body=_PermissionsBody,
        locked_by="queue",
    ),
    _refuses("/api/environment/open", _OPEN, "Refused: the environment is always open"),
    _refuses("/api/environment/close", _NO_CLOSING, "Refused: the environment is always open"),
    _refuses("/api/environment/destroy", _NO_CLOSING, "Refused: the environment is always open"),
    _acts(
        "/api/environment/update",
        handler=_environment_update,
        summary="Read the plans and devices again, which is done at once",
        body=_UpdateBody,
        answer=_TaskUid,
    ),
    _refuses("/api/script/upload", _NO_CODE, "Refused: uploaded code never runs"),
    _refuses("/api/function/execute", _NO_CODE, "Refused: uploaded code never runs"),
    _refuses("/api/kernel/interrupt", _NO_KERNEL, "Refused: there is no IPython kernel"),
    _looks(
        "/api/task/status",
        handler=_task_status,
        summary="Whether tasks are done",
        body=_TaskStatusBody,
        answer=_TaskStatus,
    ),
    _looks(
        "/api/task/result",
        handler=_task_result,
        summary="What became of a task",
        body=_TaskResultBody,
        answer=_TaskResult,
    ),
)
