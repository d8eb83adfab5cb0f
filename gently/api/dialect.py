"""The routes that Bluesky's own clients speak, with their semantics.

A business failure is 200 with ``"success": false``: that is what the clients look at.
Whatever such a handler is asked, it answers at once; the RunEngine is never waited for.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.routing import Route

from gently.api.engine_routes import ENGINE_ROUTES
from gently.api.handlers import Answer, DialectRoute, parse_lock_key
from gently.api.messages import Json, read_parameters
from gently.api.queue_routes import QUEUE_ROUTES
from gently.core.device_layer import DeviceLayer
from gently.core.errors import GentlyError

__all__ = ["dialect_routes"]


def dialect_routes() -> list[Route]:
    """Return the routes, each with its handler."""
    return [
        Route(f"/api{route.path}", _endpoint(route), methods=[route.method], name=route.path)
        for route in (*QUEUE_ROUTES, *ENGINE_ROUTES)
    ]


def _endpoint(route: DialectRoute) -> Callable[[Request], Awaitable[Json]]:
    async def endpoint(request: Request) -> Json:
        layer: DeviceLayer = request.state.layer
        parameters = await read_parameters(request)
        if key := request.headers.get("idempotency-key"):
            parameters["idempotency_key"] = key
        try:
            if route.locked_by is not None:
                layer.lock.check(parse_lock_key(parameters), route.locked_by)
            answer = await route.handler(layer, parameters)
        except GentlyError as error:
            refused: Answer = {"success": False, "msg": str(error)}
            if errors := getattr(error, "errors", ()):
                refused["errors"] = list(errors)
            if "item" in parameters:
                waiting = len(layer.queue.snapshot().waiting)
                refused |= {"item": parameters["item"], "qsize": waiting}
            return Json(refused)
        return Json({"success": True, "msg": "", **answer})

    return endpoint
