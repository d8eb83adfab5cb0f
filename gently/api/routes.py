"""One declaration for every route, and the one way from a request to its answer.

The routes themselves, the OpenAPI document, the sweep that looks for open doors, the audit log
and the control lease all read the same table.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from gently.api.auditing import Note
from gently.api.messages import (
    PATIENCE_S,
    Json,
    RequestRefusedError,
    parse,
    read_parameters,
)
from gently.api.models import LockKey, Nothing
from gently.core.access import HEADER, Principal, Scope, ScopeError
from gently.core.device_layer import DeviceLayer
from gently.core.errors import FieldError, GentlyError
from gently.core.lock import Part
from gently.core.operations import about_item

__all__ = ["ApiRoute", "ApiSocket", "Call", "Given", "lease_number", "starlette_route"]

B = TypeVar("B", bound=BaseModel)
Given = dict[str, Any]
"""What came with a request, before it is validated; or an answer, before it is encoded."""

_FORGIVING_S = 1.0
"""How long what cannot be refused waits for its body."""


@dataclass(frozen=True)
class Call(Generic[B]):
    """A request that may be answered: validated, and from somebody who may ask."""

    layer: DeviceLayer
    body: B
    principal: Principal
    request: Request


@dataclass(frozen=True, kw_only=True)
class ApiRoute:
    """A route: what it is called by, who may call it, what it takes and what it answers.

    Parameters
    ----------
    method, path
        Of HTTP; the path has the ``/api`` prefix and starlette's syntax.
    handler
        Returns plain values, which are sent as JSON, or a response of its own.
    summary
        One line, for who reads the documentation.
    scope
        The least that a caller needs.
    body
        Validates what comes in the JSON body, the query and the path alike.
    answer
        What is answered; None if it is not JSON.
    media_type
        Of the answer.
    headers
        The headers that it takes, besides those of every route.
    errors
        The statuses that the handler's own refusals may have, besides those of every route.
    locked_by
        The part of the dialect's lock that keeps others out.
    commands
        Moves the microscope or changes what will: needs the control lease where one is held,
        and goes into the audit log.
    changes
        Changes something else, whoever holds the lease: goes into the audit log.
    forgives
        Whatever the body is, it keeps nobody from calling: it is then taken for none.
    is_form
        The body is a form, as browsers send it, in place of JSON.
    is_login
        Whoever calls brings their proof in the body, and needs no key.
    dialect
        One of Bluesky's: what the handler refuses is 200 with ``"success": false``.
    """

    method: str
    path: str
    handler: Callable[[Call[Any]], Awaitable[Given | list[Given] | Response]]
    summary: str
    scope: Scope
    body: type[BaseModel] = Nothing
    answer: type[BaseModel] | None
    media_type: str = "application/json"
    headers: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()
    locked_by: Part | None = None
    commands: bool = False
    changes: bool = False
    forgives: bool = False
    is_form: bool = False
    is_login: bool = False
    dialect: bool = False

    @property
    def name(self) -> str:
        """Method and path, as they are documented."""
        return f"{self.method} {self.template}"

    @property
    def template(self) -> str:
        """The path as it is documented: parameters without starlette's converters."""
        return re.sub(r"{(\w+):\w+}", r"{\1}", self.path)

    @property
    def path_names(self) -> list[str]:
        """The parameters in the path."""
        return re.findall(r"{(\w+)", self.path)

    @property
    def headers_taken(self) -> tuple[str, ...]:
        """The headers that it takes, with that of the control lease."""
        return (*self.headers, HEADER) if self.commands else self.headers

    @property
    def statuses(self) -> list[int]:
        """The statuses that it may be answered with, besides 200."""
        found = {401, 403, *self.errors}
        if not self.forgives:
            found |= {400, 408, 413}
        if self.body.model_fields and not (self.dialect or self.forgives):
            found.add(422)
        if HEADER in self.headers_taken:  # somebody else may have control, or the number be none
            found |= {409, 422}
        return sorted(found)

    @property
    def is_audited(self) -> bool:
        """Whether a call leaves a line in the audit log, whatever becomes of it."""
        return self.commands or self.changes


@dataclass(frozen=True, kw_only=True)
class ApiSocket:
    """A WebSocket, which only sends.

    Parameters
    ----------
    path
        With the ``/api`` prefix.
    messages
        What is sent, as text.
    summary
        One line, for who reads the documentation.
    scope
        The least that a caller needs.
    body
        Validates what comes in the query.
    """

    path: str
    messages: Callable[[DeviceLayer, Any], AsyncGenerator[str]]
    summary: str
    scope: Scope
    body: type[BaseModel] = Nothing


