"""The routes of our own, beside Bluesky's, with proper status codes."""

from collections.abc import AsyncIterator
from typing import Annotated

import anyio
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from gently.api.messages import Json, parse, read_parameters
from gently.core.device_layer import DeviceLayer
from gently.core.errors import GentlyError
from gently.core.events import Event
from gently.core.lifecycle import ItemState

__all__ = ["extension_routes"]


class _ListQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=10_000)] = 100


class _HistoryQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    state: ItemState | None = None
    search: Annotated[str, Field(max_length=200)] = ""


class _EventsQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    after: Annotated[int, Field(ge=0)] | None = None
    kinds: str = ""


class _StopBody(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Annotated[str, Field(max_length=500)] = "stop was asked for over HTTP"


def extension_routes() -> list[Route]:
    """Return the routes, each with its endpoint."""
    return [
        Route("/api/volumes", _volumes, methods=["GET"]),
        Route("/api/volumes/{uid:path}", _volume, methods=["GET"]),
        Route("/api/runs", _runs, methods=["GET"]),
        Route("/api/runs/{run_uid}/documents", _documents, methods=["GET"]),
        Route("/api/devices/{name}/read", _read_device, methods=["GET"]),
        Route("/api/history", _history, methods=["GET"]),
        Route("/api/items/{item_uid}", _read_item, methods=["GET"]),
        Route("/api/settings", _settings, methods=["GET"]),
        Route("/api/stop", _stop, methods=["POST"]),
        Route("/api/events", _events, methods=["GET"]),
    ]


def _layer(request: Request) -> DeviceLayer:
    layer: DeviceLayer = request.state.layer
    return layer


async def _volumes(request: Request) -> Json:
    limit = parse(_ListQuery, await read_parameters(request)).limit
    records = await run_in_threadpool(_layer(request).store.list, limit)
    return Json({"volumes": [record.metadata() for record in records]})


async def _volume(request: Request) -> Json:
    record = await run_in_threadpool(_layer(request).store.record, request.path_params["uid"])
    return Json(record.metadata())


async def _runs(request: Request) -> Json:
    limit = parse(_ListQuery, await read_parameters(request)).limit
    runs = await run_in_threadpool(_layer(request).documents.runs, limit)
    found = [{"run_uid": run.run_uid, "start": run.start, "stop": run.stop} for run in runs]
    return Json({"runs": found})


async def _documents(request: Request) -> StreamingResponse:
    uid = request.path_params["run_uid"]
    blocks = await run_in_threadpool(_layer(request).documents.blocks, uid)
    return StreamingResponse(blocks, media_type="application/x-ndjson")


async def _read_device(request: Request) -> Json:
    return Json(await run_in_threadpool(_layer(request).read_device, request.path_params["name"]))


async def _read_item(request: Request) -> Json:
    layer = _layer(request)
    item = layer.queue.find(request.path_params["item_uid"])
    return Json(
        {
            "item": item.request(),
            "state": item.state,
            "progress": layer.runner.progress if item.state in ("running", "paused") else None,
            "result": item.result.message() if item.result else None,
        }
    )


async def _history(request: Request) -> Json:
    query = parse(_HistoryQuery, await read_parameters(request))
    page = await run_in_threadpool(_layer(request).queue.search, **query.model_dump())
    return Json(
        {
            "items": [item.message() for _, item in page],
            "next": page[-1][0] if len(page) == query.limit else None,
        }
    )


async def _settings(request: Request) -> Json:
    layer = _layer(request)
    return Json(
        {
            "storage": str(layer.store.root),
            "instrument": layer.instrument.name,
            "session_id": layer.session_id,
            "version": layer.version,
            "mmcore": layer.instrument.core.versions(),
        }
    )


async def _stop(request: Request) -> Json:
    reason = await _stop_reason(request)
    # A limiter of its own: stop never queues behind other requests that wait for the hardware.
    report = await anyio.to_thread.run_sync(
        _layer(request).stop, reason, limiter=anyio.CapacityLimiter(1)
    )
    return Json(report.message())


async def _stop_reason(request: Request) -> str:
    """Return why: whatever the body is, it must not keep the stop from happening."""
    try:
        return parse(_StopBody, await read_parameters(request)).reason
    except GentlyError as error:
        return f"stop was asked for over HTTP; no reason could be read: {error}"


async def _events(request: Request) -> StreamingResponse:
    seen = request.headers.get("last-event-id")
    asked = {**request.query_params, **({"after": seen} if seen else {})}
    query = parse(_EventsQuery, asked)
    log = _layer(request).events
    first = log.last_seq if query.after is None else query.after
    kinds = frozenset(filter(None, query.kinds.split(",")))

    async def stream() -> AsyncIterator[bytes]:
        yield b": gently\n\n"
        async for event in log.follow(first, kinds):
            yield b": still here\n\n" if event is None else _encoded(event)

    return StreamingResponse(
        stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


def _encoded(event: Event) -> bytes:
    data: bytes = to_json(event.message(), inf_nan_mode="null", fallback=str)
    return f"id: {event.seq}\nevent: {event.kind}\ndata: ".encode() + data + b"\n\n"
