"""Keys, control and proposals with the real scripts: without ceremony, and whatever ends them."""

import os
import stat
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests import API_KEY
from tests.e2e.conftest import DeviceLayers, Script, run_copilot

ITEM = {"name": "sleep", "kwargs": {"duration_s": 0.01}}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the key is made, as for somebody who has never started gently."""
    file = tmp_path / "config" / "api-key"
    monkeypatch.delenv("GENTLY_API_KEY")
    monkeypatch.setenv("GENTLY_KEY_FILE", str(file))
    return file


def test_the_first_start_makes_a_key_that_local_programs_find_and_nothing_tells(
    device_layer: DeviceLayers, file: Path, tmp_path: Path
) -> None:
    layer = device_layer("demo", tmp_path / "data")

    key = file.read_text().strip()
    if os.name == "posix":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert httpx2.get(f"{layer.url}/api/status").status_code == 401
    with layer.client() as client:
        assert client.status().manager_state == "idle"
    done = run_copilot(layer.url, "snap exposure_ms=5")
    assert done.returncode == 0, done.stderr
    said = layer.said()
    assert f"the key is in {file}" in said
    assert layer.end() == 0
    for text in (said, layer.said(), done.stdout, done.stderr):
        assert key not in text
    for kept in (tmp_path / "data").rglob("*"):
        assert not kept.is_file() or key.encode() not in kept.read_bytes(), kept


def test_a_key_that_others_can_read_is_refused(
    device_layer: DeviceLayers, file: Path, tmp_path: Path
) -> None:
    if os.name != "posix":
        pytest.skip("only POSIX has these modes")
    file.parent.mkdir()
    file.write_text("0123456789abcdef0123456789abcdef\n")
    file.chmod(0o644)
    layer = device_layer("demo", tmp_path / "data", ready=False)
    assert layer.process.wait(60) == 1
    assert "chmod 600" in layer.said()


def ask(
    layer: Script, key: str, method: str, path: str, lease: int | None = None, **body: object
) -> tuple[int, dict[str, Any]]:
    """Return the status and the answer."""
    headers = {"Authorization": f"ApiKey {key}"}
    if lease is not None:
        headers["Gently-Lease"] = str(lease)
    url = f"{layer.url}/api/{path}"
    answer = httpx2.request(method, url, json=body, headers=headers, timeout=30)
    found: dict[str, Any] = answer.json()
    return answer.status_code, found


def test_what_was_acknowledged_survives_the_sudden_end_of_the_process(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    layer = device_layer("demo", tmp_path / "data")
    ada = API_KEY
    _, made = ask(layer, ada, "POST", "auth/apikey", name="owl", kind="agent", scopes=["propose"])
    owl = made["secret"]
    _, approved = ask(layer, owl, "POST", "proposals", item=ITEM)
    _, waiting = ask(layer, owl, "POST", "proposals", item=ITEM)
    path = f"proposals/{approved['proposal_uid']}/approve"
    assert ask(layer, ada, "POST", path, digest=approved["digest"])[0] == 200
    _, gone = ask(layer, ada, "POST", "auth/apikey", name="bat")
    eight = gone["first_eight"]
    assert ask(layer, ada, "DELETE", f"auth/apikey?first_eight={eight}")[0] == 200
    _, lease = ask(layer, ada, "POST", "control/acquire", ttl_s=3600)
    number = lease["number"]
    assert ask(layer, ada, "POST", "lock", number, lock_key="mine", queue=True)[1]["success"]

    layer.kill()
    layer = device_layer("demo", tmp_path / "data")

    assert ask(layer, ada, "GET", "control")[1] == lease
    assert "came with no number" in ask(layer, ada, "POST", "queue/clear")[1]["detail"]
    assert "Invalid lock key" in ask(layer, ada, "POST", "queue/clear", number)[1]["msg"]
    assert ask(layer, ada, "POST", "unlock", number, lock_key="mine")[1]["success"]
    assert ask(layer, gone["secret"], "GET", "status")[0] == 401
    assert ask(layer, owl, "GET", "auth/whoami")[1]["scopes"] == ["view", "propose"]
    assert ask(layer, ada, "POST", path, number, digest=approved["digest"])[0] == 409
    queued = ask(layer, ada, "GET", "queue/get")[1]["items"]
    assert [item["item_uid"] for item in queued] == [approved["item_uid"]]
    path = f"proposals/{waiting['proposal_uid']}/approve"
    assert ask(layer, ada, "POST", path, number, digest=waiting["digest"])[0] == 200
    _, taken = ask(layer, ada, "POST", "control/acquire", take_over=True)
    assert taken["number"] == number + 1
