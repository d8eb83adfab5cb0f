"""Proposals over HTTP: an agent asks, a person decides, and exactly that is done, once."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from gently.core.access import Scope
from gently.core.device_layer import DeviceLayer
from gently.core.errors import PlanRefusedError
from tests.api.talk import Answer, ended, get, key_for, plan, post

Headers = dict[str, str]


@pytest.fixture
def owl(layer: DeviceLayer) -> Headers:
    """An agent that may only propose."""
    return key_for(layer, Scope.PROPOSE, name="owl", kind="agent")


@pytest.fixture
def ada(layer: DeviceLayer) -> Iterator[Headers]:
    """A person who may command."""
    yield key_for(layer, Scope.OPERATE, name="ada")
    for one in layer.access.proposals.newest(1000):
        if one.state == "proposed":
            by = layer.access.keys.all()[0].principal
            layer.access.proposals.reject(by, one.proposal_uid, "the test is over")


def propose(client: TestClient, owl: Headers, item: Answer | None = None, **more: Any) -> Answer:
    body = {"item": item or plan("sleep", duration_s=0.01), **more}
    answer = client.post("/api/proposals", json=body, headers=owl)
    assert answer.status_code == 200, answer.text
    found: Answer = answer.json()
    return found


def approve(
    client: TestClient, proposal: Answer, ada: Headers, status: int = 200, **more: Any
) -> Answer:
    uid, body = proposal["proposal_uid"], {"digest": proposal["digest"], **more}
    answer = client.post(f"/api/proposals/{uid}/approve", json=body, headers=ada)
    assert answer.status_code == status, answer.text
    found: Answer = answer.json()
    return found


def test_an_agent_that_may_propose_commands_nothing(client: TestClient, owl: Headers) -> None:
    for path in ("queue/item/add", "queue/item/execute"):
        body = {"item": plan("sleep", duration_s=0)}
        assert client.post(f"/api/{path}", json=body, headers=owl).status_code == 403


def test_what_a_person_approves_is_run_as_it_was_proposed(
    client: TestClient, owl: Headers, ada: Headers
) -> None:
    item = {**plan("sleep", duration_s=0.01), "meta": {"why": "to rest"}}
    proposal = propose(client, owl, item, note="tired")
    assert (proposal["state"], proposal["by"], proposal["note"]) == ("proposed", "owl", "tired")
    assert get(client, f"proposals/{proposal['proposal_uid']}") == proposal
    assert get(client, "proposals", state="proposed")["proposals"] == [proposal]
    assert get(client, "queue/get")["items"] == []

    approved = approve(client, proposal, ada, execute=True)

    assert (approved["state"], approved["decided_by"]) == ("approved", "ada")
    found = ended(client, proposal["item_uid"])
    assert found["state"] == "completed"
    assert found["item"]["user"] == "owl"
    assert found["item"]["meta"] == {"why": "to rest"}
    assert found["item"]["approval"] == {
        "proposal_uid": proposal["proposal_uid"],
        "digest": proposal["digest"],
        "by": "ada",
        "time": approved["decided"],
    }


def test_without_being_told_to_execute_it_waits_at_the_back(
    client: TestClient, owl: Headers, ada: Headers
) -> None:
    post(client, "queue/item/add", item=plan("sleep", duration_s=0))
    proposal = propose(client, owl)
    approve(client, proposal, ada)
    assert get(client, "queue/get")["items"][-1]["item_uid"] == proposal["item_uid"]


def test_what_could_not_run_is_refused_when_it_is_proposed(
    client: TestClient, owl: Headers
) -> None:
    for item, field in [
        (plan("sleep", duration_s="long"), "duration_s"),
        (plan("nothing"), "name"),
        ({"item_type": "function", "name": "queue_stop"}, "item_type"),
    ]:
        refused = client.post("/api/proposals", json={"item": item}, headers=owl)
        assert refused.status_code == 422, item
        assert refused.json()["errors"][0]["field"] == field


def test_nothing_else_is_approved_than_what_was_seen(
    client: TestClient, owl: Headers, ada: Headers
) -> None:
    seen = propose(client, owl, plan("sleep", duration_s=0.01))
    other = propose(client, owl, plan("sleep", duration_s=0.02))
    refused = approve(client, {**other, "digest": seen["digest"]}, ada, status=409)
    assert "not what was proposed" in refused["detail"]
    assert get(client, "queue/get")["items"] == []


def test_nothing_is_approved_twice_or_after_it_was_rejected(
    client: TestClient, owl: Headers, ada: Headers
) -> None:
    proposal = propose(client, owl)
    approve(client, proposal, ada)
    assert "approved by ada already" in approve(client, proposal, ada, status=409)["detail"]
    other = propose(client, owl)
    path = f"/api/proposals/{other['proposal_uid']}/reject"
    assert client.post(path, json={"reason": "no"}, headers=ada).json()["reason"] == "no"
    assert "rejected by ada already" in approve(client, other, ada, status=409)["detail"]
    assert len(get(client, "queue/get")["items"]) == 1


def test_a_decision_that_is_sent_again_with_its_key_is_answered_as_the_first_time(
    client: TestClient, owl: Headers, ada: Headers
) -> None:
    proposal, other = propose(client, owl), propose(client, owl)
    keyed = {**ada, "Idempotency-Key": proposal["proposal_uid"]}
    first = approve(client, proposal, keyed)
    assert approve(client, proposal, keyed) == first
    assert len(get(client, "queue/get")["items"]) == 1
    refused = approve(client, other, keyed, status=409)
    assert "submitted before" in refused["detail"], "it is the key of another request"
    path = f"/api/proposals/{other['proposal_uid']}/reject"
    body = {"reason": "no", "idempotency_key": "no"}
    answers = [client.post(path, json=body, headers=ada).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0]["state"] == "rejected"


def test_a_proposal_that_is_sent_again_with_its_key_is_one(
    client: TestClient, owl: Headers, ada: Headers
) -> None:
    keyed = {**owl, "Idempotency-Key": "lost answer"}
    first = propose(client, keyed)
    assert propose(client, keyed) == first
    assert propose(client, owl)["proposal_uid"] != first["proposal_uid"]
    assert approve(client, first, ada)["state"] == "approved"
    assert propose(client, keyed)["state"] == "approved"
    other = {"item": plan("sleep", duration_s=0.02)}
    refused = client.post("/api/proposals", json=other, headers=keyed)
    assert refused.status_code == 409
    assert "take a new one for each" in refused.json()["detail"]
    mine = propose(client, {**ada, "Idempotency-Key": "lost answer"})
    assert mine["proposal_uid"] != first["proposal_uid"], "it is another client's key"


def test_an_agent_that_may_command_still_approves_nothing(
    client: TestClient, layer: DeviceLayer, owl: Headers, ada: Headers
) -> None:
    proposal = propose(client, owl)
    bat = key_for(layer, Scope.OPERATE, name="bat", kind="agent")
    assert "a person who may command" in approve(client, proposal, bat, status=403)["detail"]


def test_what_was_approved_cannot_be_changed_while_it_waits(
    client: TestClient, owl: Headers, ada: Headers
) -> None:
    proposal = propose(client, owl)
    approve(client, proposal, ada)
    (item,) = get(client, "queue/get")["items"]
    changed = {**item, "kwargs": {"duration_s": 1}}
    for replaced in (False, True):
        refused = post(client, "queue/item/update", item=changed, replace=replaced)
        assert "approved as it is" in refused["msg"]
    assert get(client, "queue/get")["items"] == [item]


def test_nobody_says_by_themselves_that_something_was_approved(client: TestClient) -> None:
    approval = {"proposal_uid": "x", "digest": "y", "by": "ada", "time": 0}
    item = {**plan("sleep", duration_s=0), "approval": approval}
    assert "approval" not in post(client, "queue/item/add", item=item)["item"]


def test_one_whose_content_was_changed_behind_the_queue_fails_before_it_runs(
    client: TestClient, layer: DeviceLayer, owl: Headers, ada: Headers
) -> None:
    proposal = propose(client, owl)
    approve(client, proposal, ada)
    (waiting,) = layer.queue.snapshot().waiting
    changed = replace(waiting, kwargs={"duration_s": 5})
    layer.queue.update(waiting.item_uid, changed)  # as an edit of the file would
    with pytest.raises(PlanRefusedError):
        layer.prepare(changed)

    post(client, "queue/start")

    found = ended(client, proposal["item_uid"])
    assert found["state"] == "failed"
    assert "not what was approved" in found["result"]["msg"]
    assert found["result"]["run_uids"] == []
    assert get(client, "queue/get")["items"] == [], "it is not put back to be tried again"


def test_what_was_approved_is_done_once_by_a_queue_that_loops(
    client: TestClient, owl: Headers, ada: Headers
) -> None:
    proposal = propose(client, owl)
    approve(client, proposal, ada)
    post(client, "queue/mode/set", mode={"loop": True})
    post(client, "queue/start")
    assert ended(client, proposal["item_uid"])["state"] == "completed"
    assert get(client, "queue/get")["items"] == []


def test_if_the_microscope_is_busy_it_can_be_approved_again_later(
    client: TestClient, owl: Headers, ada: Headers
) -> None:
    post(client, "queue/item/execute", item=plan("sleep", duration_s=30))
    proposal = propose(client, owl)
    assert "busy" in approve(client, proposal, ada, status=409, execute=True)["detail"]
    assert get(client, f"proposals/{proposal['proposal_uid']}")["state"] == "proposed"
    assert approve(client, proposal, ada)["state"] == "approved"


def test_approving_is_a_command_and_needs_the_lease(
    client: TestClient, layer: DeviceLayer, owl: Headers, ada: Headers
) -> None:
    proposal = propose(client, owl)
    bob = key_for(layer, Scope.OPERATE, name="bob")
    lease = client.post("/api/control/acquire", json={}, headers=bob).json()
    under = {**bob, "Gently-Lease": str(lease["number"])}
    try:
        assert "bob" in approve(client, proposal, ada, status=409)["detail"]
        assert approve(client, proposal, under)["decided_by"] == "bob"
    finally:
        client.post("/api/control/release", headers=under)


def test_each_step_is_an_event(
    client: TestClient, layer: DeviceLayer, owl: Headers, ada: Headers
) -> None:
    first = layer.events.last_seq
    approve(client, propose(client, owl), ada)
    said = [
        event.data["proposal"] for event in layer.events.after(first) if event.kind == "proposal"
    ]
    assert [event["state"] for event in said] == ["proposed", "approving", "approved"]


def test_one_that_is_not_there_is_not_found(client: TestClient, ada: Headers) -> None:
    assert client.get("/api/proposals/nobody").status_code == 404
    approve(client, {"proposal_uid": "nobody", "digest": "x"}, ada, status=404)
