"""Keys and tokens that end while something is still being sent to whoever came with them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import HTTPConnection

from gently.core.access import AccessStoreError, NotAuthenticatedError, Principal

__all__ = ["Identify", "as_long_as_known"]

LOGGER = logging.getLogger(__name__)

Identify = Callable[[], Principal]
"""Says once more who has come; raises `NotAuthenticatedError` when nobody knows any longer."""

LOOK_S: Final = 1.0
"""How often it is looked: by the clock, so that what is sent costs nothing more."""


@asynccontextmanager
async def as_long_as_known(connection: HTTPConnection) -> AsyncIterator[None]:
    """Break off what is done within when the key of a connection is revoked, or has expired.

    Raises
    ------
    NotAuthenticatedError
        Within two seconds of that; says why.
    """
    refused: list[NotAuthenticatedError] = []
    try:
        async with asyncio.timeout(None) as limit:
            looking = asyncio.create_task(_look(connection.state.identify, limit, refused.append))
            try:
                yield
            finally:
                looking.cancel()
    except TimeoutError:
        if not refused:
            raise
        LOGGER.info("ended %s: %s", connection.url.path, refused[0])
        raise refused[0] from None


async def _look(
    identify: Identify, limit: asyncio.Timeout, refuse: Callable[[NotAuthenticatedError], None]
) -> None:
    while True:
        await asyncio.sleep(LOOK_S)
        try:
            identify()
        except NotAuthenticatedError as error:
            refuse(error)
            limit.reschedule(asyncio.get_running_loop().time())
            return
        except AccessStoreError as error:  # nobody's key has ended because a disk has
            LOGGER.warning("whether a key is still good is not known: %s", error)
