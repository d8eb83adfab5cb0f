"""The two clients as one: what a test says of the client holds for both.

The asynchronous client lives in an event loop of its own thread. Here it is spoken to as if
it blocked, so that one specification serves both.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isawaitable
from typing import Any, Self, cast

from anyio.from_thread import BlockingPortal, start_blocking_portal

from gently.client import AsyncDeviceLayerClient, DeviceLayerClient
from gently.wire import AsyncControl, AsyncEventStream, Event

Clients = Callable[..., DeviceLayerClient]


class _Stream(Iterator[Event]):
    def __init__(self, portal: BlockingPortal, stream: AsyncEventStream) -> None:
        self._portal = portal
        self._stream = stream

    @property
    def last_seq(self) -> int | None:
        return self._stream.last_seq

    def __next__(self) -> Event:
        async def following() -> Event | None:
            return await anext(self._stream, None)

        event = self._portal.call(following)
        if event is None:
            raise StopIteration
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._portal.call(self._stream.close)


class Blocking:
    """The asynchronous client, as if it were the other."""

    def __init__(self, portal: BlockingPortal, client: AsyncDeviceLayerClient) -> None:
        self._portal = portal
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return self._calling(found) if callable(found) else found

    def _calling(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            made = method(*args, **kwargs)
            return await made if isawaitable(made) else made

        def blocking(*args: Any, **kwargs: Any) -> Any:
            found = self._portal.call(lambda: call(*args, **kwargs))
            match found:
                case AsyncEventStream():
                    return _Stream(self._portal, found)
                case AsyncControl():
                    return self._portal.wrap_async_context_manager(found)
            return found

        return blocking

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._portal.call(self._client.close)


@contextmanager
def clients(kind: str) -> Iterator[Clients]:
    """Give what makes clients of one kind."""
    if kind == "sync":
        yield DeviceLayerClient
        return
    with start_blocking_portal() as portal:

        def make(*args: Any, **kwargs: Any) -> DeviceLayerClient:
            client = AsyncDeviceLayerClient(*args, **kwargs)
            return cast("DeviceLayerClient", Blocking(portal, client))

        yield make
