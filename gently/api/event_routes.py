"""What happens, as server-sent events."""

from collections.abc import AsyncIterator
from typing import Annotated

from pydantic import Field
from pydantic_core import to_json
from starlette.responses import StreamingResponse

from gently.api.messages import parse
from gently.api.models import OwnBody
from gently.api.routes import ApiRoute, Call
from gently.core.access import Scope
from gently.core.events import Event

__all__ = ["EVENT_ROUTES"]


class EventsBody(OwnBody):
    """From when on, and of what kinds."""

    after: Annotated[int, Field(ge=0)] | None = Field(
        None, description="A sequence number; 0 for all that are kept. By default from now on."
    )
    kinds: str = Field("", description="Separated by commas; all by default.")


async def _events(call: Call[EventsBody]) -> StreamingResponse:
    log, after = call.layer.events, call.body.after
    if seen := call.request.headers.get("last-event-id"):
        after = parse(EventsBody, {"after": seen}).after
    first = log.last_seq if after is None else after
    kinds = frozenset(filter(None, call.body.kinds.split(",")))

    async def stream() -> AsyncIterator[bytes]:
        # Whoever is cut off before the first event knows from where on to ask again.
        yield f": gently\nid: {first}\n\n".encode()
        async for event in log.follow(first, kinds):
            yield b": still here\n\n" if event is None else _encoded(event)

    return StreamingResponse(
        stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


def _encoded(event: Event) -> bytes:
    data: bytes = to_json(event.message(), inf_nan_mode="null", fallback=str)
    return f"id: {event.seq}\nevent: {event.kind}\ndata: ".encode() + data + b"\n\n"


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
