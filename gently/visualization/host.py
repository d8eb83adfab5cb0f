"""Runs the viz server on a thread of the process that wants it."""

import asyncio
import errno
import logging
import socket
import threading
from types import TracebackType
from typing import Final, Self

import uvicorn
from starlette.applications import Starlette

from gently.client import DeviceLayerClient
from gently.visualization.entry import ENTER, Door
from gently.visualization.feed import VolumeFeed
from gently.visualization.lineage import Lineage
from gently.visualization.server import create_app
from storage import VolumeStore

_HOST: Final = "127.0.0.1"

# How long requests may go on once the server is told to stop; event streams end at once.
_PATIENCE_S: Final = 2


class PortTakenError(OSError):
    """The viz server's port belongs to another program."""

    def __init__(self, port: int) -> None:
        super().__init__(
            errno.EADDRINUSE,
            f"port {port} on {_HOST} is taken by another program, perhaps another copilot. "
            "Stop it, or choose another port with --viz-port (0 takes any free one).",
        )
        self.port = port

    def __str__(self) -> str:
        return str(self.strerror)


class VizServer:
    """Serves the page from a thread of this process, on the loopback interface only.

    An instance starts once; stopping it closes the feed.

    Parameters
    ----------
    store : VolumeStore
        Where the volumes are.
    feed : VolumeFeed
        Where new volumes are announced.
    port : int
        0 takes any free port; `url` tells which.
    lineage, device_layer
        See `create_app`.
    """

    def __init__(
        self,
        store: VolumeStore,
        feed: VolumeFeed,
        port: int = 8080,
        *,
        lineage: Lineage | None = None,
        device_layer: DeviceLayerClient | None = None,
    ) -> None:
        self._port = port
        self._door = Door()
        app = create_app(store, feed, self._door, lineage=lineage, device_layer=device_layer)
        self._server = _Server(app, feed)
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{_HOST}:{self._port}/"

    @property
    def link(self) -> str:
        """Where the page is for whoever is told this: to be shown, and not to be logged."""
        return f"{self.url.rstrip('/')}{ENTER}?ticket={self._door.ticket}"

    def start(self) -> None:
        """Begin to serve; returns when the page can be opened.

        Raises
        ------
        PortTakenError
            Another program listens on the port.
        OSError
            The port cannot be used for another reason (a port below 1024, say).
        """
        try:
            listener = socket.create_server((_HOST, self._port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(self._port) from error
            raise
        # asyncio does this only for sockets it has made itself; without it some answers wait
        # 40 ms for the browser's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="viz-server", daemon=True
        )
        self._thread.start()
        self._server.up.wait()

    def stop(self) -> None:
        """End the event streams, let requests finish for two seconds, join the thread. Idempotent.

        For any thread; blocks until nothing of the server is left.
        """
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class _Server(uvicorn.Server):
    """A uvicorn that says when it is up, and ends the event streams before it waits for them."""

    def __init__(self, app: Starlette, feed: VolumeFeed) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                ws="none",
                lifespan="on",
                log_config=None,
                log_level=logging.WARNING,  # below that it says each address, and so the link's
                access_log=False,
                timeout_graceful_shutdown=_PATIENCE_S,
            )
        )
        self.up = threading.Event()
        self._feed = feed

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._feed.close()
        await super().shutdown(sockets)
        # Who does not read keeps a connection open for what was not sent: drop it.
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
