"""Bluesky's routes about keys and sessions.

Their failures have proper status codes, as those of Bluesky's own server have.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import NAMESPACE_OID, uuid5

import anyio
from pydantic import BaseModel, Field, RootModel
from starlette.concurrency import run_in_threadpool

from gently.api.messages import RequestRefusedError
from gently.api.models import Answer, Body, Nothing
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import (
    Access,
    ApiKey,
    KeyNotFoundError,
    NotAuthenticatedError,
    PrincipalKind,
    Scope,
    Tokens,
)
from gently.core.errors import FieldError

__all__ = ["AUTH_ROUTES"]

PROVIDER = "key"
"""What a client names as the provider of its login is ``key/token``: keys are all there is."""

_BLUESKYS_SCOPES = {
    "read": Scope.VIEW,
    "user": Scope.VIEW,
    "write": Scope.OPERATE,
    "admin": Scope.ADMIN,
}
"""What Bluesky's scopes, such as ``read:queue``, begin with; the least of ours that includes."""

_YEARS_S = 20 * 365 * 24 * 3600


# ---------------------------------------------------------------------- what is taken


class LoginBody(Body):
    """A login, as a form."""

    username: str = Field("", description="To whom the key was given.")
    password: str = Field("", description="The key.")


class RefreshBody(Body):
    """A session that goes on."""

    refresh_token: str = Field("", description="Of the last login or refresh.")


class SessionPath(Body):
    """Which session."""

    session_uid: str


class KeyBody(Body):
    """A new key; what is not said is as who asks has it."""

    expires_in: Annotated[int, Field(ge=1, le=_YEARS_S)] | None = Field(
        None, description="For how many seconds it is good; for ever by default."
    )
    scopes: list[str] | None = Field(
        None, description="`view`, `propose`, `operate` or `admin`; the highest includes the rest."
    )
    note: Annotated[str, Field(max_length=255)] | None = Field(None, description="What it is for.")
    name: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="To whom it is given; others than oneself only by an admin."
    )
    kind: PrincipalKind | None = Field(None, description="A person, or an agent.")


class PrincipalKeyBody(KeyBody):
    """A new key for somebody who has one already."""

    uuid: str = Field(description="Of the principal.")


class FirstEight(Body):
    """Which key."""

    first_eight: Annotated[str, Field(min_length=8, description="Its first eight characters.")]


class PrincipalPath(Body):
    """Which principal."""

    uuid: str


# ---------------------------------------------------------------------- what is answered


class TokensAnswer(Answer):
    """What to come with for a while."""

    access_token: str = Field(description="For `Authorization: Bearer`.")
    expires_in: int = Field(description="Seconds.")
    refresh_token: str = Field(description="To have the next ones for.")
    refresh_token_expires_in: int = Field(description="Seconds.")
    token_type: Literal["bearer"]


class KeyAnswer(Answer):
    """What is known of a key; times are in UTC."""

    first_eight: str = Field(description="Its first characters, which are no secret.")
    expiration_time: str | None = Field(description="`null` if it does not expire.")
    note: str | None
    scopes: list[str] = Field(description="All that it is good for.")
    latest_activity: str | None


class NewKeyAnswer(KeyAnswer):
    """A key, which is told this once."""

    secret: str = Field(description="The key.")


class IdentityAnswer(Answer):
    """Under which name somebody logs in."""

    id: str
    provider: str
    latest_login: str | None


class SessionAnswer(Answer):
    """What a login has opened."""

    uuid: str
    expiration_time: str
    revoked: bool


class PrincipalAnswer(Answer):
    """Somebody who has keys."""

    uuid: str
    type: Literal["user", "service"] = Field(description="A person is a user, an agent a service.")
    identities: list[IdentityAnswer]
    api_keys: list[KeyAnswer]
    sessions: list[SessionAnswer]
    latest_activity: str | None
    roles: list[str]
    scopes: list[str]
    api_key_scopes: list[str] | None = Field(description="Of the key that was come with.")


class PrincipalsAnswer(RootModel[list[PrincipalAnswer]]):
    """Everybody who has keys."""


class ScopesAnswer(Answer):
    """What whoever asks may do."""

    roles: list[str] = Field(description="The highest scope.")
    scopes: list[str] = Field(description="That, and those that it includes.")


class Ended(Answer):
    """It was ended."""

    success: Literal[True]
    msg: str


# ---------------------------------------------------------------------- sessions


