"""The feed of new volumes: one thread announces, any number of open pages hear of it.

Knows nothing of HTTP and of where the announcements come from.
"""

import asyncio
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

LOGGER = logging.getLogger(__name__)

Metadata = Mapping[str, Any]


class VolumeFeed:
    """Tells every open page of each new volume.

    `announce` and `close` may be called from any thread and never wait; `subscribe` belongs on an
    event loop.

    Parameters
    ----------
    backlog : int
        How many announcements may wait for one subscriber. One that falls further behind is
        dropped: its stream ends after what it still holds, and it must subscribe again and
        re-read the list of volumes.
    """

    def __init__(self, backlog: int = 64) -> None:
        self._backlog = backlog
        self._lock = threading.Lock()
        self._subscribers: set[_Subscriber] = set()
        self._closed = False

    def announce(self, metadata: Metadata) -> None:
        """Pass a published volume's metadata on to all subscribers."""
        with self._lock:
            for subscriber in self._subscribers:
                subscriber.offer(metadata)

    @contextmanager
    def subscribe(self) -> Iterator[MemoryObjectReceiveStream[Metadata]]:
        """Hear of every volume announced while the context is open.

        The stream ends when this subscriber was too slow or when the feed is closed.
        """
        outbox, inbox = anyio.create_memory_object_stream[Metadata](self._backlog)
        subscriber = _Subscriber(asyncio.get_running_loop(), outbox)
        with outbox, inbox:
            self._add(subscriber)
            try:
                yield inbox
            finally:
                with self._lock:
                    self._subscribers.discard(subscriber)

    def close(self) -> None:
        """End every stream, and those of later subscribers at once. Idempotent."""
        with self._lock:
            self._closed = True
            for subscriber in self._subscribers:
                subscriber.end()

    @property
    def subscribers(self) -> int:
        """How many streams are open."""
        with self._lock:
            return len(self._subscribers)

    def _add(self, subscriber: "_Subscriber") -> None:
        with self._lock:
            if self._closed:
                subscriber.outbox.close()
            else:
                self._subscribers.add(subscriber)


@dataclass(frozen=True, eq=False)
class _Subscriber:
    """One stream and the event loop that it lives on.

    It is only in the feed while its context is open, hence while its loop runs: handing work to
    the loop cannot fail.
    """

    loop: asyncio.AbstractEventLoop
    outbox: MemoryObjectSendStream[Metadata]

    def offer(self, metadata: Metadata) -> None:
        self.loop.call_soon_threadsafe(self._put, metadata)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.outbox.close)

    def _put(self, metadata: Metadata) -> None:
        try:
            self.outbox.send_nowait(metadata)
        except anyio.WouldBlock:
            LOGGER.warning("a page fell too far behind and was dropped; it reconnects by itself")
            self.outbox.close()
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            # It left, or was dropped, between the announcement and this turn of the loop.
            LOGGER.debug("an announcement came after its subscriber had left")
