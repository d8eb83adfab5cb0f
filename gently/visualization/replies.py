"""How replies go over HTTP: computed off the loop, by tag, whole, in part or bit by bit."""

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack, cast

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

Args = TypeVarTuple("Args")
Result = TypeVar("Result")

# A volume never changes, so neither does what is fully named within it.
IMMUTABLE: Final = "private, max-age=31536000, immutable"
REVALIDATE: Final = "private, no-cache"

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII | re.IGNORECASE)


class ClosingStream(StreamingResponse):
    """A stream whose generator ends with the connection, not at some garbage collection."""

    async def stream_response(self, send: Send) -> None:
        """Send what the generator yields, then close it."""
        async with aclosing(cast("AsyncGenerator[str | bytes]", self.body_iterator)):
            await super().stream_response(send)


async def in_thread(call: Callable[[Unpack[Args]], Result], *args: *Args) -> Result:
    """Run a blocking call on a worker thread."""
    # A stop need not wait for a volume that is being read: its thread ends by itself.
    return await anyio.to_thread.run_sync(call, *args, abandon_on_cancel=True)


def not_modified(request: Request[Any], headers: Mapping[str, str]) -> Response | None:
    """Return the reply to a client that has what these headers' tag names already, or None."""
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return None


async def send_bytes(
    request: Request[Any],
    read: Callable[[], bytes],
    size: int,
    headers: Mapping[str, str],
    media_type: str,
) -> Response:
    """Answer with bytes or the one part of them that is asked for.

    Parameters
    ----------
    read
        Gets them; run on a thread, and only when some are sent.
    size
        How many they are.
    headers
        With their tag.
    """
    if known := not_modified(request, headers):
        return known
    described = {**headers, "accept-ranges": "bytes"}
    try:
        part = _part(request, headers["etag"], size)
    except ValueError:
        described["content-range"] = f"bytes */{size}"
        return Response(status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, headers=described)
    if part is not None:
        described["content-range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    status = HTTPStatus.OK if part is None else HTTPStatus.PARTIAL_CONTENT
    part = part or range(size)
    if request.method == "HEAD":
        described["content-length"] = str(len(part))
        return Response(None, status, described, media_type)
    body = await in_thread(read)
    return Response(body[part.start : part.stop], status, described, media_type)


def _part(request: Request[Any], etag: str, size: int) -> range | None:
    """Return the bytes asked for, None for all of them; raises ValueError for none of them.

    More than one part, or a unit that is not bytes, may be ignored, and is.
    """
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if not asked or not any(asked.groups()) or request.headers.get("if-range", etag) != etag:
        return None
    first, last = asked.groups()
    if not first:
        part = range(max(0, size - int(last)), size)
    elif last and int(last) < int(first):
        return None
    else:
        part = range(int(first), min(int(last) + 1, size) if last else size)
    if not part:
        raise ValueError
    return part
