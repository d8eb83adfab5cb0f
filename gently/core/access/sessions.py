"""Sessions: what a login with a key opens, for the clients that log in.

A session hands out tokens that live for minutes, and one with which to have the next. It ends
with the key that it was opened with.
"""

import hmac
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal
from uuid import uuid4

from gently.core.access.database import AccessDatabase
from gently.core.access.errors import KeyNotFoundError, NotAuthenticatedError, TokenExpiredError
from gently.core.access.keys import ApiKey, KeyStore, mint
from gently.core.access.scope import Principal, Scope

__all__ = ["Session", "Sessions", "Tokens"]

ACCESS_S: Final = 15 * 60.0
REFRESH_S: Final = 7 * 24 * 3600.0
_ID: Final = 16
"""So many characters of a token are no secret."""

_ENDED: Final = "The session has ended, or was never one. Log in again, or come with a key."
_WRONG: Final = (
    "Name or key is wrong: log in with the name that the key was given to, and the key as "
    "password. GET /api/auth/whoami tells the name."
)
Purpose = Literal["access", "refresh"]


@dataclass(frozen=True, kw_only=True)
class Session:
    """What one login has opened; times in seconds since the epoch."""

    session_uid: str
    key_id: str
    made: float
    expires: float
    revoked: bool


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What a login or a refresh hands out, and for how many seconds each is good."""

    access_token: str
    expires_in_s: float
    refresh_token: str
    refresh_token_expires_in_s: float


class Sessions:
    """The sessions of one device layer; safe from any thread.

    Parameters
    ----------
    database
        Where they are kept.
    keys
        With which they are opened, and with which they end.
    access_s, refresh_s
        How long a token is good, and how long a session that nobody refreshes.
    clock
        Returns the seconds since the epoch.
    """

    def __init__(
        self,
        database: AccessDatabase,
        keys: KeyStore,
        *,
        access_s: float = ACCESS_S,
        refresh_s: float = REFRESH_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._keys = keys
        self._access_s = access_s
        self._refresh_s = refresh_s
        self._clock = clock
        self._lock = threading.Lock()

    def open(self, name: str, secret: str) -> Tokens:
        """Log in with a key; raises `NotAuthenticatedError`."""
        try:
            key = self._keys.check(secret)
        except NotAuthenticatedError:
            raise NotAuthenticatedError(_WRONG) from None
        if name != key.name:
            raise NotAuthenticatedError(_WRONG)
        now = self._clock()
        uid = uuid4().hex
        with self._lock, self._database.writing():
            self._database.write("DELETE FROM session WHERE expires < ?", now)
            self._database.write(
                "INSERT INTO session (session_uid, key_id, made, expires) VALUES (?, ?, ?, ?)",
                *(uid, key.key_id, now, now + self._refresh_s),
            )
            return self._hand_out(uid)

    def refresh(self, token: str) -> Tokens:
        """Return new tokens for one to refresh with; raises `NotAuthenticatedError`."""
        with self._lock:
            session, expires = self._find(token, "refresh")
            if expires <= self._clock() or self._key_of(session) is None:
                raise NotAuthenticatedError(_ENDED)
            with self._database.writing():
                self._database.write(
                    "UPDATE session SET expires = ? WHERE session_uid = ?",
                    *(self._clock() + self._refresh_s, session.session_uid),
                )
                return self._hand_out(session.session_uid)

    def check(self, token: str) -> Principal:
        """Return whose token this is.

        Raises
        ------
        TokenExpiredError
            If it was good, and its session is.
        NotAuthenticatedError
            If it was never good, or its session has ended.
        """
        session, expires = self._find(token, "access")
        key = self._key_of(session)
        if key is None:
            raise NotAuthenticatedError(_ENDED)
        if expires <= self._clock():
            raise TokenExpiredError
        return key.principal

    def revoke(self, by: Principal, session_uid: str) -> None:
        """End a session and its tokens; an admin anybody's, others their own.

        Raises
        ------
        KeyNotFoundError
            If there is none that they could end.
        """
        session = self._get(session_uid)
        key = self._keys.get(session.key_id) if session else None
        if session is None or (by.scope < Scope.ADMIN and (key is None or key.name != by.name)):
            raise KeyNotFoundError(f"{by.name} has no session {session_uid!r} that could be ended.")
        self._revoke(session_uid)

    def end(self, token: str) -> None:
        """End the session of a token, whoever has it; raises `NotAuthenticatedError`."""
        session, _ = self._find(token, "access")
        self._revoke(session.session_uid)

    def of(self, key_ids: set[str]) -> list[Session]:
        """Return the sessions that were opened with these keys, oldest first."""
        rows = self._database.rows(
            "SELECT session_uid, key_id, made, expires, revoked FROM session ORDER BY made"
        )
        return [_session(*row) for row in rows if row[1] in key_ids]

    def _revoke(self, session_uid: str) -> None:
        self._database.write("UPDATE session SET revoked = 1 WHERE session_uid = ?", session_uid)

    def _find(self, token: str, purpose: Purpose) -> tuple[Session, float]:
        """Return the session of a token, and when the token expires."""
        rows = self._database.rows(
            "SELECT session_uid, hash, expires FROM token WHERE token_id = ? AND purpose = ?",
            *(token[:_ID], purpose),
        )
        hashed = self._database.hashed(token)
        for session_uid, known, expires in rows:
            session = self._get(session_uid)
            if hmac.compare_digest(known, hashed) and session is not None:
                return session, expires
        raise NotAuthenticatedError(_ENDED)

    def _key_of(self, session: Session) -> ApiKey | None:
        """Return the key that a session lives by; None if it has ended."""
        if session.revoked or session.expires <= self._clock():
            return None
        return self._keys.get(session.key_id)

    def _get(self, session_uid: str) -> Session | None:
        rows = self._database.rows(
            "SELECT session_uid, key_id, made, expires, revoked FROM session WHERE session_uid = ?",
            session_uid,
        )
        return _session(*rows[0]) if rows else None

    def _hand_out(self, session_uid: str) -> Tokens:
        """Make tokens; those that nobody can use any more are forgotten."""
        now = self._clock()
        self._database.write("DELETE FROM token WHERE expires < ?", now - self._refresh_s)
        return Tokens(
            access_token=self._token(session_uid, "access", now + self._access_s),
            expires_in_s=self._access_s,
            refresh_token=self._token(session_uid, "refresh", now + self._refresh_s),
            refresh_token_expires_in_s=self._refresh_s,
        )

    def _token(self, session_uid: str, purpose: Purpose, expires: float) -> str:
        token = mint()
        self._database.write(
            "INSERT INTO token (token_id, hash, session_uid, purpose, expires) "
            "VALUES (?, ?, ?, ?, ?)",
            *(token[:_ID], self._database.hashed(token), session_uid, purpose, expires),
        )
        return token


def _session(uid: str, key_id: str, made: float, expires: float, revoked: int) -> Session:
    return Session(
        session_uid=uid, key_id=key_id, made=made, expires=expires, revoked=bool(revoked)
    )