async def _login(call: Call[LoginBody]) -> Given:
    access, body = call.layer.access, call.body
    try:
        tokens = await run_in_threadpool(access.sessions.open, body.username, body.password)
    except NotAuthenticatedError:
        await anyio.sleep(access.patience.wait_s())
        raise
    return _tokens(tokens)


async def _refresh(call: Call[RefreshBody]) -> Given:
    access = call.layer.access
    try:
        tokens = await run_in_threadpool(access.sessions.refresh, call.body.refresh_token)
    except NotAuthenticatedError:
        await anyio.sleep(access.patience.wait_s())
        raise
    return _tokens(tokens)


async def _revoke(call: Call[SessionPath]) -> Given:
    sessions = call.layer.access.sessions
    await run_in_threadpool(sessions.revoke, call.principal, call.body.session_uid)
    return {"success": True, "msg": ""}


async def _logout(call: Call[Nothing]) -> Given:
    if (token := _token(call)) is not None:
        await run_in_threadpool(call.layer.access.sessions.end, token)
    return {}


def _token(call: Call[Any]) -> str | None:
    """Return the token that was come with; None if it was a key."""
    scheme, _, token = call.request.headers["authorization"].partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def _tokens(tokens: Tokens) -> Given:
    return {
        "access_token": tokens.access_token,
        "expires_in": int(tokens.expires_in_s),
        "refresh_token": tokens.refresh_token,
        "refresh_token_expires_in": int(tokens.refresh_token_expires_in_s),
        "token_type": "bearer",
    }


# ---------------------------------------------------------------------- keys


async def _new_key(call: Call[KeyBody]) -> Given:
    return await _made(call, call.body)


async def _new_key_for(call: Call[PrincipalKeyBody]) -> Given:
    key = _keys_of(call.layer.access, call.body.uuid)[0]
    return await _made(call, call.body.model_copy(update={"name": key.name, "kind": key.kind}))


async def _made(call: Call[Any], body: KeyBody) -> Given:
    key, secret = await run_in_threadpool(
        call.layer.access.keys.create,
        call.principal,
        scope=_highest(body.scopes or ()),
        expires_in_s=body.expires_in,
        note=body.note,
        name=body.name,
        kind=body.kind,
    )
    return {**_key(key), "secret": secret}


async def _key_info(call: Call[Nothing]) -> Given:
    key = call.layer.access.keys.get(call.principal.key_id)
    if key is None or _token(call) is not None:
        raise NotAuthenticatedError("No API key was provided with this request, but a token.")
    return _key(key)


async def _delete_key(call: Call[FirstEight]) -> Given:
    keys = call.layer.access.keys
    await run_in_threadpool(keys.revoke, call.principal, call.body.first_eight)
    return {"success": True, "msg": ""}


def _highest(scopes: Iterable[str]) -> Scope | None:
    """Return the scope that includes these; None for what who asks has."""
    return max((_scope(scope) for scope in scopes if scope != "inherit"), default=None)


def _scope(asked: str) -> Scope:
    area, colon, _ = asked.partition(":")
    if colon and area in _BLUESKYS_SCOPES:
        return _BLUESKYS_SCOPES[area]
    if asked in list(Scope):
        return Scope(asked)
    known = ", ".join(Scope)
    raise RequestRefusedError((FieldError("scopes", f"{asked[:40]!r} is none; there are {known}"),))


# ---------------------------------------------------------------------- principals


async def _whoami(call: Call[Nothing]) -> Given:
    found = _principal(call.layer.access, _uuid(call.principal.name))
    included = _included(call.principal.scope)
    return {**found, "api_key_scopes": None if _token(call) else included, "scopes": included}


async def _scopes(call: Call[Nothing]) -> Given:
    scope = call.principal.scope
    return {"roles": [str(scope)], "scopes": _included(scope)}


async def _principals(call: Call[Nothing]) -> list[Given]:
    access = call.layer.access
    uuids = dict.fromkeys(_uuid(key.name) for key in access.keys.all())
    return [_principal(access, uuid) for uuid in uuids]


async def _one_principal(call: Call[PrincipalPath]) -> Given:
    return _principal(call.layer.access, call.body.uuid)


