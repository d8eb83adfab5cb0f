"""The audit log at the HTTP edge: a line for each command, whatever came of it."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from gently.api.app import ROUTES
from gently.core.access import Scope
from gently.core.device_layer import DeviceLayer
from tests.api.talk import add, ended, execute, get, key_for, plan, post


def entries(layer: DeviceLayer) -> list[dict[str, Any]]:
    return [e for e in layer.audit.entries(1_000) if e["kind"] != "process"]


@pytest.fixture
def before(layer: DeviceLayer) -> int:
    return len(entries(layer))


def new(layer: DeviceLayer, before: int) -> list[dict[str, Any]]:
    """Return what was recorded since, oldest first."""
    found = entries(layer)
    return found[: len(found) - before][::-1]


def test_a_command_leaves_who_what_from_where_and_which_item(
    client: TestClient, layer: DeviceLayer, before: int
) -> None:
    uid = execute(client, "sleep", duration_s=0)
    ended(client, uid)

    (entry,) = new(layer, before)
    assert entry["what"] == "POST /api/queue/item/execute"
    assert (entry["item_name"], entry["item_uid"]) == ("sleep", uid)
    assert (entry["outcome"], entry["status"], entry["detail"]) == ("done", 200, "")
    assert entry["name"]
    assert entry["kind"] == "person"
    assert 0 < len(entry["key_id"]) <= 8
    assert ":" in entry["origin"]
    assert len(entry["digest"]) == 64


def test_a_refusal_of_the_dialect_is_recorded_as_one_though_it_is_answered_with_200(
    client: TestClient, layer: DeviceLayer, before: int
) -> None:
    post(client, "queue/item/add", item=plan("move_focus", z_um=1e9))

    (entry,) = new(layer, before)
    assert (entry["outcome"], entry["status"]) == ("refused", 200)
    assert entry["item_name"] == "move_focus"
    assert "z_um" in entry["detail"]


def test_a_batch_names_all_its_items(client: TestClient, layer: DeviceLayer, before: int) -> None:
    items = [plan("sleep", duration_s=1), plan("read_position")]
    answer = post(client, "queue/item/add/batch", items=items)

    (entry,) = new(layer, before)
    assert entry["item_name"] == "sleep, read_position"
    assert entry["item_uid"].split() == [item["item_uid"] for item in answer["items"]]


def test_a_body_that_is_none_is_recorded_with_the_command_that_it_was_for(
    client: TestClient, layer: DeviceLayer, before: int
) -> None:
    assert client.post("/api/queue/start", content=b"{").status_code == 400

    (entry,) = new(layer, before)
    assert entry["what"] == "POST /api/queue/start"
    assert (entry["outcome"], entry["status"]) == ("refused", 400)
    assert "no JSON" in entry["detail"]


def test_whoever_is_turned_away_at_the_door_is_recorded_unless_they_only_look(
    client: TestClient, layer: DeviceLayer, before: int
) -> None:
    elsewhere = {"Host": "elsewhere.example"}
    assert client.get("/api/status", headers=elsewhere).status_code == 403
    assert client.post("/api/queue/start", headers=elsewhere).status_code == 403

    (entry,) = new(layer, before)
    assert (entry["what"], entry["status"]) == ("POST /api/queue/start", 403)
    assert entry["name"] == ""


def test_a_wrong_key_is_recorded_and_is_not_in_the_log(
    stranger: TestClient, layer: DeviceLayer, before: int
) -> None:
    wrong = {"Authorization": "ApiKey not-the-key-of-anybody"}
    assert stranger.post("/api/queue/start", headers=wrong).status_code == 401

    (entry,) = new(layer, before)
    assert (entry["what"], entry["outcome"], entry["status"]) == (
        "POST /api/queue/start",
        "refused",
        401,
    )
    assert (entry["name"], entry["key_id"]) == ("", "")
    layer.audit.flush()
    assert b"not-the-key" not in layer.audit.path.read_bytes()


def test_too_small_a_scope_is_recorded_with_whose_it_was(
    stranger: TestClient, layer: DeviceLayer, before: int
) -> None:
    key = key_for(layer, Scope.VIEW)
    assert stranger.post("/api/queue/start", headers=key).status_code == 403

    (entry,) = new(layer, before)
    assert (entry["outcome"], entry["status"]) == ("refused", 403)
    assert entry["key_id"] == key["Authorization"].split()[1][:8]
    assert "scope operate" in entry["detail"]


def test_a_command_against_the_lease_is_recorded_as_refused(
    client: TestClient, stranger: TestClient, layer: DeviceLayer, before: int
) -> None:
    number = post(client, "control/acquire")["number"]
    other = key_for(layer, Scope.OPERATE)
    assert stranger.post("/api/queue/clear", headers=other, json={}).status_code == 409
    client.post("/api/control/release", headers={"Gently-Lease": str(number)})

    found = [(e["what"], e["outcome"], e["status"]) for e in new(layer, before)]
    assert ("POST /api/control/acquire", "done", 200) in found
    assert ("POST /api/queue/clear", "refused", 409) in found


def test_no_secret_of_a_login_or_a_new_key_is_in_the_log(
    client: TestClient, layer: DeviceLayer, before: int
) -> None:
    secret = client.post("/api/auth/apikey", json={"expires_in": 60}).json()["secret"]

    (entry,) = new(layer, before)
    assert entry["what"] == "POST /api/auth/apikey"
    assert secret.encode() not in layer.audit.path.read_bytes()


@pytest.mark.parametrize(
    "body",
    [{"items": 5}, {"items": [5, {"name": ["x"] * 999}]}, {"item": "x"}, {"uid": {"a": 1}}],
    ids=repr,
)
def test_nonsense_is_recorded_as_well(
    client: TestClient, layer: DeviceLayer, before: int, body: dict[str, Any]
) -> None:
    client.post("/api/queue/item/add/batch", json=body)

    (entry,) = new(layer, before)
    assert entry["outcome"] == "refused"
    assert len(entry["item_name"]) <= 200


def test_a_stop_is_recorded_with_the_item_that_it_has_ended(
    client: TestClient, layer: DeviceLayer, before: int
) -> None:
    uid = execute(client, "sleep", duration_s=30)
    assert post(client, "stop", reason="enough")["success"]

    entry = new(layer, before)[-1]
    assert entry["what"] == "POST /api/stop"
    assert entry["item_uid"] == uid
    assert entry["outcome"] == "done"


def test_looking_leaves_no_line(client: TestClient, layer: DeviceLayer, before: int) -> None:
    for route in ("status", "queue/get", "settings", "audit"):
        get(client, route)
    post(client, "re/runs")
    assert new(layer, before) == []


def test_a_command_that_fails_inside_is_recorded_as_failed(
    client: TestClient, layer: DeviceLayer, before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(layer.queue, "clear", broken)
    assert client.post("/api/queue/clear", json={}).status_code == 500

    (entry,) = new(layer, before)
    assert entry["outcome"] == "failed"
    assert entry["detail"] == "a bug"


def test_the_digest_tells_parameters_apart_and_says_nothing_of_secrets(
    client: TestClient, layer: DeviceLayer, before: int
) -> None:
    for key in ("one", "two"):
        post(client, "lock", lock_key=key, queue=True)
        post(client, "unlock", lock_key=key)
    for duration_s in (1, 2):
        post(client, "queue/item/add", item=plan("sleep", duration_s=duration_s))

    locks, adds = (
        [e["digest"] for e in new(layer, before) if e["what"].endswith(what)]
        for what in ("/lock", "/add")
    )
    assert locks[0] == locks[1]
    assert adds[0] != adds[1]


def test_everything_that_moves_or_changes_something_is_audited() -> None:
    harmless = {"POST /api/re/runs", "POST /api/audit/verify", "POST /api/plans/preflight"}
    unaudited = {route.name for route in ROUTES if route.method != "GET" and not route.is_audited}
    assert unaudited <= harmless


def test_what_is_logged_while_an_item_is_dealt_with_is_about_it(
    client: TestClient, layer: DeviceLayer
) -> None:
    uid = add(client, "sleep", duration_s=1)
    post(client, "queue/item/remove", uid=uid)

    lines = get(client, f"items/{uid}/log")["lines"]
    assert [line.split(": ")[1] for line in lines] == ["item.queued", "item.cancelled"]
