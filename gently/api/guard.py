"""Who may ask: programs of this machine with a key, and pages served by it; nobody else.

A browser sends requests to loopback for any page that it shows, and with them the password that
it was given for this address. The names in `Host` and `Origin` tell such a request from one of
ours; a password is taken from our own pages only, whereas a page that sends a key has been given
it.
"""

from functools import partial
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from gently.api.messages import Json
from gently.api.standing import Identify
from gently.browser import basic_password, is_foreign
from gently.core.access import (
    Access,
    NotAuthenticatedError,
    Principal,
    ScopeError,
    TokenExpiredError,
)
from gently.core.access import Scope as AccessScope

__all__ = ["CHALLENGE", "Authenticated", "LoopbackOnly"]

CHALLENGE = {"WWW-Authenticate": 'Basic realm="gently", charset="UTF-8"'}
"""Lets a browser ask for the key."""

_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_NO_KEY = (
    "No key came with this request. Send `Authorization: ApiKey KEY`, or the key as the password "
    "of an empty user name (`curl -u :KEY`); `python -m gently.local_key` prints the key of this "
    "machine."
)
_FOREIGN_PAGE = (
    "A password was sent by a page that is not served here, perhaps behind the back of whoever has "
    "typed it in: such a page has to be given a key, and to send `Authorization: ApiKey KEY`."
)
_NOBODY = Principal("nobody", "none", "person", AccessScope.VIEW)
"""Whoever logs in, as long as they have not."""


class LoopbackOnly:
    """Middleware that answers 403 to a request that names another host, or comes from one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            for name, url in (
                ("Host", f"//{headers.get('host', '')}"),
                ("Origin", headers.get("origin", "//localhost")),
            ):
                if _hostname(url) not in _NAMES:
                    detail = f"{name} is not this machine: the microscope takes no foreign requests"
                    await _refuse(403, detail, scope, receive, send)
                    return
        await self._app(scope, receive, send)


class Authenticated:
    """Middleware that answers 401 to a request of which nobody knows whose it is.

    Those that it passes on have a ``principal`` in their state, and ``identify``, which says
    once more whose they are.

    Parameters
    ----------
    app
        Asked by those who are known.
    logins
        Method and path of the routes that take their proof in the body.
    """

    def __init__(self, app: ASGIApp, logins: frozenset[tuple[str, str]]) -> None:
        self._app = app
        self._logins = logins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        access: Access = scope["state"]["layer"].access
        headers = Headers(scope=scope)
        route = (scope.get("method", ""), scope["path"])
        identify: Identify = partial(self._principal, access, headers, route)
        try:
            principal = identify()
        except ScopeError as error:
            await _refuse(403, str(error), scope, receive, send)
            return
        except NotAuthenticatedError as error:
            if "authorization" in headers and not isinstance(error, TokenExpiredError):
                await anyio.sleep(access.patience.wait_s())
            await _refuse(401, str(error), scope, receive, send)
            return
        state = {**scope["state"], "principal": principal, "identify": identify}
        await self._app({**scope, "state": state}, receive, send)

    def _principal(self, access: Access, headers: Headers, route: tuple[str, str]) -> Principal:
        if route in self._logins:
            return _NOBODY  # Bluesky's clients refresh a token with the expired one in the header
        scheme, _, given = headers.get("authorization", "").partition(" ")
        match scheme.lower():
            case "apikey":
                return access.keys.check(given.strip()).principal
            case "bearer":
                return access.sessions.check(given.strip())
            case "basic":
                if is_foreign(headers):
                    raise ScopeError(_FOREIGN_PAGE)
                if password := basic_password(given):
                    return access.keys.check(password).principal
        raise NotAuthenticatedError(_NO_KEY)


async def _refuse(status: int, reason: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer, and let the audit log know why; a WebSocket before it is accepted."""
    if note := scope["state"].get("note"):
        note.refusal = reason
    answer = Json({"detail": reason}, status, headers=CHALLENGE if status == 401 else None)
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get(
        "extensions", {}
    ):
        await WebSocketClose(4000 + status, "refused")(scope, receive, send)
    else:
        await answer(scope, receive, send)


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
