"""Health, metrics, logs and the audit log over HTTP."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from gently.core.device_layer import DeviceLayer
from tests.api.talk import ended, execute, get, post


def test_health_says_ok_or_why_not_and_is_answered_in_any_case(
    client: TestClient, layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = client.get("/healthz").json()
    assert {name for name, check in found["checks"].items() if not check["ok"]} <= {"disk"}

    monkeypatch.setattr(layer.instrument.core, "answers", lambda _: False)

    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json()["status"] == "degraded"
    assert any(reason.startswith("core: ") for reason in response.json()["reasons"])


def test_metrics_are_what_prometheus_reads(client: TestClient) -> None:
    client.post("/api/queue/start", content=b"{")

    response = client.get("/metrics")

    assert response.headers["content-type"].startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(response.text)}
    assert {"gently_queue_length", "gently_items", "gently_stop_seconds"} <= names
    assert 'gently_requests_refused_total{status="400"}' in response.text


def test_every_setting_is_shown_with_its_source(client: TestClient, layer: DeviceLayer) -> None:
    settings = get(client, "settings")["settings"]

    assert settings.keys() == type(layer.settings).model_fields.keys()
    assert settings["config"] == {"value": "demo", "source": "command line"}
    assert settings["port"] == {"value": 60610, "source": "default"}


def test_the_log_of_an_item_is_served(client: TestClient) -> None:
    uid = execute(client, "snap", exposure_ms=1)
    ended(client, uid)

    answer = get(client, f"items/{uid}/log")
    assert answer["item_uid"] == uid
    assert all(f" {uid} " in line for line in answer["lines"])
    assert "item.completed" in answer["lines"][-1]
    assert len(get(client, f"items/{uid}/log", limit=1)["lines"]) == 1
    assert client.get("/api/items/unknown/log").status_code == 404


def test_the_audit_log_is_paged_and_verified(client: TestClient, layer: DeviceLayer) -> None:
    for _ in range(3):
        post(client, "queue/clear")

    first = get(client, "audit", limit=2)
    second = get(client, "audit", limit=2, before=first["next"])
    verdict = post(client, "audit/verify")

    assert [entry["what"] for entry in first["entries"]] == ["POST /api/queue/clear"] * 2
    assert second["entries"][0]["n"] == first["entries"][-1]["n"] - 1
    assert verdict["ok"]
    assert verdict["count"] == first["entries"][0]["n"]
    noted = f"{verdict['count']}:{verdict['hash']}"
    post(client, "queue/clear")
    assert post(client, "audit/verify", head=noted)["ok"]
    assert client.post("/api/audit/verify", json={"head": "x"}).status_code == 422


def test_an_edit_of_the_audit_log_is_found(client: TestClient, layer: DeviceLayer) -> None:
    post(client, "queue/clear")
    layer.audit.flush()
    path: Path = layer.audit.path
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"done"', b'"dome"', 1))
    try:
        verdict = post(client, "audit/verify")
    finally:
        path.write_bytes(whole)

    assert not verdict["ok"]
    assert "not as it was written" in verdict["findings"][0]
    assert post(client, "audit/verify")["ok"]
