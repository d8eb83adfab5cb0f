"""The control lease: one moves the microscope, the others are told who, and a late command is not
carried out."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from gently.core.access import (
    AccessDatabase,
    ControlLease,
    Lease,
    LeaseError,
    Principal,
    PrincipalKind,
    Scope,
)
from tests.core.access.conftest import Clock


def somebody(name: str, kind: PrincipalKind = "person", scope: Scope = Scope.OPERATE) -> Principal:
    return Principal(name, f"key-of-{name}", kind, scope)


ADA, BOB = somebody("ada"), somebody("bob")
OWL, BAT = somebody("owl", "agent"), somebody("bat", "agent")
CHIEF = somebody("chief", scope=Scope.ADMIN)


@pytest.fixture
def said() -> list[Lease]:
    return []


@pytest.fixture
def lease(database: AccessDatabase, clock: Clock, said: list[Lease]) -> ControlLease:
    return ControlLease(database, said.append, clock=clock, in_flight_s=0.05)


def commands(lease: ControlLease, by: Principal, number: int | None = None) -> bool:
    try:
        with lease.commanding(by, number):
            return True
    except LeaseError:
        return False


def test_while_nobody_holds_it_everybody_may_command(lease: ControlLease) -> None:
    assert lease.now == Lease()
    assert commands(lease, ADA)
    assert commands(lease, OWL)


def test_whoever_holds_it_commands_under_its_number_and_nobody_else(lease: ControlLease) -> None:
    held = lease.acquire(ADA, 60, "beads")
    assert (held.number, held.holder, held.kind, held.note) == (1, "ada", "person", "beads")
    assert commands(lease, ADA, 1)
    for by, number in [(ADA, None), (ADA, 2), (BOB, None), (BOB, 1), (OWL, 1), (CHIEF, 1)]:
        assert not commands(lease, by, number), (by, number)


def test_a_refusal_names_the_holder_since_when_until_when_and_how_to_go_on(
    lease: ControlLease, clock: Clock
) -> None:
    lease.acquire(ADA, 60, "beads")
    since, until = (
        time.strftime("%H:%M:%S", time.localtime(clock.now + seconds)) for seconds in (0, 60)
    )
    with pytest.raises(LeaseError) as refused, lease.commanding(BOB, None):
        pass
    for words in ("ada, a person", since, until, "(beads)", "ask them to release it", "/api/stop"):
        assert words in str(refused.value)
    with pytest.raises(LeaseError, match="take_over"), lease.commanding(CHIEF, None):
        pass
    with pytest.raises(LeaseError, match=r"send `Gently-Lease: 1`"), lease.commanding(ADA, None):
        pass


def test_it_ends_when_it_is_released_or_over(lease: ControlLease, clock: Clock) -> None:
    held = lease.acquire(ADA, 60)
    lease.release(ADA, held.number)
    assert commands(lease, OWL)
    lease.acquire(OWL, 60)
    clock.turn(60)
    assert lease.now == Lease(2)
    assert commands(lease, ADA)


def test_its_former_holder_is_told_even_while_nobody_holds_it(
    lease: ControlLease, clock: Clock
) -> None:
    lease.acquire(ADA, 60)
    clock.turn(60)
    with pytest.raises(LeaseError, match="Lease 1 has ended"), lease.commanding(ADA, 1):
        pass


def test_renewing_moves_its_end_and_keeps_its_number(lease: ControlLease, clock: Clock) -> None:
    held = lease.acquire(ADA, 60)
    clock.turn(59)
    assert lease.renew(ADA, held.number, 60).expires == clock.now + 60
    clock.turn(59)
    assert commands(lease, ADA, held.number)
    clock.turn(1)
    with pytest.raises(LeaseError, match="has ended"):
        lease.renew(ADA, held.number, 60)
    with pytest.raises(LeaseError, match="has ended"):
        lease.release(ADA, held.number)


def test_only_its_holder_renews_or_releases_it(lease: ControlLease) -> None:
    held = lease.acquire(ADA, 60)
    for by, number in [(BOB, held.number), (ADA, held.number + 1), (ADA, None)]:
        with pytest.raises(LeaseError):
            lease.renew(by, number, 60)
        with pytest.raises(LeaseError):
            lease.release(by, number)
    assert lease.now == held


@pytest.mark.parametrize(
    ("holder", "by", "may"),
    [
        (OWL, ADA, True),
        (OWL, CHIEF, True),
        (OWL, BAT, False),
        (ADA, OWL, False),
        (ADA, BOB, False),
        (ADA, CHIEF, True),
        (ADA, ADA, True),
    ],
    ids=lambda value: value.name if isinstance(value, Principal) else str(value),
)
def test_who_takes_over_from_whom(
    lease: ControlLease, holder: Principal, by: Principal, may: bool
) -> None:
    lease.acquire(holder, 60)
    with pytest.raises(LeaseError, match="Take it over" if may else "Wait until then"):
        lease.acquire(by, 60)
    if may:
        assert lease.acquire(by, 60, take_over=True).number == 2
        assert commands(lease, by, 2)
        assert not commands(lease, holder, 1)
    else:
        with pytest.raises(LeaseError):
            lease.acquire(by, 60, take_over=True)
        assert commands(lease, holder, 1)


def test_each_change_is_announced_without_the_key(lease: ControlLease, said: list[Lease]) -> None:
    lease.acquire(ADA, 60)
    lease.renew(ADA, 1, 70)
    lease.release(ADA, 1)
    assert [(one.number, one.holder) for one in said] == [(1, "ada"), (1, "ada"), (1, None)]
    assert set(said[0].message()) == {"number", "holder", "kind", "since", "expires", "note"}


def test_it_survives_the_process_and_its_number_never_falls(tmp_path: Path, clock: Clock) -> None:
    for number in range(1, 4):
        with closing(AccessDatabase(tmp_path / "access.sqlite")) as database:
            lease = ControlLease(database, clock=clock)
            if number > 1:
                assert (lease.now.number, lease.now.holder) == (number - 1, "ada")
            assert lease.acquire(ADA, 60, take_over=True).number == number


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_taking_over_waits_for_the_command_that_is_being_carried_out(
    database: AccessDatabase, stack: ExitStack
) -> None:
    lease = ControlLease(database)
    lease.acquire(OWL, 60)
    command = ExitStack()
    command.enter_context(lease.commanding(OWL, 1))
    answered = threading.Event()

    def take_over() -> None:
        lease.acquire(ADA, 60, take_over=True)
        answered.set()

    thread = threading.Thread(target=take_over)
    thread.start()
    stack.callback(thread.join)
    while lease.now.holder != "ada":
        time.sleep(0.001)

    assert not commands(lease, OWL, 1), "no other command may begin meanwhile"
    assert not answered.wait(0.05)
    command.close()
    assert answered.wait(10)


def test_one_that_does_not_end_keeps_the_new_holder_from_being_told_that_it_has(
    lease: ControlLease,
) -> None:
    with lease.commanding(OWL, None):
        with pytest.raises(LeaseError, match=r"1 command\(s\) that came before"):
            lease.acquire(ADA, 60)
        with pytest.raises(LeaseError, match=r"1 command\(s\)"):
            lease.acquire(ADA, 60, take_over=True)
    assert lease.acquire(ADA, 60, take_over=True).number == 3
