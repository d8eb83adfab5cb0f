"""Routes about what moves: Bluesky's about the RunEngine, and stop, which goes past it."""

from typing import Annotated, Any, Literal

import anyio
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gently.api.models import Answer, Body, Done, Json, Nothing, OwnBody
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope
from gently.core.errors import WrongStateError
from gently.core.runner import Order

__all__ = ["ENGINE_ROUTES"]

_Option = Literal["active", "open", "closed"]


class PauseBody(Body):
    """When to pause."""

    option: Literal["deferred", "immediate"] = Field(
        "deferred", description="At the next checkpoint, or at once."
    )


class RunsBody(Body):
    """Which runs."""

    option: _Option = "active"


class StopBody(OwnBody):
    """Why."""

    reason: Annotated[str, Field(max_length=500)] = "stop was asked for over HTTP"


class EngineRun(Answer):
    """A Bluesky run."""

    uid: str
    scan_id: int
    is_open: bool
    exit_status: str | None = Field(description="Bluesky's; null while the run is open.")


class RunList(Done):
    """The runs of an item."""

    run_list: list[EngineRun] = Field(description="Of the present item, or the last.")
    run_list_uid: str = Field(description="Changes when the list does.")


class StopReading(Answer):
    """What a device was read back as."""

    value: Json
    timestamp: float = Field(description="Seconds since 1970.")
    units: str


class DeviceAfterStop(Answer):
    """What was found of a device after the stop."""

    stopped: bool
    readings: dict[str, StopReading]
    error: str = Field("", description="Why it did not stop, if it did not.")


class StopAnswer(Answer):
    """What a stop has achieved."""

    success: bool = Field(description="Whether everything is at rest and known to be.")
    msg: str
    devices: dict[str, DeviceAfterStop] = Field(description="What was read back of each.")
    item_uid: str | None = Field(description="Of the item that was ended.")
    seconds: float = Field(description="From the request to the last read-back.")


async def _re_pause(call: Call[PauseBody]) -> Given:
    at_once = call.body.option == "immediate"
    call.layer.runner.order(Order.PAUSE if at_once else Order.PAUSE_DEFERRED)
    return {}


async def _re_resume(call: Call[Nothing]) -> Given:
    await run_in_threadpool(call.layer.runner.order, Order.RESUME)  # it is written
    return {}


async def _re_runs(call: Call[RunsBody]) -> Given:
    return _runs(call, call.body.option)


def _runs(call: Call[Any], wanted: _Option) -> Given:
    runs, uid = call.layer.runner.runs.snapshot()
    found = [
        run.message()
        for run in runs
        if wanted == "active" or (run.exit_status is None) == (wanted == "open")
    ]
    return {"run_list": found, "run_list_uid": uid}


async def _stop(call: Call[StopBody]) -> Given:
    # A limiter of its own: stop never queues behind other requests that wait for the hardware.
    report = await anyio.to_thread.run_sync(
        call.layer.stop, call.body.reason, limiter=anyio.CapacityLimiter(1)
    )
    return report.message()


def _commands(path: str, **what: Any) -> ApiRoute:
    return ApiRoute(
        method="POST",
        path=path,
        scope=Scope.OPERATE,
        answer=Done,
        locked_by="environment",
        commands=True,
        dialect=True,
        **what,
    )


def _ends(order: Order) -> ApiRoute:
    async def handler(call: Call[Nothing]) -> Given:
        runner = call.layer.runner
        if runner.state != "paused":
            raise WrongStateError(
                f"A plan can be told to {order} only while it is paused (it is "
                f"{runner.state}). POST /api/stop ends it in any state."
            )
        runner.order(order, f"{order} was asked for")
        return {}

    return _commands(f"/api/re/{order}", handler=handler, summary=f"{order.title()} a paused plan")


def _lists(option: _Option) -> ApiRoute:
    async def handler(call: Call[Nothing]) -> Given:
        return _runs(call, option)

    return ApiRoute(
        method="GET",
        path=f"/api/re/runs/{option}",
        handler=handler,
        summary=f"The {option} runs of the present item",
        scope=Scope.VIEW,
        answer=RunList,
        dialect=True,
    )


ENGINE_ROUTES = (
    _commands(
        "/api/re/pause",
        handler=_re_pause,
        summary="Pause the plan that runs",
        body=PauseBody,
    ),
    _commands("/api/re/resume", handler=_re_resume, summary="Go on with a paused plan"),
    *(_ends(order) for order in (Order.ABORT, Order.STOP, Order.HALT)),
    ApiRoute(
        method="POST",
        path="/api/re/runs",
        handler=_re_runs,
        summary="The runs of the present item",
        scope=Scope.VIEW,
        body=RunsBody,
        answer=RunList,
        dialect=True,
    ),
    *(_lists(option) for option in ("active", "open", "closed")),
    ApiRoute(
        method="POST",
        path="/api/stop",
        handler=_stop,
        summary="Stop everything that moves, put out the light, end the plan; at any time",
        scope=Scope.VIEW,  # whoever may look may stop
        body=StopBody,
        answer=StopAnswer,
        changes=True,
        forgives=True,
    ),
)
