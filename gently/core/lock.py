"""The lock of Bluesky's dialect: whoever knows the key may act, everybody else may look.

It keeps cooperating clients out of each other's way. It survives a restart, as whatever it
was set for does, and it never holds up a stop.
"""

import hmac
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from uuid import uuid4

from gently.core.access import AccessDatabase
from gently.core.errors import WrongStateError

__all__ = ["ControlLock", "LockedError", "Part"]

Part = Literal["environment", "queue"]


class LockedError(WrongStateError):
    """The key does not fit, or there is none."""


@dataclass(frozen=True)
class _Locked:
    environment: bool = False
    queue: bool = False
    user: str | None = None
    time: float | None = None
    note: str | None = None
    hashed_key: str = field(default="", repr=False)

    @property
    def is_set(self) -> bool:
        return self.environment or self.queue

    def __str__(self) -> str:
        parts = " and the ".join(name for name in ("environment", "queue") if getattr(self, name))
        why = f": {self.note}" if self.note else ""
        return (
            f"The {parts} was locked by {self.user} at {_told(self.time)}{why}. Give their "
            "lock_key, or ask them to unlock; if they are gone, the API key of this machine "
            "unlocks as well."
        )


class ControlLock:
    """Locks the environment (what runs), the queue (what waits), or both.

    Safe from any thread; `lock` and `unlock` write to the disk.

    Parameters
    ----------
    database
        Where it is kept, with a hash of the key.
    emergency_key
        Unlocks whatever is locked, and does nothing else.
    announce
        Called with the new `info` after each change.
    """

    def __init__(
        self,
        database: AccessDatabase,
        emergency_key: str,
        announce: Callable[[dict[str, Any]], object],
    ) -> None:
        self._database = database
        self._emergency = self._hashed(emergency_key)
        self._announce = announce
        self._changing = threading.Lock()
        rows = database.rows("SELECT body FROM lock")
        self._now = _Locked(**json.loads(rows[0][0])) if rows else _Locked()
        self.uid = uuid4().hex

    def is_locked(self, part: Part) -> bool:
        """Whether this part is locked."""
        return self._now.environment if part == "environment" else self._now.queue

    def info(self) -> dict[str, Any]:
        """Return who has locked what, when and why; never the key."""
        now = self._now
        found = asdict(now)
        del found["hashed_key"]
        return {
            **found,
            "time_str": _told(now.time),
            "emergency_lock_key_is_set": True,
        }

    def check(self, key: str | None, *parts: Part) -> None:
        """Raise `LockedError` if one of the parts is locked with another key."""
        if any(self.is_locked(part) for part in parts) and not self._fits(key):
            raise LockedError(f"Invalid lock key: {self._now}")

    def lock(
        self, key: str, *, environment: bool, queue: bool, user: str, note: str | None
    ) -> None:
        """Lock, or change what is locked with this key.

        Raises
        ------
        LockedError
            If it is locked with another key.
        WrongStateError
            If nothing is to be locked.
        """
        if not (environment or queue):
            raise WrongStateError("Say what to lock: environment, queue, or both.")
        with self._changing:
            if self._now.is_set and not self._fits(key):
                raise LockedError(f"It is locked with a different key: {self._now}")
            self._become(_Locked(environment, queue, user, time.time(), note, self._hashed(key)))

    def unlock(self, key: str) -> None:
        """Unlock both; does nothing if nothing is locked. Raises `LockedError`."""
        with self._changing:
            if not self._now.is_set:
                return
            if not hmac.compare_digest(self._hashed(key), self._emergency):
                self.check(key, "environment", "queue")
            self._become(_Locked())

    def _become(self, locked: _Locked) -> None:
        body = json.dumps(asdict(locked))
        self._database.write("INSERT OR REPLACE INTO lock VALUES (1, ?)", body)
        self._now, self.uid = locked, uuid4().hex
        self._announce(self.info())

    def _fits(self, key: str | None) -> bool:
        if key is None:
            return False
        return hmac.compare_digest(self._hashed(key), self._now.hashed_key)

    def _hashed(self, key: str) -> str:
        return self._database.hashed(key).hex()


def _told(seconds: float | None) -> str:
    return time.strftime("%m/%d/%Y %H:%M:%S", time.localtime(seconds)) if seconds else ""
