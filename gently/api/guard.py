"""Who may ask: programs of this machine, and pages served by it; not a page from elsewhere.

A browser sends requests to loopback for any page that it shows. Until there are keys, the
names in `Host` and `Origin` are what tells such a request from one of ours.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from gently.api.messages import Json

__all__ = ["LoopbackOnly"]

_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


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
                    if scope["type"] == "websocket":
                        await WebSocketClose(4403, detail)(scope, receive, send)
                    else:
                        await Json({"detail": detail}, 403)(scope, receive, send)
                    return
        await self._app(scope, receive, send)


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
