"""The device layer's events, one after the other, over as many connections as it takes."""

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final, Self

from gently.wire.errors import ClientError, DeviceLayerUnreachable, QuietTooLong
from gently.wire.replies import Event
from gently.wire.transport import AsyncTransport, Listening, Message, Stream, Transport

LOGGER = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Following:
    """What is followed, and how patiently; described by `client.events`."""

    after: int | None
    kinds: tuple[str, ...]
    on_connect: Callable[[], None] | None
    on_lost: Callable[[ClientError], None] | None
    timeout_s: float
    patience_s: float

    def blocking(self, transport: Transport) -> "EventStream":
        """Return them for a client that blocks."""
        return EventStream(transport, self)

    def awaited(self, transport: AsyncTransport) -> "AsyncEventStream":
        """Return them for a client that is awaited."""
        return AsyncEventStream(transport, self)


class _Place:
    """What is known of a stream over all its connections."""

    def __init__(self, following: Following, url: str) -> None:
        self.last_seq = following.after
        self._following = following
        self._url = url
        self._asked = self._heard = time.monotonic()
        self._retry_s = FIRST_RETRY_S
        self._lost = False

    def ask(self) -> None:
        """Note that the next event is waited for from now on."""
        self._asked = time.monotonic()

    def listening(self) -> Listening:
        """Return what the next connection asks for."""
        return Listening(
            query={"kinds": ",".join(self._following.kinds)},
            after=self.last_seq,
            silence_s=self._following.timeout_s,
            on_sign=self._note_sign,
        )

    def connected(self) -> None:
        """Note that the connection is there."""
        self._lost = False
        self._heard = time.monotonic()
        if self._following.on_connect is not None:
            self._following.on_connect()

    def event(self, message: Message) -> Event | None:
        """Return the event of a message, if it can be read."""
        self._retry_s = FIRST_RETRY_S
        try:
            if not message.text:  # a stream begins by saying where it begins
                self.last_seq = int(message.last_id)
                return None
            data = json.loads(message.text)
            event = Event.model_validate({**data, "kind": message.kind, "data": data})
        except (ValueError, TypeError) as error:
            # One message of a device layer of another version must not end the stream.
            LOGGER.warning("skipped an event that cannot be read: %s (%s)", message, error)
            return None
        self.last_seq = event.seq
        return event

    def lost(self, error: ClientError) -> float:
        """Note that the connection is gone; return after how many seconds to try again."""
        LOGGER.debug("event stream: %s", error)
        if time.monotonic() - self._heard >= self._following.patience_s:
            raise error
        if self._waited_too_long():
            raise self._quiet() from error
        if not self._lost and self._following.on_lost is not None:
            self._following.on_lost(error)
        self._lost = True
        retry_s = self._retry_s
        self._retry_s = min(2 * retry_s, LAST_RETRY_S)
        return retry_s

    def ended(self) -> DeviceLayerUnreachable:
        """Return what it means that the other side has ended the stream."""
        return DeviceLayerUnreachable(self._url, "it ended the event stream")

    def _note_sign(self) -> None:
        self._heard = time.monotonic()
        if self._waited_too_long():
            raise self._quiet()

    def _waited_too_long(self) -> bool:
        return time.monotonic() - self._asked >= self._following.timeout_s

    def _quiet(self) -> QuietTooLong:
        kinds = ", ".join(self._following.kinds) or "of any kind"
        return QuietTooLong(
            f"no event ({kinds}) came from {self._url} in {self._following.timeout_s:g} s. "
            "Iterate again to go on, or give events(timeout_s=...) more"
        )


class EventStream(Iterator[Event]):
    """Events as they happen; a lost connection is taken up again after the last one seen.

    Iterate over it in one thread; `close` may be called from any other and ends the
    iteration at once. It is a context manager. Made by `DeviceLayerClient.events`.
    """

    def __init__(self, transport: Transport, following: Following) -> None:
        self._transport = transport
        self._place = _Place(following, transport.url)
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._events = self._all()

    @property
    def last_seq(self) -> int | None:
        """Sequence number of the last event delivered."""
        return self._place.last_seq

    def __next__(self) -> Event:
        self._place.ask()
        try:
            return next(self._events)
        except QuietTooLong:
            self._events = self._all()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._events.close()

    def close(self) -> None:
        """End the stream; a reader that waits in another thread returns at once."""
        self._closed.set()
        with self._lock:
            if self._stream is not None:
                self._stream.hang_up()

    def _all(self) -> Generator[Event, None, None]:
        while not self._closed.is_set():
            try:
                yield from self._one_connection()
                raise self._place.ended()
            except QuietTooLong:
                raise
            except ClientError as error:
                if not self._closed.is_set():
                    self._closed.wait(self._place.lost(error))

    def _one_connection(self) -> Iterator[Event]:
        place = self._place
        with (
            self._transport.stream(place.listening()) as stream,
            self._hung_up_by_close(stream),
        ):
            place.connected()
            for message in stream:
                if (event := place.event(message)) is not None:
                    yield event

    @contextlib.contextmanager
    def _hung_up_by_close(self, stream: Stream) -> Iterator[None]:
        with self._lock:
            self._stream = stream
            if self._closed.is_set():
                stream.hang_up()
        try:
            yield
        finally:
            with self._lock:
                self._stream = None


class AsyncEventStream(AsyncIterator[Event]):
    """Events as they happen, for a coroutine; otherwise as `EventStream`.

    Use it as a context manager: leaving that closes the connection.
    """

    def __init__(self, transport: AsyncTransport, following: Following) -> None:
        self._transport = transport
        self._place = _Place(following, transport.url)
        self._events = self._all()

    @property
    def last_seq(self) -> int | None:
        """Sequence number of the last event delivered."""
        return self._place.last_seq

    async def __anext__(self) -> Event:
        self._place.ask()
        try:
            return await anext(self._events)
        except QuietTooLong:
            self._events = self._all()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; between two events, from the task that reads them."""
        await self._events.aclose()

    async def _all(self) -> AsyncGenerator[Event]:
        while True:
            try:
                async with contextlib.aclosing(self._one_connection()) as events:
                    async for event in events:
                        yield event
                raise self._place.ended()
            except QuietTooLong:
                raise
            except ClientError as error:
                await asyncio.sleep(self._place.lost(error))

    async def _one_connection(self) -> AsyncGenerator[Event]:
        place = self._place
        async with self._transport.stream(place.listening()) as stream:
            place.connected()
            async for message in stream:
                if (event := place.event(message)) is not None:
                    yield event
