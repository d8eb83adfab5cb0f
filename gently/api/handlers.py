"""What a handler of Bluesky's dialect is."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from gently.api.messages import parse
from gently.core.device_layer import DeviceLayer
from gently.core.lock import Part

__all__ = ["Answer", "Body", "DialectRoute", "Handler", "parse_lock_key"]

Answer = dict[str, Any]
Handler = Callable[[DeviceLayer, Mapping[str, Any]], Awaitable[Answer]]


class DialectRoute(NamedTuple):
    """A route: what it is called by, who answers, and which part of the lock it respects."""

    method: str
    path: str
    handler: Handler
    locked_by: Part | None = None


class Body(BaseModel):
    """Parameters; Bluesky's clients may send more than a route needs."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _LockedBody(Body):
    lock_key: str | None = None


def parse_lock_key(parameters: Mapping[str, Any]) -> str | None:
    """Return the key that came with a request; raises `RequestRefusedError`."""
    return parse(_LockedBody, parameters).lock_key
