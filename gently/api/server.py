"""uvicorn, bound before the hardware is touched and ended without losing a signal."""

import logging
import socket
from functools import partial

import uvicorn
from starlette.applications import Starlette

from gently.api.connections import GuardedProtocol, WaitingRoom
from gently.api.messages import PATIENCE_S
from gently.core.events import EventLog

__all__ = ["ApiServer", "PortTakenError", "bind", "make_room_for_connections"]

MOST_CONNECTIONS = 2_048
_LAST_REQUESTS_S = 2
_FILES = 8_192


class PortTakenError(OSError):
    """The address cannot be had; says who may have it."""


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens; before the hardware is initialised twice.

    Raises
    ------
    PortTakenError
        If somebody else listens there, or the host is not this machine's.
    """
    try:
        listener = socket.create_server((host, port), backlog=2048)
    except OSError as error:
        raise PortTakenError(
            f"{host}:{port} cannot be had ({error.strerror or error}). Another device layer may "
            f"run: look at http://{host}:{port}/api/settings, or choose another --port."
        ) from error
    # asyncio does this only for sockets it has made itself; without it each answer of two
    # packets waits 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def make_room_for_connections() -> int:
    """Return how many connections there may be, and let there be as many files as that needs.

    Many systems allow a process 1,024 files; connections must not take them from the volumes.
    """
    try:
        import resource  # noqa: PLC0415 - not on Windows, where there is no such limit
    except ImportError:
        return MOST_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = _FILES if hard == unlimited else min(_FILES, hard)
    if soft != unlimited and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return MOST_CONNECTIONS if soft == unlimited else min(MOST_CONNECTIONS, soft // 2)


class ApiServer(uvicorn.Server):
    """Serves the application; its end also ends the streams, which never end themselves.

    Parameters
    ----------
    app
        Answers the requests.
    streams
        Closed at the end.
    connections
        How many there may be at a time; the longest waiting makes room for one more.
    patience_s
        How long a connection may take to say what it asks for.
    """

    def __init__(
        self,
        app: Starlette,
        *streams: EventLog,
        connections: int = MOST_CONNECTIONS,
        patience_s: float = PATIENCE_S,
    ) -> None:
        room = WaitingRoom(connections, patience_s)
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(GuardedProtocol, room),  # type: ignore[arg-type]  # it calls it
                log_config=None,
                log_level=logging.WARNING,  # below that it says each header, and so each key
                access_log=False,
                ws="websockets-sansio",
                # It costs each follower of events more than the few bytes on loopback are worth.
                ws_per_message_deflate=False,
                timeout_graceful_shutdown=_LAST_REQUESTS_S,
            )
        )
        self._streams = streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer; whoever answers may then hang up."""
        await super().startup(sockets)
        self.lifespan.state["hang_up"] = self._hang_up

    def _hang_up(self, client: tuple[str, int]) -> None:
        """Cut a connection at once: with what it has not read, a client would keep it for ever."""
        for connection in tuple(self.server_state.connections):
            if getattr(connection, "client", None) == client:
                connection.transport.abort()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the streams, then everything else."""
        for stream in self._streams:
            stream.close()
        await super().shutdown(sockets)
