"""Keys: who they were given to, what they are good for, and until when."""

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Final

from gently.core.access.database import AccessDatabase
from gently.core.access.errors import KeyNotFoundError, NotAuthenticatedError, ScopeError
from gently.core.access.scope import Principal, PrincipalKind, Scope
from gently.core.errors import WrongStateError

__all__ = ["LOCAL", "ApiKey", "KeyStore", "mint"]

LOCAL: Final = "local"
"""The id of the key of this machine, which is kept elsewhere and cannot be revoked here."""

_COLUMNS: Final = "key_id, hash, name, kind, scope, note, made, expires, parent, latest_activity"
_BYTES: Final = 36
_MOST: Final = 100
"""How many keys one principal can have: one that may only look cannot fill the disk."""

_UNKNOWN: Final = (
    "The key is not known here, has expired or was revoked. `python -m gently.local_key` prints "
    "the one of this machine; an admin makes others with POST /api/auth/apikey."
)


def mint() -> str:
    """Return a new secret of hexadecimal digits, of which the first eight are no secret."""
    return secrets.token_hex(_BYTES)


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """What is known of a key; not the key.

    Parameters
    ----------
    key_id
        By which it is told from others: its first eight characters, or `LOCAL`.
    hash
        Of the key, with a salt.
    name, kind, scope
        Whose it is, and what it is good for.
    note
        What it is for.
    made, expires, latest_activity
        In seconds since the epoch; a key that does not expire has None. The last is kept
        while the process lives, and written when it ends.
    parent
        The key of the same principal by which it was made, and with which it ends.
    """

    key_id: str
    hash: bytes
    name: str
    kind: PrincipalKind
    scope: Scope
    note: str | None
    made: float
    expires: float | None
    parent: str | None = None
    latest_activity: float | None = None

    @property
    def first_eight(self) -> str:
        """What people tell it by; that of this machine by its hash, since it may be a short one."""
        return self.hash.hex()[:8] if self.key_id == LOCAL else self.key_id

    @property
    def principal(self) -> Principal:
        """Whoever comes with it."""
        return Principal(self.name, self.key_id, self.kind, self.scope)


