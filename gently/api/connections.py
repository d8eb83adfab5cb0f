"""Connections on which nothing is asked: they have so long, and make room for those that ask.

uvicorn closes a connection that is idle after an answer. One that never asks, or says what it
asks a letter at a time, it keeps for ever, and so it would the ten thousandth.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gently.core.encoding import encoded

__all__ = ["GuardedProtocol", "WaitingRoom"]

_HEAD_BYTES = 65_536


class WaitingRoom:
    """Those connections on which a request is awaited, the longest waiting first.

    Not thread-safe: for the thread of the HTTP edge.

    Parameters
    ----------
    most
        How many connections there may be, of those that wait and those that are attended to;
        of more, the longest waiting is closed. At most this many are ever open.
    patience_s
        How long one may wait.
    """

    def __init__(self, most: int, patience_s: float) -> None:
        self._most = most
        self._patience_s = patience_s
        self._open: set[GuardedProtocol] = set()
        self._waiting: dict[GuardedProtocol, asyncio.TimerHandle] = {}

    def enter(self, connection: "GuardedProtocol") -> None:
        """Take in a new one; whoever has waited longest makes room, if need be itself."""
        self._open.add(connection)
        self.wait(connection)
        if len(self._open) > self._most:
            longest = next(iter(self._waiting))
            self.leave(longest)
            longest.transport.abort()

    def wait(self, connection: "GuardedProtocol") -> None:
        """Begin to wait for a request; it has its time from the first call on."""
        if connection in self._open and connection not in self._waiting:
            loop = asyncio.get_running_loop()
            close = connection.transport.close
            self._waiting[connection] = loop.call_later(self._patience_s, close)

    def attend(self, connection: "GuardedProtocol") -> None:
        """Wait no longer: it has asked for something."""
        if timer := self._waiting.pop(connection, None):
            timer.cancel()

    def leave(self, connection: "GuardedProtocol") -> None:
        """Forget it: it is closed, or has become a WebSocket."""
        self.attend(connection)
        self._open.discard(connection)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, of which the waiting room is told.

    Parameters
    ----------
    room
        Shared by all connections.
    uvicorns
        What uvicorn gives to its protocols.
    """

    def __init__(self, room: WaitingRoom, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self._room = room
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._room.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._is_in_a_head else 0
        if self._head_bytes > _HEAD_BYTES:
            self.transport.abort()
        self._tell()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in the form of every other refusal; called by uvicorn."""
        body = encoded({"detail": f"{msg} See `GET /api/docs` for what can be asked."})
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def on_response_complete(self) -> None:
        """Go on with the next request; called by uvicorn."""
        super().on_response_complete()
        self._tell()

    def _tell(self) -> None:
        if self.transport.get_protocol() is not self:
            self._room.leave(self)
        elif self._is_waiting:
            self._room.wait(self)
        else:
            self._room.attend(self)

    @property
    def _is_waiting(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def _is_in_a_head(self) -> bool:
        # What still comes of a body that has been answered already is thrown away, however much.
        return self._is_waiting and (self.cycle is None or not self.cycle.more_body)
