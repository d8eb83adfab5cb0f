"""Connections to the device layer: they carry flows out, and tell failures apart."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeVar

import httpx
import httpx_sse

from gently.wire.errors import (
    ClientError,
    DeviceLayerFault,
    DeviceLayerUnreachable,
    Refused,
    ScopeTooSmall,
)
from gently.wire.flows import Flow, Pause, Request, read
from gently.wire.key import Key
from gently.wire.replies import FieldError

DEFAULT_URL: Final = "http://127.0.0.1:60610"
CONNECT_S: Final = 5.0
QUIET_S: Final = 30.0
"""A stream silent for this long is taken for dead: the device layer sends keep-alives."""

T = TypeVar("T")


class Holder(Protocol):
    """Whoever keeps the control of the microscope for a transport."""

    def headers(self) -> Mapping[str, str]:
        """Return what a command carries; raises `ControlLost`."""


class Transport:
    """Connections that block; may be used from several threads.

    Parameters
    ----------
    url : str
        Address of the device layer, without `/api`.
    timeout_s : float
        How long connecting, sending or waiting for an answer may take.
    api_key : str, optional
        The key to come with; without it, that of this user on this machine.

    Attributes
    ----------
    holding : Holder or None
        Under whose control commands are sent.

    Raises
    ------
    ValueError
        If `url` is no http address.
    """

    def __init__(self, url: str, timeout_s: float, api_key: str | None = None) -> None:
        self.url = _checked_url(url)
        self.holding: Holder | None = None
        self._key = Key(api_key)
        self._http = httpx.Client(**_options(self.url, timeout_s, self._key))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def carry_out(self, flow: Flow[T]) -> T:
        """Do all that the flow asks for and return what it returns."""
        try:
            step = next(flow)
            while True:
                try:
                    answer = self._do(step)
                except ClientError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value

    def _do(self, step: Request | Pause) -> dict[str, Any] | None:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        with _translated(self.url, changing=step.method != "GET"):
            response = self._http.send(_built(self._http, step, self.holding))
        return _checked(response, self._key)

    @contextlib.contextmanager
    def stream(self, listening: "Listening") -> Iterator["Stream"]:
        """Open the stream of events."""
        with (
            _translated(self.url, changing=False),
            httpx_sse.connect_sse(self._http, "GET", "events", **listening.options()) as source,
        ):
            if source.response.status_code != httpx.codes.OK:
                source.response.read()
                _checked(source.response, self._key)
            source.response.stream = _Watched(source.response.stream, listening.on_sign)
            yield Stream(source)


class AsyncTransport:
    """Connections for coroutines; belongs to the event loop in which it is first used.

    Its parameters are those of `Transport`.
    """

    def __init__(self, url: str, timeout_s: float, api_key: str | None = None) -> None:
        self.url = _checked_url(url)
        self.holding: Holder | None = None
        self._key = Key(api_key)
        self._http = httpx.AsyncClient(**_options(self.url, timeout_s, self._key))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def carry_out(self, flow: Flow[T]) -> T:
        """Do all that the flow asks for and return what it returns."""
        try:
            step = next(flow)
            while True:
                try:
                    answer = await self._do(step)
                except ClientError as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(answer)
        except StopIteration as end:
            value: T = end.value
            return value

    async def _do(self, step: Request | Pause) -> dict[str, Any] | None:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        with _translated(self.url, changing=step.method != "GET"):
            response = await self._http.send(_built(self._http, step, self.holding))
        return _checked(response, self._key)

    @contextlib.asynccontextmanager
    async def stream(self, listening: "Listening") -> AsyncIterator["AsyncStream"]:
        """Open the stream of events."""
        options = listening.options()
        with _translated(self.url, changing=False):
            async with httpx_sse.aconnect_sse(self._http, "GET", "events", **options) as source:
                if source.response.status_code != httpx.codes.OK:
                    await source.response.aread()
                    _checked(source.response, self._key)
                source.response.stream = _AsyncWatched(source.response.stream, listening.on_sign)
                yield AsyncStream(source)


@dataclass(frozen=True, kw_only=True)
class Listening:
    """What a connection to the events asks for.

    Attributes
    ----------
    query : mapping
        Of the URL.
    after : int or None
        Sequence number of the last event known: what came later is replayed.
    silence_s : float
        A stream without any byte for this long is taken for dead, or for useless.
    on_sign : callable
        Called whenever the device layer gives a sign of life; may raise.
    """

    query: Mapping[str, str]
    after: int | None
    silence_s: float
    on_sign: Callable[[], None]

    def options(self) -> dict[str, Any]:
        """Return it as httpx takes it."""
        return {
            "params": dict(self.query),
            "headers": {} if self.after is None else {"Last-Event-ID": str(self.after)},
            "timeout": httpx.Timeout(CONNECT_S, read=min(QUIET_S, self.silence_s)),
        }


class Message(NamedTuple):
    """One server-sent event; without text, only the number of the last one."""

    last_id: str
    kind: str
    text: str


class Stream:
    """An open stream of server-sent events."""

    def __init__(self, source: httpx_sse.EventSource) -> None:
        self._source = source

    def __iter__(self) -> Iterator[Message]:
        for message in self._source.iter_sse():
            yield Message(message.id, message.event, message.data)

    def hang_up(self) -> None:
        """Wake the thread that reads the stream: it sees the end of it. From any thread."""
        connection = self._source.response.extensions["network_stream"].get_extra_info("socket")
        # Gone already: then nobody reads it.
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


class AsyncStream:
    """An open stream of server-sent events for a coroutine."""

    def __init__(self, source: httpx_sse.EventSource) -> None:
        self._source = source

    async def __aiter__(self) -> AsyncIterator[Message]:
        async with contextlib.aclosing(self._source.aiter_sse()) as messages:
            async for message in messages:
                yield Message(message.id, message.event, message.data)


class _Watched(httpx.SyncByteStream):
    """A stream that tells of each byte: server-sent keep-alives are seen nowhere else."""

    def __init__(self, stream: Any, on_sign: Callable[[], None]) -> None:
        self._stream = stream
        self._on_sign = on_sign

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._on_sign()
            yield chunk

    def close(self) -> None:
        self._stream.close()


class _AsyncWatched(httpx.AsyncByteStream):
    def __init__(self, stream: Any, on_sign: Callable[[], None]) -> None:
        self._stream = stream
        self._on_sign = on_sign

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._on_sign()
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _options(url: str, timeout_s: float, key: Key) -> dict[str, Any]:
    # The device layer is on this machine: a proxy of the environment is never the way.
    return {"base_url": f"{url}/api/", "timeout": timeout_s, "trust_env": False, "auth": key}


def _built(
    http: httpx.Client | httpx.AsyncClient, request: Request, holding: Holder | None
) -> httpx.Request:
    under = holding.headers() if holding is not None and request.commands else {}
    return http.build_request(
        request.method,
        request.path,
        params=dict(request.query),
        json=request.body,
        headers={**under, **request.headers},
        timeout=http.timeout if request.timeout_s is None else request.timeout_s,
    )


@contextlib.contextmanager
def _translated(url: str, *, changing: bool) -> Iterator[None]:
    try:
        yield
    except httpx.TransportError as error:
        nobody = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)
        raise DeviceLayerUnreachable(
            url, _cause(error, changing=changing), may_be_heard=not nobody
        ) from error
    except httpx_sse.SSEError as error:
        raise DeviceLayerFault(f"{url} sent no event stream: {error}") from error


def _checked_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is no address ({error}); write it like {DEFAULT_URL}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise ValueError(f"{url!r} is no http address; write it like {DEFAULT_URL}")
    return str(parsed).rstrip("/")


def _checked(response: httpx.Response, key: Key) -> dict[str, Any]:
    """Return the JSON object of an answer, or raise what its status code means."""
    if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
        raise DeviceLayerFault(
            f"the device layer failed on {response.request.method} {response.url} "
            f"(HTTP {response.status_code}); its log has the cause"
        )
    try:
        reply = response.json()
    except ValueError:
        reply = None
    if not isinstance(reply, dict):
        raise DeviceLayerFault(
            f"{response.url} answered HTTP {response.status_code} with no JSON object: "
            "is another program at this address? The device layer prints its own at start"
        )
    if response.status_code >= httpx.codes.BAD_REQUEST:
        detail = str(reply.get("detail") or f"HTTP {response.status_code}")
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise key.refused(response.request, detail)
        if response.status_code == httpx.codes.FORBIDDEN:
            raise ScopeTooSmall(detail)
        errors = read(list[FieldError], reply.get("errors") or [])
        raise Refused(detail, errors, response.status_code)
    return reply


def _cause(error: httpx.TransportError, *, changing: bool) -> str:
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return "nothing listens there"
        case httpx.TimeoutException() if changing:
            return "no answer in time; whether the request was accepted, `queue` and `status` tell"
        case httpx.TimeoutException():
            return "no answer in time"
        case _:
            return f"the connection broke ({error or type(error).__name__})"