def _principal(access: Access, uuid: str) -> Given:
    keys = _keys_of(access, uuid)
    sessions = access.sessions.of({key.key_id for key in keys})
    used = [key.latest_activity for key in keys if key.latest_activity is not None]
    scope = max(key.scope for key in keys)
    identity = {
        "id": keys[0].name,
        "provider": PROVIDER,
        "latest_login": _time(sessions[-1].made) if sessions else None,
    }
    return {
        "uuid": uuid,
        "type": "user" if keys[0].kind == "person" else "service",
        "identities": [identity],
        "api_keys": [_key(key) for key in keys],
        "sessions": [
            {
                "uuid": session.session_uid,
                "expiration_time": _time(session.expires),
                "revoked": session.revoked,
            }
            for session in sessions
        ],
        "latest_activity": _time(max(used, default=None)),
        "roles": [str(scope)],
        "scopes": _included(scope),
        "api_key_scopes": None,
    }


def _keys_of(access: Access, uuid: str) -> list[ApiKey]:
    """Return the keys of a principal, of whom there is one."""
    if found := [key for key in access.keys.all() if _uuid(key.name) == uuid]:
        return found
    raise KeyNotFoundError(
        f"There is no principal {uuid[:40]!r}; GET /api/auth/principal names all of them."
    )


def _uuid(name: str) -> str:
    """Return the same uuid for the same name at any time."""
    return str(uuid5(NAMESPACE_OID, f"gently:{name}"))


def _key(key: ApiKey) -> Given:
    return {
        "first_eight": key.first_eight,
        "expiration_time": _time(key.expires),
        "note": key.note,
        "scopes": _included(key.scope),
        "latest_activity": _time(key.latest_activity),
    }


def _included(scope: Scope) -> list[str]:
    return [str(one) for one in Scope if one <= scope]


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).isoformat()


# ---------------------------------------------------------------------- the table


def _get(path: str, *, scope: Scope = Scope.VIEW, **what: Any) -> ApiRoute:
    return ApiRoute(method="GET", path=f"/api/auth{path}", scope=scope, **what)


def _change(method: str, path: str, answer: type[BaseModel] | None, **what: Any) -> ApiRoute:
    found = {"scope": Scope.VIEW, "changes": True, **what}
    return ApiRoute(method=method, path=f"/api/auth{path}", answer=answer, **found)


AUTH_ROUTES = (
    _change(
        "POST",
        f"/provider/{PROVIDER}/token",
        TokensAnswer,
        handler=_login,
        summary="Log in with a name and a key, for tokens",
        body=LoginBody,
        is_form=True,
        is_login=True,
    ),
    _change(
        "POST",
        "/session/refresh",
        TokensAnswer,
        handler=_refresh,
        summary="Go on with a session: new tokens for old",
        body=RefreshBody,
        is_login=True,
    ),
    _change(
        "DELETE",
        "/session/revoke/{session_uid}",
        Ended,
        handler=_revoke,
        summary="End a session and its tokens",
        body=SessionPath,
        errors=(404,),
    ),
    _change("POST", "/logout", Answer, handler=_logout, summary="End the session of this token"),
    _change(
        "POST",
        "/apikey",
        NewKeyAnswer,
        handler=_new_key,
        summary="Make a key, which is told this once",
        body=KeyBody,
        errors=(409,),
    ),
    _get(
        "/apikey",
        handler=_key_info,
        summary="What is known of the key that this request comes with",
        answer=KeyAnswer,
    ),
    _change(
        "DELETE",
        "/apikey",
        Ended,
        handler=_delete_key,
        summary="Revoke a key, and those that were made with it",
        body=FirstEight,
        errors=(404,),
    ),
    _get(
        "/whoami",
        handler=_whoami,
        summary="Whose key this is, with their other keys and their sessions",
        answer=PrincipalAnswer,
    ),
    _get("/scopes", handler=_scopes, summary="What this key is good for", answer=ScopesAnswer),
    _get(
        "/principal",
        scope=Scope.ADMIN,
        handler=_principals,
        summary="Everybody who has keys",
        answer=PrincipalsAnswer,
    ),
    _get(
        "/principal/{uuid}",
        scope=Scope.ADMIN,
        handler=_one_principal,
        summary="Somebody who has keys",
        body=PrincipalPath,
        answer=PrincipalAnswer,
        errors=(404,),
    ),
    _change(
        "POST",
        "/principal/{uuid}/apikey",
        NewKeyAnswer,
        scope=Scope.ADMIN,
        handler=_new_key_for,
        summary="Make another key for somebody who has one",
        body=PrincipalKeyBody,
        errors=(404, 409),
    ),
)
