"""The WebSockets that Bluesky's clients listen to: status and console, as they change."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import anyio
from pydantic_core import to_json
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gently.api.routes import ApiSocket
from gently.api.status import status
from gently.core.access import Scope
from gently.core.console import line
from gently.core.device_layer import DeviceLayer

__all__ = ["SOCKETS", "socket_route"]

_EVERY_S = 1.0
Messages = AsyncGenerator[dict[str, Any]]


def socket_route(socket: ApiSocket) -> WebSocketRoute:
    """Return the route as starlette takes it."""
    return WebSocketRoute(socket.path, _endpoint(socket.messages), name=socket.path)


async def _statuses(layer: DeviceLayer) -> Messages:
    """Yield the status now, whenever something has happened, and once a second."""
    async with aclosing(layer.events.follow(layer.events.last_seq, every_s=_EVERY_S)) as events:
        seen, now = "", status(layer)
        yield _told(now)
        async for event in events:
            seen, now = now["status_uid"], status(layer)
            if event is None or now["status_uid"] != seen:
                yield _told(now)


def _told(now: dict[str, Any]) -> dict[str, Any]:
    return {"time": now["time"], "msg": {"status": now}}


async def _lines(layer: DeviceLayer) -> Messages:
    """Yield each line of the log from now on."""
    log = layer.console.lines
    async with aclosing(log.follow(log.last_seq, ["line"])) as events:
        async for event in events:
            if event is not None and event.kind == "line":
                yield line(event)


def _endpoint(
    messages: Callable[[DeviceLayer], Messages],
) -> Callable[[WebSocket], Awaitable[None]]:
    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                await _send(socket, messages(socket.state.layer))
                tasks.cancel_scope.cancel()

            tasks.start_soon(send)
            await _until_gone(socket)
            tasks.cancel_scope.cancel()

    return endpoint


async def _send(socket: WebSocket, messages: Messages) -> None:
    async with aclosing(messages):
        with suppress(WebSocketDisconnect):  # it has left while it was told something
            async for message in messages:
                await socket.send_text(to_json(message, inf_nan_mode="null", fallback=str).decode())
            await socket.close(1001, "the device layer is shutting down")


async def _until_gone(socket: WebSocket) -> None:
    """Read on, for that is how one learns that a client has left."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        continue


SOCKETS = (
    ApiSocket(
        path="/api/info/ws",
        messages=_statuses,
        summary="The status when it has changed, and once a second",
        scope=Scope.VIEW,
    ),
    ApiSocket(
        path="/api/status/ws",
        messages=_statuses,
        summary="The status when it has changed, and once a second",
        scope=Scope.VIEW,
    ),
    ApiSocket(
        path="/api/console_output/ws",
        messages=_lines,
        summary="Each line of the log",
        scope=Scope.VIEW,
    ),
)
