"""What a plan would do, asked over HTTP: the report is answered whole, also on a refusal."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from gently.core.device_layer import DeviceLayer
from tests.api.talk import ended, get, plan, post

QUEUE_STOP = {"item_type": "instruction", "name": "queue_stop"}


def preflight(client: TestClient, name: str, **kwargs: Any) -> dict[str, Any]:
    return post(client, "plans/preflight", item=plan(name, **kwargs))


def test_it_says_what_a_plan_would_come_to(client: TestClient) -> None:
    found = preflight(client, "acquire_volume", num_slices=4, exposure_ms=20, step_um=2)

    assert found["ok"]
    assert found["refusals"] == []
    assert (found["volumes"], found["frames"]) == (1, 4)
    assert found["bytes_needed"] == 4 * 512 * 512 * 2
    assert found["bytes_free"] > found["bytes_needed"]
    assert found["seconds"] > 0.08
    assert found["light_ms"] >= 80
    assert found["energy_mj"] is None
    assert "light_sheet" in found["sources"]


def test_nothing_is_queued_or_moved_by_it(client: TestClient, layer: DeviceLayer) -> None:
    before = layer.device("xy_stage").read()

    assert preflight(client, "move_stage", x_um=500, y_um=20)["travel_um"]["xy_stage.x"] > 0

    after = layer.device("xy_stage").read()
    assert [value["value"] for value in after.values()] == [
        value["value"] for value in before.values()
    ]
    assert get(client, "queue/get")["items"] == []


def test_a_plan_that_would_be_refused_is_answered_with_all_reasons(client: TestClient) -> None:
    found = preflight(client, "move_stage", x_um=1e6, y_um="here")

    assert not found["ok"]
    assert [refusal["field"] for refusal in found["refusals"]] == ["y_um"]

    found = preflight(client, "acquire_volume", num_slices=1000, step_um=10)

    assert [(refusal["field"], refusal["step"]) for refusal in found["refusals"]] == [
        ("step_um", 4)
    ]


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"name": "dance"}, "name"),
        ({"name": "snap", "kwargs": {"colour": "red"}}, "colour"),
        ({"name": "snap", "meta": {"uid": "mine"}}, "meta.uid"),
        ({"name": "queue_stop", "item_type": "instruction"}, "item_type"),
    ],
)
def test_what_cannot_be_submitted_is_refused_by_its_field(
    client: TestClient, item: dict[str, Any], field: str
) -> None:
    found = post(client, "plans/preflight", item=item)

    assert not found["ok"]
    assert found["steps"] == 0
    assert [refusal["field"] for refusal in found["refusals"]] == [field]


def test_a_request_without_an_item_is_no_request(client: TestClient) -> None:
    answer = client.post("/api/plans/preflight", json={"plan": "snap"})

    assert answer.status_code == 422


def test_whoever_submits_an_item_is_told_in_short(
    client: TestClient, layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer.device("xy_stage"), "timeout_s", 0.001)
    moves = plan("move_stage", x_um=500, y_um=20)
    whole = post(client, "plans/preflight", item=moves)
    told = {name: whole[name] for name in ("ok", "is_whole", "seconds", "warnings")}
    assert "is given up" in told["warnings"][0]["message"]

    added = post(client, "queue/item/add", item=moves, idempotency_key="told in short")
    assert added["preflight"] == told
    again = post(client, "queue/item/add", item=moves, idempotency_key="told in short")
    assert again == {**added, "preflight": None}, "it was submitted before"
    assert post(client, "queue/item/update", item=added["item"])["preflight"] == told
    results = post(client, "queue/item/add/batch", items=[moves, QUEUE_STOP])["results"]
    assert [result["preflight"] for result in results] == [told, None]
    executed = post(client, "queue/item/execute", item=plan("sleep", duration_s=0))
    assert executed["preflight"]["ok"]
    ended(client, executed["item"]["item_uid"])
    started = client.post("/api/plans/snap/execute", json={}).json()
    assert started["preflight"]["is_whole"]