class KeyStore:
    """The keys of one device layer; safe from any thread.

    Parameters
    ----------
    database
        Where they are kept.
    local_key
        The key of this machine: a person's, good for everything.
    owner
        The name of that person.
    clock
        Returns the seconds since the epoch.
    """

    def __init__(
        self,
        database: AccessDatabase,
        local_key: str,
        owner: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._clock = clock
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}
        self._adopt(database.hashed(local_key), owner)
        (self._local,) = self._read("key_id = ?").values()
        self._keys = self._read("key_id <> ?")
        # Compared with when there is no such key, so that this takes as long as when there is.
        self._nobody = replace(self._local, hash=database.hashed(mint()))

    def close(self) -> None:
        """Write down when each key was used last."""
        with self._database.writing():
            for key_id, used in dict(self._used).items():
                self._database.write(
                    "UPDATE key SET latest_activity = ? WHERE key_id = ?", used, key_id
                )

    def check(self, secret: str) -> ApiKey:
        """Return the key that this is; raises `NotAuthenticatedError`."""
        hashed = self._database.hashed(secret)
        candidates = (self._local, self._keys.get(secret[:8], self._nobody))
        found = [key for key in candidates if hmac.compare_digest(key.hash, hashed)]
        if not found or self._has_expired(found[0]):
            raise NotAuthenticatedError(_UNKNOWN)
        self._used[found[0].key_id] = self._clock()
        return found[0]

    def get(self, key_id: str) -> ApiKey | None:
        """Return a key that is good, by its id."""
        found = self._local if key_id == LOCAL else self._keys.get(key_id)
        return None if found is None or self._has_expired(found) else found

    def all(self) -> list[ApiKey]:
        """Return the keys that are good, that of this machine first."""
        return [
            replace(key, latest_activity=self._used.get(key.key_id, key.latest_activity))
            for key in (self._local, *self._keys.values())
            if not self._has_expired(key)
        ]

    def create(
        self,
        by: Principal,
        *,
        scope: Scope | None = None,
        expires_in_s: float | None = None,
        note: str | None = None,
        name: str | None = None,
        kind: PrincipalKind | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key; return what is known of it, and the key, which is told this once.

        Parameters
        ----------
        by
            Who asks. What they do not say is as they have it themselves.
        scope
            What it is good for, which cannot be more than who asks may do.
        expires_in_s
            How long it is good; None for ever. One that somebody makes for themselves does not
            outlive the key that they came with.
        note
            What it is for.
        name, kind
            Whose it is; only an admin can give keys to others.

        Raises
        ------
        ScopeError
            If who asks may not make such a key.
        WrongStateError
            If there are too many of this principal's already.
        """
        with self._lock:
            key = self._asked_for(by, scope, expires_in_s, note, name, kind)
            secret = mint()
            while secret[:8] in self._keys:
                secret = mint()
            key = replace(key, key_id=secret[:8], hash=self._database.hashed(secret))
            self._put(key)
            self._keys = {**self._keys, key.key_id: key}
        return key, secret

    def revoke(self, by: Principal, first_eight: str) -> ApiKey:
        """End a key, and those made with it; an admin anybody's, others their own.

        Raises
        ------
        KeyNotFoundError
            If there is none that they could end.
        """
        with self._lock:
            key = self._keys.get(first_eight[:8])
            if key is None or (by.name != key.name and by.scope < Scope.ADMIN):
                raise KeyNotFoundError(
                    f"{by.name} has no key that begins with these eight characters and could be "
                    "ended; that of this machine ends when its file is deleted and the device "
                    "layer started again"
                )
            with self._database.writing():
                self._database.write("DELETE FROM key WHERE key_id = ?", key.key_id)
            self._keys = self._read("key_id <> ?")
        return key

    def _asked_for(
        self,
        by: Principal,
        scope: Scope | None,
        expires_in_s: float | None,
        note: str | None,
        name: str | None,
        kind: PrincipalKind | None,
    ) -> ApiKey:
        """Return a key that is as yet without a secret."""
        scope, name, kind = scope or by.scope, name or by.name, kind or by.kind
        is_own = (name, kind) == (by.name, by.kind)
        if scope > by.scope:
            raise ScopeError(f"A key can be good for no more than yours, which is {by.scope}.")
        if not is_own and by.scope < Scope.ADMIN:
            raise ScopeError("Only a key with the scope admin can make keys for others.")
        parent = self.get(by.key_id)
        if parent is None:
            raise NotAuthenticatedError(_UNKNOWN)
        if sum(key.name == name for key in self.all()) >= _MOST:
            raise WrongStateError(f"{name} has {_MOST} keys already; revoke those not in use.")
        now = self._clock()
        ends = [parent.expires] if is_own and parent.expires is not None else []
        ends += [now + expires_in_s] if expires_in_s is not None else []
        return ApiKey(
            key_id="",
            hash=b"",
            name=name,
            kind=kind,
            scope=scope,
            note=note,
            made=now,
            expires=min(ends, default=None),
            parent=by.key_id if is_own else None,
        )

    def _adopt(self, hashed: bytes, owner: str) -> None:
        """Write the key of this machine down; what another one has begun ends."""
        key = ApiKey(
            key_id=LOCAL,
            hash=hashed,
            name=owner,
            kind="person",
            scope=Scope.ADMIN,
            note="the key of this machine",
            made=self._clock(),
            expires=None,
        )
        with self._database.writing():
            self._database.write("DELETE FROM key WHERE key_id = ? AND hash <> ?", LOCAL, hashed)
            self._database.write("DELETE FROM key WHERE expires < ?", self._clock())
            self._database.write("UPDATE key SET name = ? WHERE key_id = ?", owner, LOCAL)
            self._put(key)

    def _put(self, key: ApiKey) -> None:
        values = ", ".join("?" * len(astuple(key)))
        self._database.write(
            f"INSERT OR IGNORE INTO key ({_COLUMNS}) VALUES ({values})",  # noqa: S608
            *astuple(key),
        )

    def _read(self, condition: str) -> dict[str, ApiKey]:
        """Return the keys of which it is true, when the key of this machine is put into it."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM key WHERE {condition} ORDER BY made",  # noqa: S608
            LOCAL,
        )
        names = _COLUMNS.split(", ")
        found = [dict(zip(names, row, strict=True)) for row in rows]
        keys = [ApiKey(**{**row, "scope": Scope(row["scope"])}) for row in found]
        return {key.key_id: key for key in keys}

    def _has_expired(self, key: ApiKey) -> bool:
        return key.expires is not None and key.expires <= self._clock()
