"""The control of the microscope: a lease that is kept by asking for it again and again."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from gently.wire.errors import ClientError, ControlLost, DeviceLayerUnreachable
from gently.wire.flows import Flow, Request, granted, read
from gently.wire.replies import Lease
from gently.wire.transport import AsyncTransport, Transport

LOGGER = logging.getLogger(__name__)

RETRY_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Taking:
    """How control is taken; described by `client.control`."""

    note: str
    ttl_s: float
    take_over: bool

    def blocking(self, transport: Transport) -> "Control":
        """Return it for a client that blocks."""
        return Control(transport, self)

    def awaited(self, transport: AsyncTransport) -> "AsyncControl":
        """Return it for a client that is awaited."""
        return AsyncControl(transport, self)

    def acquire(self) -> Flow[Lease]:
        """Take the lease."""
        body = {"ttl_s": self.ttl_s, "take_over": self.take_over, "note": self.note or None}
        return _ask("acquire", body)


class Holding:
    """What is known of a lease while it is kept; any thread may ask."""

    def __init__(self, lease: Lease, ttl_s: float, asked: float) -> None:
        self.lease = lease
        self.lost: ControlLost | None = None
        self._ttl_s = ttl_s
        self._until = asked + ttl_s

    def headers(self) -> dict[str, str]:
        """Return what a command carries; raises `ControlLost`."""
        if self.lost is None and time.monotonic() >= self._until:
            self.lost = ControlLost(f"it was not renewed in {self._ttl_s:g} s")
        if self.lost is not None:
            raise self.lost
        return self._headers()

    def renewal(self) -> Flow[float]:
        """Renew the lease once; return after how many seconds to do it again.

        Raises
        ------
        ControlLost
            If it is lost.
        """
        asked = time.monotonic()
        try:
            self.lease = yield from _ask("renew", {"ttl_s": self._ttl_s}, self.headers())
        except DeviceLayerUnreachable as error:
            LOGGER.debug("control was not renewed: %s", error)
            return min(RETRY_S, self._ttl_s / 3)
        except ControlLost:
            raise
        except ClientError as error:
            self.lost = ControlLost(str(error))
            raise self.lost from error
        self._until = asked + self._ttl_s
        return self._ttl_s / 3

    def release(self) -> Flow[Lease]:
        """Give the lease back."""
        return _ask("release", {}, self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Gently-Lease": str(self.lease.number)}


class Control:
    """The microscope is this client's while the context lasts; renewed by a thread."""

    def __init__(self, transport: Transport, taking: Taking) -> None:
        self._transport = transport
        self._taking = taking
        self._left = threading.Event()
        # A daemon: a program that ends without leaving the context does not keep control for ever.
        self._renewing = threading.Thread(target=self._renew, name="control", daemon=True)

    @property
    def lease(self) -> Lease:
        """The lease as it was told last."""
        return self._holding.lease

    @property
    def lost(self) -> ControlLost | None:
        """Why control is lost, if it is."""
        return self._holding.lost

    def __enter__(self) -> Self:
        asked = time.monotonic()
        lease = self._transport.carry_out(self._taking.acquire())
        self._holding = self._transport.holding = Holding(lease, self._taking.ttl_s, asked)
        self._renewing.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._renewing.join()
        self._transport.holding = None
        if self._holding.lost is None:
            with _left_to_expire():
                self._transport.carry_out(self._holding.release())

    def _renew(self) -> None:
        pause_s = self._taking.ttl_s / 3
        with contextlib.suppress(ControlLost):  # whoever commands is told
            while not self._left.wait(pause_s):
                pause_s = self._transport.carry_out(self._holding.renewal())


class AsyncControl:
    """The microscope is this client's while the context lasts; renewed by a task."""

    def __init__(self, transport: AsyncTransport, taking: Taking) -> None:
        self._transport = transport
        self._taking = taking

    @property
    def lease(self) -> Lease:
        """The lease as it was told last."""
        return self._holding.lease

    @property
    def lost(self) -> ControlLost | None:
        """Why control is lost, if it is."""
        return self._holding.lost

    async def __aenter__(self) -> Self:
        asked = time.monotonic()
        lease = await self._transport.carry_out(self._taking.acquire())
        self._holding = self._transport.holding = Holding(lease, self._taking.ttl_s, asked)
        self._renewing = asyncio.create_task(self._renew(), name="control")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._renewing.cancel()
        await asyncio.wait({self._renewing})
        self._transport.holding = None
        if self._holding.lost is None:
            with _left_to_expire():
                await self._transport.carry_out(self._holding.release())

    async def _renew(self) -> None:
        pause_s = self._taking.ttl_s / 3
        with contextlib.suppress(ControlLost):  # whoever commands is told
            while True:
                await asyncio.sleep(pause_s)
                pause_s = await self._transport.carry_out(self._holding.renewal())


@contextlib.contextmanager
def _left_to_expire() -> Iterator[None]:
    """Let a lease that cannot be given back expire, instead of hiding why the context ended."""
    try:
        yield
    except ClientError as error:
        LOGGER.warning("control was not given back, and ends by itself: %s", error)


def _ask(
    verb: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
) -> Flow[Lease]:
    request = Request(method="POST", path=f"control/{verb}", body=body, headers=headers or {})
    return read(Lease, granted((yield request)))
