"""The device layer's events, one after the other, over as many connections as it takes."""

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Final, Self

from gently.wire.errors import ClientError, DeviceLayerUnreachable
from gently.wire.replies import Event
from gently.wire.transport import Stream, Transport

LOGGER = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.1
LAST_RETRY_S: Final = 2.0


class EventStream(Iterator[Event]):
    """Events as they happen; a lost connection is taken up again after the last one seen.

    Iterate over it in one thread; `close` may be called from any other and ends the
    iteration at once. It is a context manager. Made by `DeviceLayerClient.events`,
    which describes the parameters.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        after: int | None,
        kinds: Iterable[str],
        on_connect: Callable[[], None] | None,
        on_lost: Callable[[ClientError], None] | None,
        patience_s: float | None,
    ) -> None:
        self._transport = transport
        self._last_seq = after
        self._query = {"kinds": ",".join(kinds)}
        self._on_connect = on_connect
        self._on_lost = on_lost
        self._patience_s = patience_s
        self._heard = time.monotonic()
        self._lost = False
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._stream: Stream | None = None
        self._events = self._all()

    @property
    def last_seq(self) -> int | None:
        """Sequence number of the last event delivered."""
        return self._last_seq

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._events.close()

    def close(self) -> None:
        """End the stream; a reader that waits in another thread returns at once."""
        self._closed.set()
        with self._lock:
            if self._stream is not None:
                self._stream.hang_up()

    def _all(self) -> Generator[Event, None, None]:
        retry_s = FIRST_RETRY_S
        while not self._closed.is_set():
            try:
                for event in self._one_connection():
                    retry_s = FIRST_RETRY_S
                    yield event
                self._note_loss(
                    DeviceLayerUnreachable(self._transport.url, "it ended the event stream")
                )
            except ClientError as error:
                self._note_loss(error)
            self._closed.wait(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)

    def _one_connection(self) -> Iterator[Event]:
        with (
            self._transport.stream("events", self._query, self._last_seq) as stream,
            self._hung_up_by_close(stream),
        ):
            self._note_connection()
            for kind, text in stream:
                self._heard = time.monotonic()
                if (event := _event(kind, text)) is not None:
                    self._last_seq = event.seq
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

    def _note_connection(self) -> None:
        self._lost = False
        self._heard = time.monotonic()
        if self._on_connect is not None:
            self._on_connect()

    def _note_loss(self, error: ClientError) -> None:
        if self._closed.is_set():
            return
        LOGGER.debug("event stream: %s", error)
        if self._patience_s is not None and time.monotonic() - self._heard > self._patience_s:
            raise error
        if not self._lost and self._on_lost is not None:
            self._on_lost(error)
        self._lost = True


def _event(kind: str, text: str) -> Event | None:
    try:
        data = json.loads(text)
        return Event.model_validate({**data, "kind": kind, "data": data})
    except (ValueError, TypeError) as error:
        # One message of a device layer of another version must not end the stream.
        LOGGER.warning("skipped an event that cannot be read: %.200r (%s)", text, error)
        return None
