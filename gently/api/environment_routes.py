"""Bluesky's routes about the status, the process around the RunEngine, and tasks."""

import time
from typing import Any, Literal

from pydantic import Field

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


class EnvironmentUpdateBody(Body):
    """When to read them again."""

    run_in_background: bool = Field(default=False, description="Also while a plan runs.")


class TaskStatusBody(Body):
    """Which task, or which tasks."""

    task_uid: str | list[str]


class TaskResultBody(Body):
    """Which task."""

    task_uid: str


class ConfigAnswer(Done):
    """How to reach the IPython kernel."""

    config: dict[str, Json] = Field(description="Empty: there is no IPython kernel.")


class TaskStarted(Done):
    """A task that was begun."""

    task_uid: str


class TaskStatus(Done):
    """Whether tasks are done."""

    task_uid: str | list[str]
    status: str | dict[str, str] = Field(
        description="`completed` or `not_found`; by uid if a list was asked for."
    )


class TaskOutcome(Answer):
    """What became of a task."""

    task_uid: str
    success: bool
    msg: str
    return_value: Json
    time_start: float = Field(description="Seconds since 1970.")
    time_stop: float = Field(description="Seconds since 1970.")


class TaskResult(Done):
    """Whether a task is done, and what became of it."""

    task_uid: str
    status: Literal["completed", "not_found"]
    result: TaskOutcome | dict[str, None] = Field(description="`{}` if it is not known.")


# ---------------------------------------------------------------------- what there is


async def _status(call: Call[Nothing]) -> Given:
    return status(call.layer)


async def _config_get(_: Call[Nothing]) -> Given:
    return {"config": {"ip_connect_info": {}}}


# ---------------------------------------------------------------------- the environment


async def _environment_update(call: Call[EnvironmentUpdateBody]) -> Given:
    layer = call.layer
    running = layer.queue.running
    if running is not None and not call.body.run_in_background:
        raise WrongStateError(
            f"The microscope is busy with {running.name}: wait for it, or run_in_background."
        )
    found = {"plans": [*layer.catalogue], "devices": [*layer.devices]}
    return {"task_uid": layer.tasks.complete(found, time.time())}


async def _task_status(call: Call[TaskStatusBody]) -> Given:
    asked, tasks = call.body.task_uid, call.layer.tasks
    if isinstance(asked, str):
        return {"task_uid": asked, "status": tasks.status(asked)}
    return {"task_uid": asked, "status": {uid: tasks.status(uid) for uid in asked}}


async def _task_result(call: Call[TaskResultBody]) -> Given:
    uid, tasks = call.body.task_uid, call.layer.tasks
    return {"task_uid": uid, "status": tasks.status(uid), "result": tasks.result(uid)}


# ---------------------------------------------------------------------- the table


def _looks(path: str, **what: Any) -> ApiRoute:
    return ApiRoute(method="GET", path=path, scope=Scope.VIEW, dialect=True, **what)


def _acts(path: str, **what: Any) -> ApiRoute:
    return ApiRoute(
        method="POST",
        path=path,
        scope=Scope.OPERATE,
        locked_by="environment",
        commands=True,
        dialect=True,
        **what,
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
        answer=ConfigAnswer,
    ),
    _refuses("/api/environment/open", _OPEN, "Refused: the environment is always open"),
    _refuses("/api/environment/close", _NO_CLOSING, "Refused: the environment is always open"),
    _refuses("/api/environment/destroy", _NO_CLOSING, "Refused: the environment is always open"),
    _acts(
        "/api/environment/update",
        handler=_environment_update,
        summary="Read the plans and devices again, which is done at once",
        body=EnvironmentUpdateBody,
        answer=TaskStarted,
    ),
    _refuses("/api/script/upload", _NO_CODE, "Refused: uploaded code never runs"),
    _refuses("/api/function/execute", _NO_CODE, "Refused: uploaded code never runs"),
    _refuses("/api/kernel/interrupt", _NO_KERNEL, "Refused: there is no IPython kernel"),
    _looks(
        "/api/task/status",
        handler=_task_status,
        summary="Whether tasks are done",
        body=TaskStatusBody,
        answer=TaskStatus,
    ),
    _looks(
        "/api/task/result",
        handler=_task_result,
        summary="What became of a task",
        body=TaskResultBody,
        answer=TaskResult,
    ),
)
