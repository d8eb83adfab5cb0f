"""The application: routes as one list, errors as one table."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request

from gently.api.auditing import Audited
from gently.api.auth_routes import AUTH_ROUTES
from gently.api.catalogue_routes import CATALOGUE_ROUTES
from gently.api.console_routes import CONSOLE_ROUTES
from gently.api.control_routes import CONTROL_ROUTES
from gently.api.detection_routes import DETECTION_ROUTES
from gently.api.documentation_routes import DOCUMENTATION_ROUTES, Documentation
from gently.api.dose_routes import DOSE_ROUTES
from gently.api.engine_routes import ENGINE_ROUTES
from gently.api.environment_routes import ENVIRONMENT_ROUTES
from gently.api.event_routes import EVENT_ROUTES
from gently.api.guard import CHALLENGE, Authenticated, LoopbackOnly
from gently.api.history_routes import HISTORY_ROUTES
from gently.api.instrument_routes import INSTRUMENT_ROUTES
from gently.api.lock_routes import LOCK_ROUTES
from gently.api.messages import (
    BodyError,
    BodyTooLargeError,
    BodyTooSlowError,
    Json,
    RequestRefusedError,
)
from gently.api.openapi import openapi_document
from gently.api.operation_routes import OPERATION_ROUTES
from gently.api.plan_routes import PLAN_ROUTES
from gently.api.preflight_routes import PREFLIGHT_ROUTES
from gently.api.proposal_routes import PROPOSAL_ROUTES
from gently.api.queue_routes import QUEUE_ROUTES
from gently.api.routes import ApiRoute, starlette_route
from gently.api.slow import HangUp
from gently.api.sockets import SOCKETS, socket_route
from gently.api.volume_routes import VOLUME_ROUTES
from gently.core.access import (
    AccessStoreError,
    KeyNotFoundError,
    NotAuthenticatedError,
    ProposalNotFoundError,
    ScopeError,
)
from gently.core.detection_values import DetectionNotFoundError
from gently.core.device_layer import DeviceLayer
from gently.core.errors import (
    DeviceNotFoundError,
    GentlyError,
    ItemNotFoundError,
    PlanNotFoundError,
    WrongStateError,
)
from storage import (
    BrokenDocumentsError,
    BrokenVolumeError,
    InvalidUidError,
    RunNotFoundError,
    VolumeNotFoundError,
)

__all__ = ["GROUPS", "ROUTES", "create_app"]

LOGGER = logging.getLogger(__name__)

GROUPS: Mapping[str, tuple[ApiRoute, ...]] = {
    "Status and environment": ENVIRONMENT_ROUTES,
    "Plans and devices": (*CATALOGUE_ROUTES, *PREFLIGHT_ROUTES, *INSTRUMENT_ROUTES),
    "Run a plan": PLAN_ROUTES,
    "Queue": QUEUE_ROUTES,
    "History": HISTORY_ROUTES,
    "Stop and the RunEngine": ENGINE_ROUTES,
    "Volumes, runs and light": (*VOLUME_ROUTES, *DOSE_ROUTES),
    "Detections": DETECTION_ROUTES,
    "Events and log": (*EVENT_ROUTES, *CONSOLE_ROUTES),
    "Health, metrics and audit": OPERATION_ROUTES,
    "Control": (*CONTROL_ROUTES, *PROPOSAL_ROUTES, *LOCK_ROUTES),
    "Keys and sessions": AUTH_ROUTES,
    "Documentation": DOCUMENTATION_ROUTES,
}
"""Every route that there is, as it is documented; the WebSockets are in ``SOCKETS``."""

ROUTES = tuple(route for group in GROUPS.values() for route in group)

_LOGINS = frozenset((route.method, route.path) for route in ROUTES if route.is_login)

# The nearest class of an error decides; what is not listed is our own fault.
_STATUS: dict[type[Exception], int] = {
    BodyError: 400,
    BodyTooSlowError: 408,
    BodyTooLargeError: 413,
    RequestRefusedError: 422,
    NotAuthenticatedError: 401,
    ScopeError: 403,
    KeyNotFoundError: 404,
    ProposalNotFoundError: 404,
    AccessStoreError: 500,
    DetectionNotFoundError: 404,
    DeviceNotFoundError: 404,
    ItemNotFoundError: 404,
    PlanNotFoundError: 404,
    WrongStateError: 409,
    GentlyError: 422,
    InvalidUidError: 422,
    VolumeNotFoundError: 404,
    BrokenVolumeError: 409,
    RunNotFoundError: 404,
    BrokenDocumentsError: 409,
}


class _State(TypedDict):
    layer: DeviceLayer
    documentation: Documentation
    hang_up: HangUp


def create_app(layer: DeviceLayer, *, ready: Callable[[], None] = lambda: None) -> Starlette:
    """Return the application over a device layer.

    Parameters
    ----------
    layer
        Built, and closed, by the caller.
    ready
        Called when requests are answered.
    """
    documentation = Documentation(lambda: openapi_document(GROUPS, SOCKETS, layer.catalogue))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[_State]:
        watch = asyncio.create_task(layer.oversight.loop_lag.watch())
        # In a thread, for which anyio loads what it needs: the first stop must not wait for that.
        await anyio.to_thread.run_sync(ready)
        yield {"layer": layer, "documentation": documentation, "hang_up": lambda _: None}
        watch.cancel()

    return Starlette(
        routes=[*map(starlette_route, ROUTES), *map(socket_route, SOCKETS)],
        exception_handlers={
            HTTPException: _http_error,
            Exception: _unexpected,
            ClientDisconnect: _gone,
            **dict.fromkeys(_STATUS, _known_error),
        },
        middleware=[
            Middleware(Audited),
            Middleware(LoopbackOnly),
            Middleware(Authenticated, logins=_LOGINS),
        ],
        lifespan=lifespan,
    )


async def _known_error(_: Request, error: Exception) -> Json:
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    answer: dict[str, Any] = {"detail": str(error)}
    if errors := getattr(error, "errors", ()):
        answer["errors"] = list(errors)
    return Json(answer, status, headers=CHALLENGE if status == 401 else None)


async def _http_error(request: Request, error: Exception) -> Json:
    assert isinstance(error, HTTPException)  # noqa: S101 - starlette's signature is wider
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return Json({"detail": detail}, error.status_code, headers=error.headers)


async def _gone(_: Request, __: Exception) -> Json:
    return Json({"detail": "The client has left before it had said what it wants."}, 400)


async def _unexpected(request: Request, error: Exception) -> Json:
    LOGGER.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return Json({"detail": "An error inside the device layer; its log has the cause."}, 500)
