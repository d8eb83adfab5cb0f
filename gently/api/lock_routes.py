"""Bluesky's routes about its lock."""

from typing import Annotated

from pydantic import Field, StrictBool
from starlette.concurrency import run_in_threadpool

from gently.api.models import Answer, Body, Done, LockKey
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope
from gently.core.device_layer import DeviceLayer

__all__ = ["LOCK_ROUTES"]

_Key = Annotated[str, Field(min_length=1, description="Whoever knows it may act, and unlock.")]


class LockBody(Body):
    """What to lock, and with which key."""

    lock_key: _Key
    environment: StrictBool = Field(default=False, description="Lock what makes something run.")
    queue: StrictBool = Field(default=False, description="Lock what changes the queue.")
    note: str | None = Field(None, description="Why, for those who are kept out.")


class UnlockBody(Body):
    """With which key it was locked."""

    lock_key: _Key


class LockInfo(Answer):
    """What is locked."""

    environment: bool
    queue: bool
    user: str | None = Field(description="Who has locked it.")
    time: float | None = Field(description="Since when, in seconds since 1970.")
    note: str | None
    time_str: str
    emergency_lock_key_is_set: bool


class LockAnswer(Done):
    """What is locked now."""

    lock_info: LockInfo
    lock_info_uid: str = Field(description="Changes when the lock does.")


async def _lock(call: Call[LockBody]) -> Given:
    body = call.body
    await run_in_threadpool(  # it is written
        call.layer.lock.lock,
        body.lock_key,
        environment=body.environment,
        queue=body.queue,
        user=call.principal.name,
        note=body.note,
    )
    return _info(call.layer)


async def _unlock(call: Call[UnlockBody]) -> Given:
    await run_in_threadpool(call.layer.lock.unlock, call.body.lock_key)
    return _info(call.layer)


async def _lock_info(call: Call[LockKey]) -> Given:
    if (key := call.body.lock_key) is not None:
        call.layer.lock.check(key, "environment", "queue")
    return _info(call.layer)


def _info(layer: DeviceLayer) -> Given:
    return {"lock_info": layer.lock.info(), "lock_info_uid": layer.lock.uid}


LOCK_ROUTES = (
    ApiRoute(
        method="POST",
        path="/api/lock",
        handler=_lock,
        summary="Keep clients without the key from the queue, the environment or both",
        scope=Scope.OPERATE,
        body=LockBody,
        answer=LockAnswer,
        commands=True,
        dialect=True,
    ),
    ApiRoute(
        method="POST",
        path="/api/unlock",
        handler=_unlock,
        summary="Unlock the queue and the environment",
        scope=Scope.OPERATE,
        body=UnlockBody,
        answer=LockAnswer,
        commands=True,
        dialect=True,
    ),
    ApiRoute(
        method="GET",
        path="/api/lock/info",
        handler=_lock_info,
        summary="What is locked, by whom, since when and why",
        scope=Scope.VIEW,
        body=LockKey,
        answer=LockAnswer,
        dialect=True,
    ),
)
