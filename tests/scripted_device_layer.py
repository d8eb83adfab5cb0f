"""A device layer whose answers a test writes down: for faults and moments that cannot be timed.

It speaks HTTP on a loopback port from a thread. What a real device layer does of itself is
tested with the real one, in tests/e2e.
"""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

ANY = "{path:path}"
CUT = (200, "cut")
"""The answer that does not arrive: the connection breaks in its middle."""


class ScriptedDeviceLayer:
    """Answers `METHOD path` with what `answers` has: a response, or a list of them in turn.

    Attributes
    ----------
    answers : dict
        By "GET status" and the like: a JSON object, `(status, text or JSON)`, or a list of
        those, of which the last one stays. A callable is called for the answer.
    asked : list
        `(METHOD path, JSON body)` of each request, in order.
    streams : list
        What each connection to the events is sent before it is cut, in turn; the last one
        stays open until the server stops.
    keys : list
        The `Idempotency-Key` of each request with a body, in order.
    authorizations : list
        The `Authorization` of each request, in order.
    leases : list
        `(METHOD path, Gently-Lease)` of each request that came under a lease, in order.
    first_seq : int
        The number from which on a connection to the events begins.
    last_event_ids : list
        The `Last-Event-ID` of each connection to the events.
    """

    def __init__(self, port: int = 0) -> None:
        self.forget()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        app = Starlette(
            routes=[
                Route("/api/events", self._events),
                Route(f"/api/{ANY}", self._answer, methods=["GET", "POST"]),
            ]
        )
        config = uvicorn.Config(app, log_config=None, ws="none", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listener]}, name="scripted"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def forget(self) -> None:
        """Be as new: what was scripted and what was asked is gone."""
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []
        self.keys: list[str | None] = []
        self.authorizations: list[str | None] = []
        self.leases: list[tuple[str, str]] = []
        self.streams: list[list[dict[str, Any]]] = [[]]
        self.first_seq = 0
        self.last_event_ids: list[str | None] = []
        self.kinds: list[str] = []

    def publish(self, event: dict[str, Any]) -> None:
        """Send an event over the connection that stays open."""
        self.streams[-1].append(event)

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        key = f"{request.method} {request.path_params['path']}"
        self.asked.append((key, json.loads(body) if body else None))
        self.authorizations.append(request.headers.get("authorization"))
        if (number := request.headers.get("gently-lease")) is not None:
            self.leases.append((key, number))
        if body:
            self.keys.append(request.headers.get("idempotency-key"))
        answer = self.answers.get(key, (404, {"detail": f"nothing is scripted for {key}"}))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if callable(answer):
            answer = answer()
        if answer is CUT:
            return Response("", headers={"Content-Length": "5"})
        status, content = answer if isinstance(answer, tuple) else (200, answer)
        if isinstance(content, str):
            return Response(content, status)
        return JSONResponse(content, status)

    async def _events(self, request: Request) -> Response:
        self.last_event_ids.append(request.headers.get("last-event-id"))
        self.kinds.append(request.query_params.get("kinds", ""))
        stays = len(self.streams) == 1
        events = self.streams[0] if stays else self.streams.pop(0)

        async def stream() -> AsyncIterator[str]:
            yield f": hello\nid: {self.first_seq}\n\n"
            sent = 0
            while True:
                for event in events[sent:]:
                    sent += 1
                    data = json.dumps(event)
                    yield f"id: {event['seq']}\nevent: {event['kind']}\ndata: {data}\n\n"
                if not stays or self._server.should_exit:
                    return
                await asyncio.sleep(0.02)

        return StreamingResponse(stream(), media_type="text/event-stream")


@contextmanager
def scripted_device_layer(port: int = 0) -> Iterator[ScriptedDeviceLayer]:
    """Run one for the duration of the context."""
    with ScriptedDeviceLayer(port) as device_layer:
        yield device_layer


def item_state(state: str, item_uid: str = "i1", **more: Any) -> dict[str, Any]:
    """Return what `GET /api/items/{uid}` answers."""
    item = {"item_type": "plan", "name": "acquire_volume", "kwargs": {}, "item_uid": item_uid}
    result = {"exit_status": state, **more.pop("result", {})} if "result" in more else None
    return {"item": item, "state": state, "progress": None, "result": result, **more}
