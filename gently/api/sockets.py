"""The WebSockets: events as they happen, and for Bluesky's clients the status and the console."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import anyio
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from gently.api.event_routes import EVENT_SOCKET
from gently.api.messages import Json, RequestRefusedError, parse
from gently.api.models import Nothing
from gently.api.routes import ApiSocket
from gently.api.slow import DeafClientError, drop, in_time
from gently.api.standing import as_long_as_known
from gently.api.status import status
from gently.core.access import NotAuthenticatedError, Principal, Scope, ScopeError
from gently.core.console import line
from gently.core.device_layer import DeviceLayer
from gently.core.encoding import encoded
from gently.core.errors import GentlyError
from gently.core.events import SlowFollowerError

__all__ = ["SOCKETS", "socket_route"]

_EVERY_S = 1.0
_TRY_LATER = 1013
_GOING_AWAY = 1001
_NOT_KNOWN = 4401
_MOST_REASON = 120  # a close frame has room for 123 bytes
Messages = AsyncGenerator[str]


def socket_route(socket: ApiSocket) -> WebSocketRoute:
    """Return the route as starlette takes it."""
    return WebSocketRoute(socket.path, _endpoint(socket), name=socket.path)


async def _statuses(layer: DeviceLayer, _: Nothing) -> Messages:
    """Yield the status now, whenever something has happened, and once a second."""
    async with aclosing(layer.events.follow(layer.events.last_seq, every_s=_EVERY_S)) as events:
        seen, now = "", status(layer)
        yield _told(now)
        async for event in events:
            seen, now = now["status_uid"], status(layer)
            if event is None or now["status_uid"] != seen:
                yield _told(now)


def _told(now: dict[str, Any]) -> str:
    return encoded({"time": now["time"], "msg": {"status": now}}).decode()


async def _lines(layer: DeviceLayer, _: Nothing) -> Messages:
    """Yield each line of the log from now on."""
    log = layer.console.lines
    async with aclosing(log.follow(log.last_seq, ["line"])) as events:
        async for event in events:
            if event is not None and event.kind == "line":
                yield encoded(line(event)).decode()


def _endpoint(route: ApiSocket) -> Callable[[WebSocket], Awaitable[None]]:
    async def endpoint(socket: WebSocket) -> None:
        try:
            _check_scope(route, socket.state.principal)
            body = parse(route.body, socket.query_params)
        except ScopeError as error:
            await _refuse(socket, error, 403)
            return
        except RequestRefusedError as error:
            await _refuse(socket, error, 422)
            return
        await socket.accept()
        async with anyio.create_task_group() as tasks:

            async def send() -> None:
                await _send(socket, route.messages(socket.state.layer, body))
                tasks.cancel_scope.cancel()

            tasks.start_soon(send)
            await _until_gone(socket)
            tasks.cancel_scope.cancel()

    return endpoint


def _check_scope(route: ApiSocket, principal: Principal) -> None:
    """Raise `ScopeError` if a key is not good for listening."""
    if principal.scope < route.scope:
        raise ScopeError(f"{route.path} takes a key with the scope {route.scope} or more")


async def _refuse(socket: WebSocket, error: GentlyError, status: int) -> None:
    """Answer instead of opening it."""
    answer = Json({"detail": str(error), "errors": list(getattr(error, "errors", ()))}, status)
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(answer)
    else:
        await socket.close(4000 + status, str(error)[:_MOST_REASON])


async def _send(socket: WebSocket, messages: Messages) -> None:
    """Send until there is nothing more, or the client has left or does not read."""
    async with aclosing(messages):
        with suppress(WebSocketDisconnect):  # it has left while it was told something
            try:
                await _send_all(socket, messages)
            except DeafClientError as error:
                await drop(socket, error)


async def _send_all(socket: WebSocket, messages: Messages) -> None:
    code, reason = _GOING_AWAY, "the device layer is shutting down"
    try:
        async with as_long_as_known(socket):
            async for message in messages:
                await in_time(socket.send_text(message))
    except NotAuthenticatedError as error:
        code, reason = _NOT_KNOWN, str(error)
    except SlowFollowerError as error:
        code, reason = _TRY_LATER, str(error)
        await drop(socket, error)
    await in_time(socket.close(code, reason[:_MOST_REASON]))


async def _until_gone(socket: WebSocket) -> None:
    """Read on, for that is how one learns that a client has left."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        continue


SOCKETS = (
    EVENT_SOCKET,
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
