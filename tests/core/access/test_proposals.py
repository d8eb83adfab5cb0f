"""Proposals: the exact content that a person has approved is done, once, and before it expires."""

import json
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gently.core.access import (
    AccessDatabase,
    Principal,
    Proposal,
    ProposalError,
    ProposalNotFoundError,
    Proposals,
    ProposalState,
    Scope,
    ScopeError,
    digest,
)
from gently.core.access import proposals as proposals_module
from gently.core.errors import PlanRefusedError, WrongStateError
from gently.core.items import Item
from tests.core.access.conftest import Clock

ADA = Principal("ada", "a", "person", Scope.OPERATE)
OWL = Principal("owl", "o", "agent", Scope.PROPOSE)
ITEM = Item(name="snap", kwargs={"exposure_ms": 5, "note": "é"}, meta={"sample": "beads"})


@pytest.fixture
def said() -> list[Proposal]:
    return []


@pytest.fixture
def proposals(database: AccessDatabase, clock: Clock, said: list[Proposal]) -> Proposals:
    return Proposals(database, said.append, clock=clock)


@pytest.fixture
def queue() -> list[Item]:
    return []


def propose(proposals: Proposals, item: Item = ITEM, **more: Any) -> Proposal:
    return proposals.propose(OWL, item, {"ok": True}, **{"ttl_s": 60, **more})


def test_what_is_approved_is_queued_as_it_was_proposed_with_who_approved_it(
    proposals: Proposals, queue: list[Item], clock: Clock
) -> None:
    proposed = propose(proposals, note="look closer")
    assert (proposed.state, proposed.by, proposed.note) == ("proposed", "owl", "look closer")

    approved = proposals.approve(ADA, proposed.proposal_uid, proposed.digest, queue.append)

    (item,) = queue
    assert (item.name, item.kwargs, item.meta) == (ITEM.name, ITEM.kwargs, ITEM.meta)
    assert (item.item_uid, item.user) == (proposed.item_uid, "owl")
    assert item.approval == {
        "proposal_uid": proposed.proposal_uid,
        "digest": proposed.digest,
        "by": "ada",
        "time": clock.now,
    }
    assert (approved.state, approved.decided_by) == ("approved", "ada")
    assert proposals.get(proposed.proposal_uid) == approved
    proposals.check(item)


def test_another_digest_is_not_approved(proposals: Proposals, queue: list[Item]) -> None:
    proposed = propose(proposals)
    other = digest(replace(ITEM, kwargs={"exposure_ms": 6}))
    with pytest.raises(ProposalError, match="not what was proposed"):
        proposals.approve(ADA, proposed.proposal_uid, other, queue.append)
    assert queue == []
    assert proposals.get(proposed.proposal_uid).state == "proposed"


def test_nothing_is_approved_twice(proposals: Proposals, queue: list[Item]) -> None:
    proposed = propose(proposals)
    proposals.approve(ADA, proposed.proposal_uid, proposed.digest, queue.append)
    with pytest.raises(ProposalError, match="approved by ada already"):
        proposals.approve(ADA, proposed.proposal_uid, proposed.digest, queue.append)
    with pytest.raises(ProposalError, match="approved by ada already"):
        proposals.reject(ADA, proposed.proposal_uid, "too late")
    assert len(queue) == 1


