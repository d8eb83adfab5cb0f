"""What happens, as server-sent events and over a WebSocket: the same events, encoded once."""

from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from gently.api.messages import parse
from gently.api.models import OwnBody
from gently.api.routes import ApiRoute, ApiSocket, Call
from gently.api.slow import MOST_BEHIND, DeafClientError, drop, in_time
from gently.core.access import Scope
from gently.core.device_layer import DeviceLayer
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
    """Ends itself when its client does not read."""

    media_type = "text/event-stream"

    def __init__(self, request: Request, content: AsyncGenerator[bytes]) -> None:
        super().__init__(content, headers={"Cache-Control": "no-store"})
        self._request = request
        self._content = content

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            await in_time(send(message))

        try:
            async with aclosing(self._content):
                await super().stream_response(send_in_time)
        except DeafClientError as error:
            await drop(self._request, error)


async def _events(call: Call[EventsBody]) -> StreamingResponse:
    body = call.body
    if seen := call.request.headers.get("last-event-id"):
        body = body.model_copy(update={"after": parse(EventsBody, {"after": seen}).after})
    return _EventStream(call.request, _frames(call.request, call.layer.events, body))


async def _frames(request: Request, log: EventLog, body: EventsBody) -> AsyncGenerator[bytes]:
    after = body.first(log)
    # Whoever is cut off before the first event knows from where on to ask again.
    yield b": gently\nid: %d\n\n" % after
    try:
        async for events in log.batches(after, body.wanted, most_behind=MOST_BEHIND):
            if not events:
                yield b": still here\n\n"
            for chunk in _chunks(events):
                yield chunk
            after = events[-1].seq if events else after
    except SlowFollowerError as error:
        await drop(request, error)
        # Without an id: whoever comes back goes on after the last one that was sent.
        event = log.dropped(after, str(error))
        yield b"event: %b\ndata: %b\n\n" % (event.kind.encode(), event.encoded)


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
