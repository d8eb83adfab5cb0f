"""Who may see the volumes: whoever has the key of this machine, or the link that was printed.

Every user of the machine, and every page in their browsers, reaches a port on loopback. What a
page is let in with is a cookie that is good as long as this process lives, and never the key. It
goes to every port of this machine, so requests that another page makes are refused besides.
"""

import hmac
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import anyio
from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gently import local_key
from gently.browser import basic_password, is_foreign

LOGGER = logging.getLogger(__name__)

ENTER: Final = "/enter"
_OPEN: Final = (ENTER, "/static/")
# Read by viewers that can send neither a key nor a cookie: a UID, which nobody can guess and
# nothing tells without a key, is what opens a volume there.
_BY_UID: Final = ("/volumes/", "/acquisitions/")
_FORM: Final = Path(__file__).parent / "static" / "enter.html"
_POLICY: Final = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": _POLICY,
    "referrer-policy": "same-origin",
}
_MOST_BYTES: Final = 4096
_WRONG_S: Final = 0.5
_REMEDY: Final = (
    "Open the link that the copilot prints, or send the key of this machine: "
    "`Authorization: ApiKey KEY`, or `curl -u :KEY`; `python -m gently.local_key` prints it."
)


class Door:
    """Knows the key and the link, and whoever has come in by either.

    Parameters
    ----------
    find_key
        Returns the key of this machine, or None if there is none yet.
    """

    def __init__(self, find_key: Callable[[], str | None] = local_key.find) -> None:
        self._find_key = find_key
        self._cookie = secrets.token_urlsafe(32)
        self.ticket = secrets.token_urlsafe(32)

    def knows(self, headers: Headers) -> bool:
        """Whether a request comes with a cookie of this process, or with the key."""
        came_in = cookie_parser(headers.get("cookie", "")).get(_cookie_name(headers), "")
        if hmac.compare_digest(came_in.encode(), self._cookie.encode()):
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        match scheme.lower():
            case "apikey":
                return self.is_key(given.strip())
            case "basic":
                return self.is_key(basic_password(given) or "")
        return False

    def is_ticket(self, given: str) -> bool:
        """Whether this is what is in the link."""
        return hmac.compare_digest(given.encode(), self.ticket.encode())

    def is_key(self, given: str) -> bool:
        """Whether this is the key of this machine."""
        try:
            key = self._find_key()
        except local_key.LocalKeyError as error:
            LOGGER.warning("nobody can come in with the key: %s", error)
            return False
        return key is not None and hmac.compare_digest(given.encode(), key.encode())

    def let_in(self, request: Request) -> Response:
        """Return the answer with which somebody comes in; the browser keeps what is behind #."""
        answer = RedirectResponse("/", 303, _HEADERS)
        name = _cookie_name(request.headers)
        answer.set_cookie(name, self._cookie, httponly=True, samesite="lax")
        return answer


class Guarded:
    """Middleware that answers 401 to whoever the door does not know."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith((*_OPEN, *_BY_UID)):
            await self._app(scope, receive, send)
            return
        headers, is_page = Headers(scope=scope), scope["path"] == "/"
        if not self._door.knows(headers):
            answer = _form("", 401) if is_page else _refusal(401, f"No key came. {_REMEDY}")
            await answer(scope, receive, send)
        elif is_foreign(headers) and not is_page:  # which may be linked to, and tells nothing
            answer = _refusal(403, "Another page asks for this; open the page itself.")
            await answer(scope, receive, send)
        else:
            await self._app(scope, receive, send)


async def enter(request: Request) -> Response:
    """``GET /enter?ticket=`` by the link, ``POST /enter`` with the form: come in."""
    door: Door = request.app.state.door
    if request.method == "POST":
        given = dict(parse_qsl((await _body(request)).decode(errors="replace"))).get("key", "")
        if not is_foreign(request.headers) and door.is_key(given.strip()):
            return door.let_in(request)
        await anyio.sleep(_WRONG_S)
        return _form("This is not the key of this machine.", 401)
    if door.is_ticket(request.query_params.get("ticket", "")):
        return door.let_in(request)
    return _form("This link is from a copilot that has ended.", 401)


def _cookie_name(headers: Headers) -> str:
    """Return that of one copilot of several: a cookie of one port comes to all of them."""
    return f"gently-page-{headers.get('host', '').rpartition(':')[2]}"


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            return b""
    return bytes(body)


def _form(problem: str, status: int) -> Response:
    page = _FORM.read_text(encoding="utf-8").replace("{problem}", problem)
    return HTMLResponse(page, status, {**_HEADERS, "www-authenticate": "ApiKey"})


def _refusal(status: int, detail: str) -> Response:
    # No scheme that a browser knows: a page whose copilot has ended must not ask for passwords.
    headers = {"www-authenticate": "ApiKey"} if status == 401 else None
    return JSONResponse({"detail": detail}, status, headers)
