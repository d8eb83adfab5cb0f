"""Streams end with the key or the token that they were opened with, and say why."""

import json
import threading
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from gently.api import standing
from gently.core.access import AccessStoreError, Scope
from gently.core.device_layer import DeviceLayer
from tests import API_KEY
from tests.api.talk import key_for
from tests.waiting import until

SOCKETS = ["events", "status", "info", "console_output"]
Headers = dict[str, str]


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    assert standing.LOOK_S <= 1, "it is promised within two seconds"
    monkeypatch.setattr(standing, "LOOK_S", 0.02)


def revoke(layer: DeviceLayer, headers: Headers) -> None:
    local = layer.access.keys.check(API_KEY).principal
    layer.access.keys.revoke(local, headers["Authorization"].split()[1][:8])


def heard_until_its_end(client: TestClient, headers: Headers, end: Callable[[], None]) -> str:
    """Follow the events, and let `end` be called meanwhile."""
    thread = threading.Thread(target=end)
    thread.start()
    text = client.get("/api/events", headers=headers).text
    thread.join()
    return text


@pytest.mark.parametrize("path", SOCKETS)
def test_a_websocket_is_closed_when_its_key_is_revoked(
    client: TestClient, layer: DeviceLayer, path: str
) -> None:
    headers = key_for(layer, Scope.VIEW)

    def listen_to_the_end() -> None:
        while True:
            socket.receive_json()

    with client.websocket_connect(f"ws://127.0.0.1/api/{path}/ws", headers=headers) as socket:
        revoke(layer, headers)
        with pytest.raises(WebSocketDisconnect) as closed:
            listen_to_the_end()
    assert closed.value.code == 4401
    assert "has expired or was revoked" in closed.value.reason


def test_server_sent_events_end_with_the_reason_when_their_key_is_revoked(
    client: TestClient, layer: DeviceLayer
) -> None:
    headers = key_for(layer, Scope.VIEW)
    before = layer.events.followers

    def end() -> None:
        until(lambda: layer.events.followers > before)
        last.append(layer.events.publish("tick").seq)
        revoke(layer, headers)

    last: list[int] = []
    *_, farewell = heard_until_its_end(client, headers, end).strip().split("\n\n")

    assert farewell.startswith("event: events.dropped\ndata: "), "it has no id"
    told = json.loads(farewell.partition("data: ")[2])
    assert "has expired or was revoked" in told["reason"]
    assert told["seq"] >= last[0]
    until(lambda: layer.events.followers == before)


@pytest.mark.parametrize("how", ["the token expires", "the session is ended"])
def test_a_stream_ends_with_its_token(
    client: TestClient, layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    sessions = layer.access.sessions
    if how == "the token expires":
        monkeypatch.setattr(sessions, "_access_s", 0.3)
    token = sessions.open(layer.access.keys.check(API_KEY).name, API_KEY).access_token

    before = layer.events.followers

    def end() -> None:
        until(lambda: layer.events.followers > before)
        if how == "the session is ended":
            sessions.end(token)

    text = heard_until_its_end(client, {"Authorization": f"Bearer {token}"}, end)

    assert text.rstrip().splitlines()[-2] == "event: events.dropped"


def test_a_disk_that_does_not_answer_ends_nobodys_stream(
    client: TestClient, layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = key_for(layer, Scope.VIEW)
    asked: list[str] = []

    def broken(secret: str) -> None:
        asked.append(secret)
        raise AccessStoreError("the disk does not answer")

    with client.websocket_connect("ws://127.0.0.1/api/events/ws", headers=headers) as socket:
        with monkeypatch.context() as patch:
            patch.setattr(layer.access.keys, "check", broken)
            until(lambda: len(asked) > 1)
        event = layer.events.publish("tick")
        assert socket.receive_json()["seq"] == event.seq
