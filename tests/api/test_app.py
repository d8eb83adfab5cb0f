"""Routes and errors: whatever is asked, the answer is JSON that says what is wrong."""

import logging

import pytest
from starlette.testclient import TestClient

from gently.core.device_layer import DeviceLayer


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/api/queue", 404),
        ("POST", "/api/manager/stop", 404),
        ("POST", "/api/status", 405),
        ("DELETE", "/api/queue/clear", 405),
        ("GET", "/api/stop", 405),
        ("GET", "/api/queue/item/execute", 405),
        ("PUT", "/api/volumes", 405),
    ],
)
def test_a_wrong_path_or_method_is_told_so_in_json(
    client: TestClient, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert response.json()["detail"].startswith(f"{method} {path}: ")


def test_a_wrong_method_is_told_the_right_one(client: TestClient) -> None:
    assert client.get("/api/stop").headers["allow"] == "POST"


def test_an_error_of_our_own_is_a_500_that_tells_the_log_and_not_the_client(
    client: TestClient,
    layer: DeviceLayer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a secret of the inside")

    monkeypatch.setattr(layer.queue, "snapshot", broken)
    with caplog.at_level(logging.ERROR):
        response = client.get("/api/status")
    monkeypatch.undo()

    assert response.status_code == 500
    assert "its log has the cause" in response.json()["detail"]
    assert "secret" not in response.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "evil.example"),
        ("Host", "127.0.0.1.evil.example"),
        ("Host", ""),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
    ],
)
def test_a_request_for_or_from_another_host_is_refused(
    client: TestClient, name: str, value: str
) -> None:
    refused = client.post("/api/stop", headers={name: value})
    assert refused.status_code == 403
    assert name in refused.json()["detail"]


@pytest.mark.parametrize("origin", ["http://localhost:8080", "http://127.0.0.1:60610"])
def test_a_page_of_this_machine_may_ask(client: TestClient, origin: str) -> None:
    assert client.get("/api/status", headers={"Origin": origin}).status_code == 200
