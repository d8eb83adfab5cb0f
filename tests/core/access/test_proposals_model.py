"""Whatever is proposed, approved, changed and replayed, in whatever order and across restarts:
what runs is what a person has seen, and runs once."""

import threading
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from gently.core.access import (
    AccessDatabase,
    Principal,
    Proposal,
    ProposalError,
    Proposals,
    Scope,
    digest,
)
from gently.core.errors import PlanRefusedError, WrongStateError
from gently.core.items import Item
from tests.core.access.conftest import Clock

ADA = Principal("ada", "a", "person", Scope.OPERATE)
OWL = Principal("owl", "o", "agent", Scope.PROPOSE)

parameters = st.dictionaries(
    st.sampled_from(["x_um", "y_um", "note"]),
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=3),
    max_size=3,
)


@dataclass
class Known:
    """What should be true of a proposal."""

    item: Item
    expires: float
    state: str = "proposed"


class ProposalsModel(RuleBasedStateMachine):
    """What proposals should be, kept as simply as can be."""

    uids: Bundle[str] = Bundle("uids")

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory()
        self.clock = Clock()
        self.known: dict[str, Known] = {}
        self.queued: list[Item] = []
        self.open()

    def open(self) -> None:
        self.database = AccessDatabase(Path(self.folder.name) / "access.sqlite")
        self.proposals = Proposals(
            self.database,
            clock=self.clock,
            is_queued=lambda uid: any(item.item_uid == uid for item in self.queued),
        )

    @rule(target=uids, kwargs=parameters, ttl_s=st.integers(1, 100))
    def propose(self, kwargs: dict[str, object], ttl_s: int) -> str:
        item = Item(name="move", kwargs=kwargs)
        proposal = self.proposals.propose(OWL, item, {"ok": True}, ttl_s=ttl_s)
        self.known[proposal.proposal_uid] = Known(item, self.clock.now + ttl_s)
        return proposal.proposal_uid

    @rule(uid=uids, takes=st.booleans())
    def approve(self, uid: str, takes: bool) -> None:
        def queue(item: Item) -> None:
            if not takes:
                raise WrongStateError("busy")
            self.queued.append(item)

        known = self.known[uid]
        try:
            self.proposals.approve(ADA, uid, digest(known.item), queue)
        except ProposalError:
            assert self.state_of(uid) != "proposed"
        except WrongStateError:
            assert not takes
            assert self.state_of(uid) == "proposed"
        else:
            assert takes
            assert self.state_of(uid) == "proposed"
            known.state = "approved"

    @rule(uid=uids, kwargs=parameters)
    def approve_what_was_changed(self, uid: str, kwargs: dict[str, object]) -> None:
        changed = digest(replace(self.known[uid].item, kwargs=kwargs))
        if changed == digest(self.known[uid].item):
            return
        before = len(self.queued)
        try:
            self.proposals.approve(ADA, uid, changed, self.queued.append)
        except ProposalError:
            assert len(self.queued) == before
        else:
            raise AssertionError("it was approved")

    @rule(uid=uids)
    def reject(self, uid: str) -> None:
        try:
            self.proposals.reject(ADA, uid, "no")
        except ProposalError:
            assert self.state_of(uid) != "proposed"
        else:
            assert self.state_of(uid) == "proposed"
            self.known[uid].state = "rejected"

    @rule(kwargs=parameters, data=st.data())
    def change_what_waits(self, kwargs: dict[str, object], data: st.DataObject) -> None:
        if not self.queued:
            return
        item = data.draw(st.sampled_from(self.queued))
        changed = replace(item, kwargs=kwargs)
        same = digest(changed) == digest(item)
        forged = {**(item.approval or {}), "digest": digest(changed)}
        for one in (changed, replace(changed, approval=forged)):
            try:
                self.proposals.check(one)
            except PlanRefusedError:
                assert not same
            else:
                assert same

    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Put what was approved into the queue once more, as an item of its own."""
        if not self.queued:
            return
        try:
            self.proposals.check(data.draw(st.sampled_from(self.queued)).again())
        except PlanRefusedError:
            return
        raise AssertionError("it would run again")

    @rule(seconds=st.integers(1, 60))
    def let_time_pass(self, seconds: int) -> None:
        self.clock.turn(seconds)

    @rule()
    def restart(self) -> None:
        self.database.close()
        self.open()

    def state_of(self, uid: str) -> str:
        known = self.known[uid]
        is_late = known.state == "proposed" and known.expires <= self.clock.now
        return "expired" if is_late else known.state

    @invariant()
    def agrees(self) -> None:
        for uid in getattr(self, "known", ()):
            assert self.proposals.get(uid).state == self.state_of(uid)

    @invariant()
    def runs_what_was_seen_and_once(self) -> None:
        if not hasattr(self, "known"):
            return
        approved = [uid for uid, known in self.known.items() if known.state == "approved"]
        asked = [item.approval["proposal_uid"] for item in self.queued if item.approval]
        assert sorted(asked) == sorted(approved)
        for item in self.queued:
            self.proposals.check(item)

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.close()
            self.folder.cleanup()


TestProposalsModel = ProposalsModel.TestCase
TestProposalsModel.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_with_threads_each_is_decided_once(tmp_path: Path) -> None:
    decided: list[str] = []
    with closing(AccessDatabase(tmp_path / "access.sqlite")) as database:
        proposals = Proposals(database)
        made: list[Proposal] = [
            proposals.propose(OWL, Item(name="snap"), {}, ttl_s=60) for _ in range(10)
        ]

        def decide(number: int) -> None:
            for one in made:
                try:
                    if number % 2:
                        proposals.reject(ADA, one.proposal_uid, "no")
                    else:
                        proposals.approve(ADA, one.proposal_uid, one.digest, lambda _: None)
                except ProposalError:
                    continue
                decided.append(one.proposal_uid)

        threads = [threading.Thread(target=decide, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(decided) == sorted(one.proposal_uid for one in made)