def starlette_route(route: ApiRoute) -> Route:
    """Return the route as starlette takes it."""

    async def endpoint(request: Request) -> Response:
        principal = _authenticated(request)
        with _audited(route, principal, request) as note:
            _check_scope(route, principal)
            # The body first: whoever sends it slowly must not keep control meanwhile.
            given = note.given = await _given(route, request)
            async with _in_control(route, principal, request):
                return await _answer(route, principal, request, given)

    return Route(route.path, endpoint, methods=[route.method], name=route.name)


# ---------------------------------------------------------------------- who asks


def _authenticated(request: Request) -> Principal:
    """Return who asks, as the guard has found out."""
    principal: Principal = request.state.principal
    return principal


@contextmanager
def _audited(route: ApiRoute, principal: Principal, request: Request) -> Iterator[Note]:
    """Take note of who asks and, if it is refused, why; and let the log know which item it is."""
    note: Note = request.state.note
    note.is_audited, note.principal = route.is_audited, principal
    with about_item(request.path_params.get("item_uid", "")):
        try:
            yield note
        except Exception as error:
            note.refusal = str(error)
            raise


def _check_scope(route: ApiRoute, principal: Principal) -> None:
    """Raise what is answered with 403."""
    if principal.scope < route.scope:
        raise ScopeError(
            f"{route.name} takes a key with the scope {route.scope} or more; that of "
            f"{principal.name} has {principal.scope}. An admin makes others with "
            "POST /api/auth/apikey."
        )


@asynccontextmanager
async def _in_control(
    route: ApiRoute, principal: Principal, request: Request
) -> AsyncIterator[None]:
    """Hold off whoever wants to take over while a command is carried out.

    Raises what is answered with 409.
    """
    if not route.commands:
        yield
        return
    layer: DeviceLayer = request.state.layer
    with layer.access.lease.commanding(principal, lease_number(request)):
        yield


def lease_number(request: Request) -> int | None:
    """Return under which number of the lease a request comes; raises `RequestRefusedError`."""
    given = request.headers.get(HEADER)
    if given is None or (given.isascii() and given.isdecimal()):
        return None if given is None else int(given)
    raise RequestRefusedError((FieldError(HEADER, "has to be the number of the lease"),))


# ---------------------------------------------------------------------- the answer


async def _given(route: ApiRoute, request: Request) -> Given:
    """Return what came in the path, the body and the query; the former win."""
    try:
        patience_s = _FORGIVING_S if route.forgives else PATIENCE_S
        given = await read_parameters(request, is_form=route.is_form, patience_s=patience_s)
    except (GentlyError, ClientDisconnect):
        if not route.forgives:
            raise
        given = {}
    key = request.headers.get("idempotency-key")
    if key and "Idempotency-Key" in route.headers:
        given["idempotency_key"] = key
    known = route.body.model_fields
    path = {name: value for name, value in request.path_params.items() if name in known}
    return {**given, **path}


async def _answer(
    route: ApiRoute, principal: Principal, request: Request, given: Given
) -> Response:
    layer: DeviceLayer = request.state.layer
    note: Note = request.state.note
    try:
        if route.locked_by is not None:
            layer.lock.check(parse(LockKey, given).lock_key, route.locked_by)
        call = Call(layer, _body(route, given), principal, request)
        answer = await route.handler(call)
    except GentlyError as error:
        if not route.dialect:
            raise
        note.refusal = str(error)
        return Json(_refusal(layer, given, error))
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, dict):
        note.answer = answer
        answer = {"success": True, "msg": "", **answer} if route.dialect else answer
    return Json(answer)


def _body(route: ApiRoute, given: Given) -> BaseModel:
    try:
        return parse(route.body, given)
    except GentlyError:
        if not route.forgives:
            raise
        return route.body()


def _refusal(layer: DeviceLayer, given: Given, error: GentlyError) -> Given:
    """Return a refusal as Bluesky's clients read it."""
    refused: Given = {"success": False, "msg": str(error)}
    if errors := getattr(error, "errors", ()):
        refused["errors"] = list(errors)
    if "item" in given:
        refused |= {"item": given["item"], "qsize": len(layer.queue.snapshot().waiting)}
    return refused
