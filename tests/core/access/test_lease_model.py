"""Whatever is asked of the lease in whatever order: one holder, a number that only rises, and
no command of a former holder once another has been told that it is theirs."""

import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gently.core.access import (
    AccessDatabase,
    ControlLease,
    Lease,
    LeaseError,
    Principal,
    Scope,
)
from tests.core.access.conftest import Clock

PEOPLE = (
    Principal("ada", "a", "person", Scope.OPERATE),
    Principal("bob", "b", "person", Scope.OPERATE),
    Principal("owl", "o", "agent", Scope.OPERATE),
    Principal("chief", "c", "person", Scope.ADMIN),
)
anybody = st.sampled_from(PEOPLE)


class LeaseModel(RuleBasedStateMachine):
    """What the lease should be, kept as simply as can be."""

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.clock = Clock()
        self.number = 0
        self.holder: Principal | None = None
        self.ends = 0.0
        self.told: dict[str, int] = {}
        self.open()

    def open(self) -> None:
        self.database = AccessDatabase(Path(self.folder.name) / "access.sqlite")
        self.lease = ControlLease(self.database, clock=self.clock)

    def is_held(self) -> bool:
        return self.holder is not None and self.clock.now < self.ends

    @rule(by=anybody, ttl_s=st.integers(1, 100), take_over=st.booleans())
    def acquire(self, by: Principal, ttl_s: int, take_over: bool) -> None:
        takes = by.scope is Scope.ADMIN or by == self.holder
        takes |= self.holder is not None and (by.kind, self.holder.kind) == ("person", "agent")
        try:
            found = self.lease.acquire(by, ttl_s, take_over=take_over)
        except LeaseError:
            assert self.is_held()
            assert not (takes and take_over)
            return
        assert not self.is_held() or (takes and take_over)
        assert found.number == self.number + 1
        self.number, self.holder, self.ends = found.number, by, self.clock.now + ttl_s
        self.told[by.name] = found.number

    @rule(by=anybody, ttl_s=st.integers(1, 100))
    def renew(self, by: Principal, ttl_s: int) -> None:
        number = self.told.get(by.name, 0)
        try:
            self.lease.renew(by, number, ttl_s)
        except LeaseError:
            assert not self.is_held() or (by, number) != (self.holder, self.number)
            return
        assert self.is_held()
        assert (by, number) == (self.holder, self.number)
        self.ends = self.clock.now + ttl_s

    @rule(by=anybody)
    def release(self, by: Principal) -> None:
        number = self.told.get(by.name, 0)
        try:
            self.lease.release(by, number)
        except LeaseError:
            assert not self.is_held() or (by, number) != (self.holder, self.number)
            return
        assert self.is_held()
        assert (by, number) == (self.holder, self.number)
        self.holder = None

    @rule(by=anybody, says=st.sampled_from(["what it was told", "the present one", "none"]))
    def command(self, by: Principal, says: str) -> None:
        numbers = {"what it was told": self.told.get(by.name), "the present one": self.number}
        number = numbers.get(says)
        try:
            with self.lease.commanding(by, number):
                pass
        except LeaseError:
            assert self.is_held() or number is not None
            assert (by, number) != (self.holder, self.number) or not self.is_held()
            return
        if self.is_held():
            assert (by, number) == (self.holder, self.number)
        else:
            assert number is None

    @rule(seconds=st.integers(1, 60))
    def let_time_pass(self, seconds: int) -> None:
        self.clock.turn(seconds)

    @rule()
    def restart(self) -> None:
        self.database.close()
        self.open()

    @invariant()
    @precondition(lambda self: hasattr(self, "lease"))
    def agrees(self) -> None:
        now = self.lease.now
        assert now.number == self.number
        expected = self.holder.name if self.holder and self.is_held() else None
        assert now.holder == expected

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            self.folder.cleanup()


TestLeaseModel = LeaseModel.TestCase
TestLeaseModel.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)


@dataclass
class Microscope:
    """Remembers under which number each command took effect, and when each number was told."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    told: int = 0
    late: list[tuple[int, int]] = field(default_factory=list)
    done: int = 0

    def move(self, number: int) -> None:
        with self.lock:
            self.done += 1
            if number < self.told:
                self.late.append((number, self.told))

    def hand_over(self, lease: Lease) -> None:
        with self.lock:
            self.told = max(self.told, lease.number)


def test_with_threads_no_command_takes_effect_after_somebody_else_was_told(tmp_path: Path) -> None:
    microscope = Microscope()
    with closing(AccessDatabase(tmp_path / "access.sqlite")) as database:
        lease = ControlLease(database)
        over = threading.Event()

        def use(by: Principal) -> None:
            for _ in range(25):
                try:
                    held = lease.acquire(by, 60, take_over=True)
                except LeaseError:
                    continue
                microscope.hand_over(held)
                for _ in range(5):
                    try:
                        with lease.commanding(by, held.number):
                            over.wait(0.0002)
                            microscope.move(held.number)
                    except LeaseError:
                        break

        chiefs = [Principal(f"chief {n}", str(n), "person", Scope.ADMIN) for n in range(4)]
        threads = [threading.Thread(target=use, args=(by,)) for by in chiefs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert microscope.late == []
    assert microscope.told == 100
    assert microscope.done > 0
