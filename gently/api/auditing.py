"""The audit log at the HTTP edge: one line for each command, whatever became of it.

It is taken outside of everything that may refuse, so that a request that was turned away at the
door leaves its line as well; and when all is said, so that nobody waits for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gently.core.access import Principal
from gently.core.device_layer import DeviceLayer
from gently.core.operations import Action, about_item, digest_of

__all__ = ["Audited", "Note"]

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_MOST_NAMES: Final = 200
_MOST_UID: Final = 64
_TURNED_AWAY: Final = frozenset({401, 403})
# Not even a digest of these: what is short or chosen by people can be guessed from one.
_SECRETS: Final = frozenset(
    {"lock_key", "password", "username", "api_key", "access_token", "refresh_token"}
)


@dataclass
class Note:
    """What is found out about a request on its way to its answer.

    It is ``request.state.note``; whoever knows something writes it there.
    """

    is_audited: bool = False
    principal: Principal | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    answer: Mapping[str, Any] = field(default_factory=dict)
    refusal: str = ""


class Audited:
    """Middleware that records commands, and whoever was turned away from anything but looking."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and record what came of it."""
        if scope["type"] != "http":
            with about_item(""):
                await self._app(scope, receive, send)
            return
        layer: DeviceLayer = scope["state"]["layer"]
        note = Note()
        status: int | None = None  # the client has left, or something of ours has failed

        async def listening(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        known = {**scope, "state": {**scope["state"], "note": note}}
        try:
            with about_item(""):
                await self._app(known, receive, listening)
        finally:
            _record(layer, scope, note, status)


def _record(layer: DeviceLayer, scope: Scope, note: Note, status: int | None) -> None:
    if status is not None and 400 <= status < 500:
        layer.metrics.requests_refused.labels(str(status)).inc()
    was_turned_away = status in _TURNED_AWAY and scope["method"] not in _SAFE
    if note.is_audited or was_turned_away:
        layer.audit.record(_action(layer, scope, note, status))


def _action(layer: DeviceLayer, scope: Scope, note: Note, status: int | None) -> Action:
    who = note.principal
    key = layer.access.keys.get(who.key_id) if who else None
    host, port = scope.get("client") or ("", 0)
    name, uid = _item(note)
    given = {key: value for key, value in note.given.items() if key not in _SECRETS}
    what = f"{scope['method']} {scope['path']}"
    if status is None or status >= 500:
        outcome, detail = "failed", note.refusal or "it was not answered"
    elif note.refusal or status >= 400:
        outcome, detail = "refused", note.refusal
    elif note.answer.get("success") is False:  # a stop that has not stopped everything
        outcome, detail = "failed", str(note.answer.get("msg", ""))
    else:
        outcome, detail = "done", ""
    return Action(
        what=what,
        name=who.name if who else "",
        kind=who.kind if who else "",
        key_id=key.first_eight if key else "",
        origin=f"{host}:{port}",
        item_name=name,
        item_uid=uid,
        digest=digest_of(given) if given else "",
        outcome=outcome,  # type: ignore[arg-type]
        status=status,
        detail=detail,
    )


def _item(note: Note) -> tuple[str, str]:
    """Return the name and the uid of the item, or of the items, that a request is about.

    What was given may be anything: it need not have been valid.
    """
    for said in (note.answer, note.given):
        several = said.get("items")
        found = several if isinstance(several, list) else [said.get("item")]
        items = [item for item in found if isinstance(item, Mapping)]
        if items:
            names = dict.fromkeys(str(item.get("name", "")) for item in items)
            uids = [_uid(item.get("item_uid")) for item in items]
            return ", ".join(names)[:_MOST_NAMES], " ".join(filter(None, uids))
    uid = note.answer.get("item_uid") or note.given.get("item_uid") or note.given.get("uid")
    return "", _uid(uid)


def _uid(value: object) -> str:
    return value[:_MOST_UID] if isinstance(value, str) else ""
