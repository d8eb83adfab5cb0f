"""The WebSockets: what they send, when, and to whom."""

from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from tests.api.talk import execute, get, post

HOST = "ws://127.0.0.1"  # the test client would name another


@pytest.mark.parametrize("path", ["info", "status"])
def test_the_status_is_sent_at_once_and_when_it_changes(client: TestClient, path: str) -> None:
    with client.websocket_connect(f"{HOST}/api/{path}/ws") as socket:
        first = socket.receive_json()
        assert first["msg"]["status"]["status_uid"] == get(client, "status")["status_uid"]
        assert first["time"] == first["msg"]["status"]["time"]

        uid = execute(client, "sleep", duration_s=30)

        while first["msg"]["status"]["running_item_uid"] != uid:
            first = socket.receive_json()


def test_the_lines_of_the_log_are_sent_as_they_come(client: TestClient) -> None:
    with client.websocket_connect(f"{HOST}/api/console_output/ws") as socket:
        uid = execute(client, "sleep", duration_s=30)

        said: dict[str, Any] = {"msg": ""}
        while f"item.started: sleep {uid}\n" not in said["msg"]:
            said = socket.receive_json()
        assert said["time"] > 0


def test_a_page_from_elsewhere_cannot_listen(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect(
            f"{HOST}/api/status/ws", headers={"Origin": "http://elsewhere.example"}
        ),
    ):
        pass


def test_console_output_is_read_on_from_the_last_line(client: TestClient) -> None:
    start = get(client, "console_output/uid")["console_output_uid"]
    post(client, "queue/clear")
    execute(client, "sleep", duration_s=30)

    answer = get(client, "console_output_update", last_msg_uid=start)

    assert any("item.started: sleep" in line["msg"] for line in answer["console_output_msgs"])
    assert "item.started: sleep" in get(client, "console_output", nlines=500)["text"]
    assert get(client, "console_output_update", last_msg_uid="")["console_output_msgs"] == []
    everything = get(client, "console_output_update", last_msg_uid="ALL")
    assert len(everything["console_output_msgs"]) >= len(answer["console_output_msgs"])
