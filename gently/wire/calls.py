"""Methods that are described once, and are done by a client that blocks or by one that awaits."""

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from gently.wire.flows import Flow
from gently.wire.transport import AsyncTransport, Transport

P = ParamSpec("P")
T = TypeVar("T")
B_co = TypeVar("B_co", covariant=True)
A_co = TypeVar("A_co", covariant=True)


class Description(Protocol[B_co, A_co]):
    """What is opened: a thing of its own for each kind of client."""

    def blocking(self, transport: Transport) -> B_co:
        """Return it for a client that blocks."""

    def awaited(self, transport: AsyncTransport) -> A_co:
        """Return it for a client that awaits."""


class Blocking:
    """A client whose calls block."""

    transport: Transport

    def opened(self, description: Description[T, Any]) -> T:
        """Return what is described."""
        return description.blocking(self.transport)


class Awaited:
    """A client whose calls are awaited."""

    transport: AsyncTransport

    def opened(self, description: Description[Any, T]) -> T:
        """Return what is described."""
        return description.awaited(self.transport)


class Call(Generic[P, T]):
    """A method described by its flow: one client blocks until it is done, the other awaits."""

    def __init__(self, flow: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self._flow = flow
        self.__doc__, self.__wrapped__ = flow.__doc__, flow

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaited, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        return _bound(self._flow.__get__(client), client.transport.carry_out)


class Opens(Generic[P, B_co, A_co]):
    """A method described by what it opens, which is a thing of its own for each client."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Description[B_co, A_co]]) -> None:
        self._describe = describe
        self.__doc__, self.__wrapped__ = describe.__doc__, describe

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(self, client: Blocking, owner: type) -> Callable[P, B_co]: ...
    @overload
    def __get__(self, client: Awaited, owner: type) -> Callable[P, A_co]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self
        return _bound(self._describe.__get__(client), client.opened)


def _bound(described: Callable[..., Any], done: Callable[[Any], Any]) -> Callable[..., Any]:
    @wraps(described)
    def method(*args: Any, **kwargs: Any) -> Any:
        return done(described(*args, **kwargs))

    return method
