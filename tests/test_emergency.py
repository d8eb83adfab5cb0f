"""The emergency stop tells what was read back, and its exit code is 0 only if all is safe."""

import io
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import start_device_layer
from gently.emergency import emergency_stop
from tests.scripted_device_layer import CUT, ScriptedDeviceLayer, scripted_device_layer

STOPPED = {"stopped": True, "readings": {"shutter": {"value": "closed"}}}
MOVES = {"stopped": False, "error": "no answer within 2 s"}


@pytest.fixture
def server() -> Iterator[ScriptedDeviceLayer]:
    with scripted_device_layer() as server:
        yield server


def stop(url: str) -> tuple[int, str]:
    out = io.StringIO()
    return emergency_stop(url, out), out.getvalue()


def test_is_safe_when_every_device_was_read_back_at_rest(server: ScriptedDeviceLayer) -> None:
    server.answers["POST stop"] = {
        "success": True,
        "devices": {"shutter": STOPPED},
        "item_uid": "i1",
    }
    code, said = stop(server.url)
    assert code == 0
    assert said.splitlines() == [
        "everything stopped",
        "  shutter stopped (shutter closed)",
        "  item i1 was ended",
    ]
    assert server.asked == [("POST stop", {"reason": "emergency stop on the command line"})]


def test_names_the_device_that_refused_and_what_to_do_by_hand(server: ScriptedDeviceLayer) -> None:
    devices = {"shutter": STOPPED, "piezo": MOVES}
    server.answers["POST stop"] = {"success": False, "devices": devices}
    code, said = stop(server.url)
    assert code == 1
    assert "NOT everything stopped" in said
    assert "piezo did NOT stop: no answer within 2 s" in said
    assert "emergency switch" in said


def test_says_that_nothing_was_stopped_where_nobody_answers() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    code, said = stop(url)
    assert code == 3
    assert "NOTHING WAS STOPPED" in said
    assert url in said
    assert "emergency switch" in said


def test_asks_again_when_the_connection_breaks(server: ScriptedDeviceLayer) -> None:
    server.answers["POST stop"] = [CUT, {"success": True, "devices": {"shutter": STOPPED}}]
    assert stop(server.url)[0] == 0


def test_claims_nothing_that_it_does_not_know(server: ScriptedDeviceLayer) -> None:
    server.answers["POST stop"] = (500, "oops")
    code, said = stop(server.url)
    assert code == 1
    assert "It is not known what was stopped" in said


def test_says_that_nothing_was_stopped_if_it_was_refused(server: ScriptedDeviceLayer) -> None:
    server.answers["POST stop"] = (401, {"detail": "unknown key"})
    code, said = stop(server.url)
    assert code == 1
    assert "NOTHING WAS STOPPED: unknown key" in said
    assert "emergency switch" in said


def test_is_not_kept_from_it_by_settings_that_cannot_be_read(
    server: ScriptedDeviceLayer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gently.yml").write_text("prot: 5")
    server.answers["POST stop"] = {"success": True, "devices": {"shutter": STOPPED}}
    assert start_device_layer.main(["--stop", "--port", str(server.port)]) == 0
    assert "prot is no setting" in capsys.readouterr().err
