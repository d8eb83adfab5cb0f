"""The control lease: whoever holds it moves the microscope, and nobody else does.

It has a number, which rises with each acquisition and never falls. A command says under which
number it comes, so that one that was sent before somebody else has taken over cannot be carried
out after it. While nobody holds the lease, whoever may command does.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from gently.core.access.database import AccessDatabase
from gently.core.access.errors import LeaseError
from gently.core.access.scope import Principal, PrincipalKind, Scope

__all__ = ["HEADER", "ControlLease", "Lease"]

HEADER: Final = "Gently-Lease"
IN_FLIGHT_S: Final = 4.0
"""How long an acquisition waits for the former holder's commands; clients wait 5 s."""


@dataclass(frozen=True)
class Lease:
    """Who has the microscope; times in seconds since the epoch. Without a holder, nobody has."""

    number: int = 0
    holder: str | None = None
    kind: PrincipalKind | None = None
    key_id: str | None = None
    since: float | None = None
    expires: float | None = None
    note: str | None = None

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        found = asdict(self)
        del found["key_id"]
        return found

    def is_held(self, now: float) -> bool:
        """Whether somebody has it."""
        return self.expires is not None and now < self.expires

    def __str__(self) -> str:
        why = f" ({self.note})" if self.note else ""
        return (
            f"{self.holder}, {'an agent' if self.kind == 'agent' else 'a person'}, has the "
            f"microscope since {_told(self.since)} until {_told(self.expires)}{why}, under number "
            f"{self.number}"
        )


class ControlLease:
    """The one lease of a device layer; safe from any thread.

    Parameters
    ----------
    database
        Where it is kept, with its number.
    announce
        Called with each new lease.
    clock
        Returns the seconds since the epoch.
    in_flight_s
        How long to wait for commands that are being carried out.
    """

    def __init__(
        self,
        database: AccessDatabase,
        announce: Callable[[Lease], object] = lambda _: None,
        *,
        clock: Callable[[], float] = time.time,
        in_flight_s: float = IN_FLIGHT_S,
    ) -> None:
        self._database = database
        self._announce = announce
        self._clock = clock
        self._in_flight_s = in_flight_s
        self._changing = threading.Lock()
        self._commands = threading.Condition()
        self._in_flight: Counter[int] = Counter()
        rows = database.rows("SELECT body FROM lease")
        self._lease = Lease(**json.loads(rows[0][0])) if rows else Lease()

    @property
    def now(self) -> Lease:
        """The lease as it is; one that has expired has only its number."""
        lease = self._lease
        return lease if lease.is_held(self._clock()) else Lease(lease.number)

    # ------------------------------------------------------------------ commands

    @contextmanager
    def commanding(self, by: Principal, number: int | None) -> Iterator[None]:
        """Carry out a command: nobody who takes over meanwhile is told so before it has ended.

        Parameters
        ----------
        by
            Who commands.
        number
            Under which they say they hold the lease; None if they do not say that they do.

        Raises
        ------
        LeaseError
            If it is held by somebody else, or not any more under this number.
        """
        with self._commands:
            under = self._admitted(by, number)
            self._in_flight[under] += 1
        try:
            yield
        finally:
            with self._commands:
                self._in_flight[under] -= 1
                self._in_flight += Counter()  # forgets those that nothing is under
                self._commands.notify_all()

    def _admitted(self, by: Principal, number: int | None) -> int:
        """Return the number under which a command is carried out; raises `LeaseError`."""
        now = self.now
        if now.holder is None:
            if number is not None:
                raise LeaseError(
                    f"Lease {number} has ended, and nobody holds the microscope. Acquire it anew "
                    f"with POST /api/control/acquire, or command without {HEADER}."
                )
            return now.number
        if by.key_id != now.key_id:
            raise LeaseError(f"{now}. {_how_to_go_on(by, now)}")
        if number != now.number:
            said = "no number" if number is None else f"number {number}"
            raise LeaseError(
                f"{now}; this command came with {said}. If you are that client, send "
                f"`{HEADER}: {now.number}`; {_how_to_go_on(by, now, sentence=False)}"
            )
        return now.number

    # ------------------------------------------------------------------ holders

    def acquire(
        self, by: Principal, ttl_s: float, note: str | None = None, *, take_over: bool = False
    ) -> Lease:
        """Take the lease for so many seconds, under a number that is higher than all before.

        Blocks until what was admitted under an earlier number has ended.

        Parameters
        ----------
        by
            Who takes it.
        ttl_s
            For how many seconds; `renew` it before they are over.
        note
            What for.
        take_over
            Take it from whoever holds it: a person from an agent, an admin from anybody, and
            everybody from themselves.

        Raises
        ------
        LeaseError
            If it is held by somebody from whom it is not taken, or if commands that were
            admitted before are still being carried out. In the latter case it has changed hands
            all the same; ask again, and take it over from yourself.
        """
        with self._changing:
            now = self.now
            if now.holder is not None and not (take_over and _may_take_over(by, now)):
                raise LeaseError(f"{now}. {_how_to_go_on(by, now)}")
            since = self._clock()
            lease = Lease(
                number=now.number + 1,
                holder=by.name,
                kind=by.kind,
                key_id=by.key_id,
                since=since,
                expires=since + ttl_s,
                note=note,
            )
            self._become(lease)
        self._wait_for_commands_before(lease)
        return lease

    def renew(self, by: Principal, number: int | None, ttl_s: float) -> Lease:
        """Hold the lease for so many seconds from now; raises `LeaseError` if it is lost."""
        with self._changing:
            lease = self._held(by, number)
            self._become(replace(lease, expires=self._clock() + ttl_s))
            return self._lease

    def release(self, by: Principal, number: int | None) -> Lease:
        """Give the lease back; raises `LeaseError` if it is lost."""
        with self._changing:
            lease = self._held(by, number)
            self._become(Lease(lease.number))
            return self._lease

    def _held(self, by: Principal, number: int | None) -> Lease:
        if number is None:
            raise LeaseError(f"Say which lease you hold, with the header {HEADER}.")
        with self._commands:
            self._admitted(by, number)
        return self.now

    def _become(self, lease: Lease) -> None:
        """Let a lease become true: first on the disk, then for commands."""
        body = json.dumps(asdict(lease))
        self._database.write("INSERT OR REPLACE INTO lease VALUES (1, ?)", body)
        with self._commands:
            self._lease = lease
        self._announce(lease)

    def _wait_for_commands_before(self, lease: Lease) -> None:
        with self._commands:
            ended = self._commands.wait_for(
                lambda: all(number >= lease.number for number in self._in_flight),
                self._in_flight_s,
            )
            before = sum(n for number, n in self._in_flight.items() if number < lease.number)
        if not ended:
            raise LeaseError(
                f"{lease}, but {before} command(s) that came before are still being carried out: "
                "acquire it again with take_over to be told when they have ended, or stop the "
                "microscope with POST /api/stop."
            )


def _may_take_over(by: Principal, now: Lease) -> bool:
    return (
        by.key_id == now.key_id
        or by.scope >= Scope.ADMIN
        or (by.kind == "person" and now.kind == "agent")
    )


def _how_to_go_on(by: Principal, now: Lease, *, sentence: bool = True) -> str:
    if _may_take_over(by, now):
        found = "take it over with POST /api/control/acquire and take_over: true."
    else:
        found = "wait until then, or ask them to release it; POST /api/stop works for everybody."
    return found[0].upper() + found[1:] if sentence else found


def _told(seconds: float | None) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds)) if seconds else "?"
