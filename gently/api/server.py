"""uvicorn, bound before the hardware is touched and ended without losing a signal."""

import socket

import uvicorn
from starlette.applications import Starlette

from gently.core.events import EventLog

__all__ = ["ApiServer", "PortTakenError", "bind"]

_LAST_REQUESTS_S = 2


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


class ApiServer(uvicorn.Server):
    """Serves the application; its end also ends the streams, which never end themselves."""

    def __init__(self, app: Starlette, *streams: EventLog) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
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