def test_a_decision_with_a_key_is_made_once_however_often_it_is_asked_for(
    proposals: Proposals, database: AccessDatabase, queue: list[Item]
) -> None:
    proposed, other = propose(proposals), propose(proposals)
    together, answers = threading.Barrier(8), list[Proposal]()

    def approve(these: Proposals = proposals, key: str = "k") -> None:
        uid = proposed.proposal_uid
        answers.append(these.approve(ADA, uid, proposed.digest, queue.append, key=key))

    def at_once() -> None:
        together.wait()
        approve()

    threads = [threading.Thread(target=at_once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    approve(Proposals(database))  # after a restart
    assert answers == [proposals.get(proposed.proposal_uid)] * 9
    assert [(item.item_uid, item.key) for item in queue] == [(proposed.item_uid, "k")]
    with pytest.raises(ProposalError, match="approved by ada already"):
        approve(key="another")
    with pytest.raises(ProposalError, match="approved by ada already"):
        proposals.reject(ADA, proposed.proposal_uid, "no", key="k")

    for _ in range(2):
        rejected = proposals.reject(ADA, other.proposal_uid, "no", key="k2")
        assert (rejected.state, rejected.reason) == ("rejected", "no")
    assert "key" not in rejected.message()


def test_of_two_who_approve_at_once_one_does(proposals: Proposals, queue: list[Item]) -> None:
    proposed = propose(proposals)
    together, refused = threading.Barrier(8), []

    def approve() -> None:
        together.wait()
        try:
            proposals.approve(ADA, proposed.proposal_uid, proposed.digest, queue.append)
        except ProposalError as error:
            refused.append(error)

    threads = [threading.Thread(target=approve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(queue), len(refused)) == (1, 7)


def test_what_has_expired_is_not_approved(
    proposals: Proposals, queue: list[Item], clock: Clock
) -> None:
    proposed = propose(proposals)
    clock.turn(60)
    assert proposals.get(proposed.proposal_uid).state == "expired"
    with pytest.raises(ProposalError, match="is expired"):
        proposals.approve(ADA, proposed.proposal_uid, proposed.digest, queue.append)
    assert queue == []


def test_what_is_rejected_is_so_with_the_reason(proposals: Proposals, queue: list[Item]) -> None:
    proposed = propose(proposals)
    rejected = proposals.reject(ADA, proposed.proposal_uid, "the sample is gone")
    assert (rejected.state, rejected.reason) == ("rejected", "the sample is gone")
    with pytest.raises(ProposalError, match="rejected by ada"):
        proposals.approve(ADA, proposed.proposal_uid, proposed.digest, queue.append)


@pytest.mark.parametrize(
    "by",
    [
        OWL,
        Principal("bat", "b", "agent", Scope.ADMIN),
        Principal("eve", "e", "person", Scope.PROPOSE),
    ],
    ids=lambda by: by.name,
)
def test_only_a_person_who_may_command_decides(
    proposals: Proposals, queue: list[Item], by: Principal
) -> None:
    proposed = propose(proposals)
    with pytest.raises(ScopeError, match="person who may command"):
        proposals.approve(by, proposed.proposal_uid, proposed.digest, queue.append)
    with pytest.raises(ScopeError, match="person who may command"):
        proposals.reject(by, proposed.proposal_uid, "no")


def test_what_the_queue_does_not_take_can_be_approved_once_more(
    proposals: Proposals, queue: list[Item]
) -> None:
    def full(_: Item) -> None:
        raise WrongStateError("busy")

    proposed = propose(proposals)
    with pytest.raises(WrongStateError, match="busy"):
        proposals.approve(ADA, proposed.proposal_uid, proposed.digest, full)
    assert proposals.get(proposed.proposal_uid) == proposed
    proposals.approve(ADA, proposed.proposal_uid, proposed.digest, queue.append)
    assert len(queue) == 1


CHANGES: dict[str, dict[str, Any]] = {
    "a parameter": {"kwargs": {"exposure_ms": 6}},
    "an argument": {"args": (1,)},
    "the plan": {"name": "sleep"},
    "the metadata": {"meta": {}},
    "its kind": {"item_type": "instruction"},
    "its uid": {"item_uid": "another"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_item_that_is_not_what_was_approved_is_refused(
    proposals: Proposals, queue: list[Item], change: dict[str, Any]
) -> None:
    proposed = propose(proposals)
    proposals.approve(ADA, proposed.proposal_uid, proposed.digest, queue.append)
    changed = replace(queue[0], **change)
    with pytest.raises(PlanRefusedError, match="not what was approved"):
        proposals.check(changed)
    forged = {**(changed.approval or {}), "digest": digest(changed)}
    with pytest.raises(PlanRefusedError, match="not what was approved"):
        proposals.check(replace(changed, approval=forged, item_uid="another"))


def test_an_approval_that_was_never_given_is_refused(proposals: Proposals) -> None:
    proposed = propose(proposals)
    for uid, words in [("nobody", "no proposal"), (proposed.proposal_uid, "is proposed, not")]:
        approval = {"proposal_uid": uid, "digest": proposed.digest, "by": "ada", "time": 0}
        with pytest.raises(PlanRefusedError, match=words):
            proposals.check(replace(ITEM, approval=approval, item_uid=proposed.item_uid))


def test_an_item_that_needs_no_approval_has_none_to_check(proposals: Proposals) -> None:
    proposals.check(ITEM)


def test_the_digest_is_that_of_the_content_whatever_the_order_of_its_keys() -> None:
    same = Item(name="snap", meta={"sample": "beads"}, kwargs={"note": "é", "exposure_ms": 5})
    assert digest(ITEM) == digest(same) != digest(replace(ITEM, kwargs={"exposure_ms": 5}))
    assert digest(ITEM) == digest(replace(ITEM, user="eve", item_uid="other"))
    kept = json.loads(json.dumps(dict(ITEM.kwargs)))
    assert digest(replace(ITEM, kwargs=kept)) == digest(ITEM)


def test_they_outlive_the_process(proposals: Proposals, database: AccessDatabase) -> None:
    proposed = propose(proposals)
    assert Proposals(database, clock=lambda: 0.0).get(proposed.proposal_uid) == proposed


@pytest.mark.parametrize(("is_queued", "state"), [(True, "approved"), (False, "proposed")])
def test_an_approval_that_the_end_of_the_process_interrupted_is_what_became_of_it(
    tmp_path: Path, clock: Clock, is_queued: bool, state: str
) -> None:
    class Killed(BaseException):
        pass

    def dies(item: Item) -> None:
        database.close()  # nothing is written after this
        raise Killed

    database = AccessDatabase(tmp_path / "access.sqlite")
    proposals = Proposals(database, clock=clock)
    proposed = propose(proposals)
    with pytest.raises(Exception, match="closed database"):
        proposals.approve(ADA, proposed.proposal_uid, proposed.digest, dies)

    with closing(AccessDatabase(tmp_path / "access.sqlite")) as database:
        again = Proposals(database, clock=clock, is_queued=lambda _: is_queued)
        assert again.get(proposed.proposal_uid).state == state


def test_those_that_wait_are_listed_newest_first(proposals: Proposals, clock: Clock) -> None:
    old = propose(proposals)
    clock.turn(1)
    new = propose(proposals)
    proposals.reject(ADA, old.proposal_uid, "no")
    uids = [one.proposal_uid for one in proposals.newest(10)]
    assert uids == [new.proposal_uid, old.proposal_uid]
    waiting = proposals.newest(10, ProposalState.PROPOSED)
    assert [one.proposal_uid for one in waiting] == uids[:1]
    assert len(proposals.newest(1)) == 1


def test_an_agent_cannot_bury_people_in_proposals(
    proposals: Proposals, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposals_module, "MOST_OPEN", 2)
    propose(proposals)
    propose(proposals)
    with pytest.raises(ProposalError, match="2 proposals wait"):
        propose(proposals)
    clock.turn(60)
    propose(proposals)


def test_one_that_is_not_there_is_told(proposals: Proposals) -> None:
    with pytest.raises(ProposalNotFoundError, match="'nobody'"):
        proposals.get("nobody")


def test_each_change_is_announced(
    proposals: Proposals, said: list[Proposal], queue: list[Item]
) -> None:
    proposed = propose(proposals)
    proposals.approve(ADA, proposed.proposal_uid, proposed.digest, queue.append)
    assert [one.state for one in said] == ["proposed", "approving", "approved"]
    assert "key_id" not in said[0].message()
