"""Clients that do not read: each gets its time, and is then hung up on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import HTTPConnection

from gently.core.device_layer import DeviceLayer
from gently.core.errors import GentlyError

__all__ = ["MOST_BEHIND", "DeafClientError", "HangUp", "drop", "in_time"]

LOGGER = logging.getLogger(__name__)

HangUp = Callable[[tuple[str, int]], None]
"""Cuts the connection of a client, which it names by address and port, at once."""

SEND_S: Final = 10.0
"""How long a client may take for what is sent in one piece, 64 KB or one large message."""
_HANG_UP_S: Final = 0.01
MOST_BEHIND: Final = 2_000
"""How many events may come while a client takes the ones before."""


class DeafClientError(GentlyError):
    """A client does not take what it is sent."""


async def in_time(sending: Awaitable[None]) -> None:
    """Await something that is being sent; raises `DeafClientError`."""
    try:
        async with asyncio.timeout(SEND_S):
            await sending
    except TimeoutError:
        raise DeafClientError(f"it has read nothing for {SEND_S:g} s") from None


async def drop(connection: HTTPConnection, why: GentlyError) -> None:
    """Take note of a client that is dropped, and hang up if it would not hear a farewell."""
    layer: DeviceLayer = connection.state.layer
    layer.metrics.followers_dropped.inc()
    client = connection.client
    where = f"{client.host}:{client.port}" if client else "somewhere"
    LOGGER.warning("dropped %s from %s: %s", connection.url.path, where, why)
    if isinstance(why, DeafClientError) and client:
        connection.state.hang_up((client.host, client.port))
        await asyncio.sleep(_HANG_UP_S)  # the server is to know before it looks for an end
