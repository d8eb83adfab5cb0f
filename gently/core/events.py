"""The event log: what happened, numbered, kept for a while, followed by anyone.

Publishing never waits for a reader. A reader who comes back says the last number it has
seen and goes on from there; if that is too long ago it is told so.
"""

import asyncio
import itertools
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Event", "EventLog"]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Parameters
    ----------
    seq
        Rises by one with each event, and is higher in a later process.
    time
        Seconds since 1970.
    kind
        Such as ``"item.started"`` or ``"volume.published"``.
    data
        Plain values for JSON.
    """

    seq: int
    time: float
    kind: str
    data: dict[str, Any] = field(default_factory=dict)

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        return {"seq": self.seq, "time": self.time, "kind": self.kind, **self.data}


class EventLog:
    """A bounded log with any number of followers.

    Parameters
    ----------
    capacity
        How many events are kept for those who come back.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._events: deque[Event] = deque(maxlen=capacity)
        # Milliseconds since 1970: the numbers of a later process are always higher, so that a
        # reader who comes back after a restart is told what it has missed.
        self._last = time.time_ns() // 1_000_000
        self._lock = threading.Lock()
        self._bells: set[_Bell] = set()
        self._closed = False

    @property
    def last_seq(self) -> int:
        """The number of the newest event."""
        return self._last

    def publish(self, kind: str, **data: Any) -> Event:
        """Append an event; from any thread, without waiting for anyone."""
        with self._lock:
            self._last += 1
            event = Event(self._last, time.time(), kind, data)
            self._events.append(event)
            bells = tuple(self._bells)
        for bell in bells:
            bell.ring()
        return event

    def after(self, seq: int) -> list[Event]:
        """Return the events after `seq`; 0 asks for all there are.

        An ``events.lost`` leads if some in between are gone, be it that the log has
        dropped them or that the process was restarted (on a machine whose clock was set
        back, `seq` may then be a number that is yet to come).
        """
        with self._lock:
            first = self._last + 1 - len(self._events)
            is_lost = seq != 0 and not first - 1 <= seq <= self._last
            start = 0 if is_lost else max(0, seq + 1 - first)
            found = list(itertools.islice(self._events, start, None))
        if is_lost:
            lost = Event(first - 1, time.time(), "events.lost", {"first_available": first})
            return [lost, *found]
        return found

    async def follow(
        self, after: int, kinds: Collection[str] = (), *, every_s: float = 15
    ) -> AsyncGenerator[Event | None]:
        """Yield the events after `after` and then each as it comes, until the log is closed.

        None is yielded when nothing has happened for `every_s` seconds, so that the caller
        can find out whether its reader is still there.
        """
        bell = _Bell(asyncio.get_running_loop())
        with self._lock:
            self._bells.add(bell)
        try:
            while True:
                is_last_look = self._closed
                events = self.after(after)
                for event in events:
                    after = event.seq
                    if not kinds or event.kind in kinds or event.kind == "events.lost":
                        yield event
                if is_last_look:
                    return
                if not events and not await bell.wait(every_s):
                    yield None
        finally:
            with self._lock:
                self._bells.discard(bell)

    def close(self) -> None:
        """Let every follower come to its end."""
        self._closed = True
        with self._lock:
            bells = tuple(self._bells)
        for bell in bells:
            bell.ring()


class _Bell:
    """Wakes one coroutine from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = asyncio.Event()

    def ring(self) -> None:
        with suppress(RuntimeError):  # the loop is closed, and with it the follower
            self._loop.call_soon_threadsafe(self._rung.set)

    async def wait(self, timeout_s: float) -> bool:
        """Return False if nobody rang in time."""
        try:
            await asyncio.wait_for(self._rung.wait(), timeout_s)
        except TimeoutError:
            return False
        self._rung.clear()
        return True
