"""What happens, as server-sent events and over a WebSocket: the same events, encoded once."""

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Send

from gently.api.messages import parse
from gently.api.models import OwnBody
from gently.api.routes import ApiRoute, ApiSocket, Call
from gently.api.slow import MOST_BEHIND, DeafClientError, drop, in_time
from gently.api.standing import as_long_as_known
from gently.core.access import NotAuthenticatedError, Scope
from gently.core.device_layer import DeviceLayer
from gently.core.errors import GentlyError
from gently.core.events import Event, EventLog, SlowFollowerError

__all__ = ["EVENT_ROUTES", "EVENT_SOCKET"]

_CHUNK_BYTES = 1 << 16


class EventsBody(OwnBody):
    """From when on, and of what kinds."""

    after: Annotated[int, Field(ge=0)] | None = Field(
        None, description="A sequence number; 0 for all that are kept. By default from now on."
    )
    kinds: str = Field("", description="Separated by commas; all by default.")

    def first(self, log: EventLog) -> int:
        """Return the number after which to begin."""
        return log.last_seq if self.after is None else self.after

    @property
    def wanted(self) -> frozenset[str]:
        """The kinds; empty for all."""
        return frozenset(filter(None, self.kinds.split(",")))


# ---------------------------------------------------------------------- server-sent


class _EventStream(StreamingResponse):
    """Ends itself when its client does not read, or is not known any more."""

    media_type = "text/event-stream"

    def __init__(self, request: Request, log: EventLog, body: EventsBody) -> None:
        self._request = request
        self._log = log
        self._after = body.first(log)
        self._content = self._frames(body.wanted)
        super().__init__(self._content, headers={"Cache-Control": "no-store"})

    async def stream_response(self, send: Send) -> None:
        try:
            await self._stream(lambda message: in_time(send(message)))
        except DeafClientError as error:
            await drop(self._request, error)

    async def _stream(self, send: Send) -> None:
        try:
            async with aclosing(self._content), as_long_as_known(self._request):
                await super().stream_response(send)
        except NotAuthenticatedError as error:
            await send({"type": "http.response.body", "body": self._farewell(error)})

    async def _frames(self, wanted: frozenset[str]) -> AsyncGenerator[bytes]:
        # Whoever is cut off before the first event knows from where on to ask again.
        yield b": gently\nid: %d\n\n" % self._after
        try:
            async for events in self._log.batches(self._after, wanted, most_behind=MOST_BEHIND):
                if not events:
                    yield b": still here\n\n"
                for chunk in _chunks(events):
                    yield chunk
                self._after = events[-1].seq if events else self._after
        except SlowFollowerError as error:
            await drop(self._request, error)
            yield self._farewell(error)

    def _farewell(self, why: GentlyError) -> bytes:
        # Without an id: whoever comes back goes on after the last one that was sent.
        event = self._log.dropped(self._after, str(why))
        return b"event: %b\ndata: %b\n\n" % (event.kind.encode(), event.encoded)


async def _events(call: Call[EventsBody]) -> StreamingResponse:
    body = call.body
    if seen := call.request.headers.get("last-event-id"):
        body = body.model_copy(update={"after": parse(EventsBody, {"after": seen}).after})
    return _EventStream(call.request, call.layer.events, body)


def _chunks(events: Iterable[Event]) -> Iterator[bytes]:
    """Yield many events at a time, but never much at once."""
    chunk = bytearray()
    for event in events:
        chunk += b"id: %d\nevent: %b\ndata: %b\n\n" % (
            event.seq,
            event.kind.encode(),
            event.encoded,
        )
        if len(chunk) >= _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    if chunk:
        yield bytes(chunk)


# ---------------------------------------------------------------------- over a WebSocket


async def _messages(layer: DeviceLayer, body: EventsBody) -> AsyncGenerator[str]:
    log = layer.events
    batches = log.batches(body.first(log), body.wanted, most_behind=MOST_BEHIND)
    async with aclosing(batches):
        async for events in batches:
            for event in events:
                yield event.encoded.decode()


EVENT_ROUTES = (
    ApiRoute(
        method="GET",
        path="/api/events",
        handler=_events,
        summary="What happens, as server-sent events",
        scope=Scope.VIEW,
        body=EventsBody,
        answer=None,
        media_type="text/event-stream",
        headers=("Last-Event-ID",),
    ),
)

EVENT_SOCKET = ApiSocket(
    path="/api/events/ws",
    messages=_messages,
    summary="What happens, an event a message",
    scope=Scope.VIEW,
    body=EventsBody,
)
