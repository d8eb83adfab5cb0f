"""The API, described by itself: for programs, and as a page that works without a network."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

from pydantic import Field
from starlette.responses import HTMLResponse, Response

from gently.api.documentation_page import page
from gently.api.models import Answer, Json, Nothing
from gently.api.routes import ApiRoute, Call
from gently.core.access import Scope
from gently.core.encoding import encoded

__all__ = ["DOCUMENTATION_ROUTES", "Documentation"]


_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Documentation:
    """What is sent, made when it is first asked for; plans and routes do not change.

    Parameters
    ----------
    describe
        Returns the OpenAPI document.
    """

    def __init__(self, describe: Callable[[], dict[str, Any]]) -> None:
        self._describe = describe

    @cached_property
    def openapi(self) -> bytes:
        """The OpenAPI document, as JSON."""
        return encoded(self._describe())

    @cached_property
    def page(self) -> str:
        """The same as HTML."""
        return page(self._describe())


class OpenApiAnswer(Answer):
    """An OpenAPI document."""

    openapi: Literal["3.1.0"]
    info: dict[str, Json]
    servers: list[dict[str, Json]]
    security: list[dict[str, list[str]]]
    tags: list[dict[str, str]]
    paths: dict[str, Json]
    components: dict[str, Json]
    websockets: list[dict[str, str]] = Field(alias="x-websockets")


async def _openapi(call: Call[Nothing]) -> Response:
    documentation: Documentation = call.request.state.documentation
    return Response(documentation.openapi, media_type="application/json")


async def _page(call: Call[Nothing]) -> HTMLResponse:
    documentation: Documentation = call.request.state.documentation
    return HTMLResponse(documentation.page, headers={"Content-Security-Policy": _POLICY})


DOCUMENTATION_ROUTES = (
    ApiRoute(
        method="GET",
        path="/api/openapi.json",
        handler=_openapi,
        summary="All routes, as an OpenAPI document",
        scope=Scope.VIEW,
        answer=OpenApiAnswer,
    ),
    ApiRoute(
        method="GET",
        path="/api/docs",
        handler=_page,
        summary="All routes, as a page to read",
        scope=Scope.VIEW,
        answer=None,
        media_type="text/html",
    ),
)
