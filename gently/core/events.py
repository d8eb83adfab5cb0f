"""The event log: what happened, numbered, kept for a while, followed by anyone.

Publishing never waits for a reader. A reader who comes back says the last number it has
seen and goes on from there; if that is too long ago it is told so. Each event is encoded
once, when it is published: what becomes of its parts afterwards changes nothing, and a
hundred followers cost no more encoding than one.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from gently.core.encoding import encoded
from gently.core.errors import GentlyError

__all__ = ["Event", "EventLog", "SlowFollowerError"]

MOST_BYTES: Final = 64 << 20


class SlowFollowerError(GentlyError):
    """A follower takes events more slowly than they come; says how far behind it is."""


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
    encoded
        All of it as one JSON object.
    """

    seq: int
    time: float
    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    encoded: bytes = field(default=b"", repr=False, compare=False)

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        return {"seq": self.seq, "time": self.time, "kind": self.kind, **self.data}


class EventLog:
    """A bounded log with any number of followers.

    Parameters
    ----------
    capacity
        How many events are kept for those who come back.
    most_bytes
        How much they may take in all, encoded; the newest is kept whatever its size.
    """

    def __init__(self, capacity: int = 10_000, most_bytes: int = MOST_BYTES) -> None:
        self._capacity = capacity
        self._most_bytes = most_bytes
        self._events: deque[Event] = deque()
        self._bytes = 0
        # Milliseconds since 1970: the numbers of a later process are always higher, so that a
        # reader who comes back after a restart is told what it has missed.
        self._last = time.time_ns() // 1_000_000
        self._lock = threading.Lock()
        self._bells: dict[asyncio.AbstractEventLoop, _Bell] = {}
        self._closed = False

    @property
    def last_seq(self) -> int:
        """The number of the newest event."""
        return self._last

    @property
    def followers(self) -> int:
        """How many follow it now."""
        with self._lock:
            return sum(bell.followers for bell in self._bells.values())

    def publish(self, kind: str, **data: Any) -> Event:
        """Append an event; from any thread, without waiting for anyone."""
        body = encoded(data)  # outside of the lock: it takes its time where there is much of it
        with self._lock:
            event = _event(self._last + 1, kind, data, body)
            self._last = event.seq
            self._events.append(event)
            self._bytes += len(event.encoded)
            while len(self._events) > self._capacity or (
                self._bytes > self._most_bytes and len(self._events) > 1
            ):
                self._bytes -= len(self._events.popleft().encoded)
            bells = tuple(self._bells.values())
        for bell in bells:
            bell.ring()
        return event

    def dropped(self, after: int, reason: str) -> Event:
        """Return what to send last to a follower that is dropped: it is told, and not kept.

        Parameters
        ----------
        after
            The number of the last event that it was sent: the one to come back with.
        reason
            Why.
        """
        data = {"reason": reason}
        return _event(after, "events.dropped", data, encoded(data))

    def after(self, seq: int) -> list[Event]:
        """Return the events after `seq`; 0 asks for all there are.

        An ``events.lost`` leads if some in between are gone, be it that the log has
        dropped them or that the process was restarted (on a machine whose clock was set
        back, `seq` may then be a number that is yet to come).
        """
        with self._lock:
            first = self._last + 1 - len(self._events)
            is_lost = seq != 0 and not first - 1 <= seq <= self._last
            found = []
            for event in reversed(self._events):  # a follower misses the last few, of thousands
                if not is_lost and event.seq <= seq:
                    break
                found.append(event)
        if is_lost:
            data = {"first_available": first}
            found.append(_event(first - 1, "events.lost", data, encoded(data)))
        found.reverse()
        return found

    async def follow(
        self, after: int, kinds: Collection[str] = (), *, every_s: float = 15
    ) -> AsyncGenerator[Event | None]:
        """Yield the events after `after` and then each as it comes, until the log is closed.

        None is yielded when nothing has happened for `every_s` seconds, so that the caller
        can find out whether its reader is still there.
        """
        async for events in self.batches(after, kinds, every_s=every_s):
            for event in events:
                yield event
            if not events:
                yield None

    async def batches(
        self,
        after: int,
        kinds: Collection[str] = (),
        *,
        every_s: float = 15,
        most_behind: int | None = None,
    ) -> AsyncGenerator[list[Event]]:
        """Yield events as `follow`, as many at a time as there are; none when it was quiet.

        Parameters
        ----------
        after, kinds, every_s
            As of `follow`.
        most_behind
            How many events may come while the caller deals with a batch. What there was to
            replay at the beginning does not count.

        Raises
        ------
        SlowFollowerError
            If more came.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            bell = self._bells.setdefault(loop, _Bell(loop))
            bell.followers += 1
        try:
            while True:
                is_last_look = self._closed
                found = self.after(after)
                if found:
                    after = found[-1].seq
                if events := [event for event in found if _is_of(event, kinds)]:
                    yield events
                    if most_behind is not None and self._last - after > most_behind:
                        raise SlowFollowerError(
                            f"{self._last - after} events came while the last ones were sent, "
                            f"more than {most_behind}"
                        )
                if is_last_look:
                    return
                if not found and not await bell.wait(every_s):
                    yield []
        finally:
            with self._lock:
                bell.followers -= 1
                if not bell.followers:
                    self._bells.pop(loop, None)

    def close(self) -> None:
        """Let every follower come to its end."""
        self._closed = True
        with self._lock:
            bells = tuple(self._bells.values())
        for bell in bells:
            bell.ring()


def _event(seq: int, kind: str, data: dict[str, Any], body: bytes) -> Event:
    """Return an event whose data are encoded already."""
    now = time.time()
    head = encoded({"seq": seq, "time": now, "kind": kind})
    whole = head if body == b"{}" else head[:-1] + b"," + body[1:]
    return Event(seq, now, kind, data, whole)


def _is_of(event: Event, kinds: Collection[str]) -> bool:
    return not kinds or event.kind in kinds or event.kind == "events.lost"


class _Bell:
    """Wakes the followers on one event loop from any thread: by one call, however many they are.

    Whoever publishes pays for it, and that may be the RunEngine.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = asyncio.Event()
        self._is_on_its_way = False
        self.followers = 0

    def ring(self) -> None:
        # A ring on its way will be heard after this event was appended: it says all.
        if not self._is_on_its_way:
            self._is_on_its_way = True
            with suppress(RuntimeError):  # the loop is closed, and with it the followers
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._is_on_its_way = False
        self._rung.set()  # all who wait now,
        self._rung.clear()  # and nobody who comes later

    async def wait(self, timeout_s: float) -> bool:
        """Return False if nobody rang in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except TimeoutError:
            return False
        return True
