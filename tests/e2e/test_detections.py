"""Embryos are found beside an acquisition, by a process that may be killed at any moment."""

import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from benchmarks.phantoms import ORDINARY, Phantom
from storage import VolumeStore
from tests import AUTHORIZATION
from tests.e2e.conftest import DeviceLayers
from tests.visualization.specimen import keep

PHANTOM = Phantom(ORDINARY.resized((1024, 1024), 0.325), 3)
ENDED = {"completed", "failed", "cancelled"}


def test_a_detector_that_is_killed_at_its_work_costs_an_acquisition_no_frame(
    device_layer: DeviceLayers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENTLY_SAM_MODEL", "tiny")
    with VolumeStore(tmp_path / "data") as store:
        source = keep(store, PHANTOM.pixels[None], pixel_size_um=0.325).uid
    layer = device_layer("demo")
    process = psutil.Process(layer.process.pid)
    answers: list[int] = []
    hooks = {"response": [lambda answer: answers.append(len(answer.read()))]}
    with (
        layer.client() as client,
        httpx.Client(
            base_url=f"{layer.url}/api/", headers=AUTHORIZATION, timeout=10, event_hooks=hooks
        ) as http,
    ):
        found = followed(http, begun(http, uid=source, detector="sam"))
        assert found["result"]["detector"] == "sam"
        assert len(found["result"]["objects"]) == len(PHANTOM.ovals)
        if sys.platform == "linux":  # elsewhere nobody says what a process has loaded
            assert "torch" not in loaded(process)
            assert "torch" in loaded(psutil.Process(http.get("detector").json()["pid"]))

        as_fast_as_it_goes = client.plans().acquire_volume(
            num_slices=300, exposure_ms=1.0, step_um=0.0
        )
        item = client.execute(as_fast_as_it_goes)
        flood = [begun(http, uid=source, timeout_s=60) for _ in range(3)]
        psutil.Process(at_work(http, flood)).kill()
        outcomes = [followed(http, uid)["state"] for uid in flood]
        state = client.wait(item.item_uid)
        assert state.state == "completed", state
        (volume,) = http.get("volumes", params={"plan": "acquire_volume"}).json()["volumes"]
        assert (volume["frames"], volume["dropped"], volume["status"]) == (300, 0, "complete")
        assert sorted(outcomes) == ["completed", "completed", "failed"]
        assert http.get("detector").json()["starts"] == 2
        # Two million bytes of pixels were looked at, and more than that drawn: none were told.
        assert max(answers) < PHANTOM.pixels.nbytes / 100
    child = process.children()
    assert layer.end() == 0
    assert not any(each.is_running() for each in child)


def begun(http: httpx.Client, **body: Any) -> str:
    response = http.post("detections", json=body)
    assert response.status_code == 200, response.text
    return str(response.json()["detection_uid"])


def followed(http: httpx.Client, uid: str) -> dict[str, Any]:
    while (found := http.get(f"detections/{uid}").json())["state"] not in ENDED:
        time.sleep(0.02)
    return dict(found)


def at_work(http: httpx.Client, uids: list[str]) -> int:
    """Wait until the process is at one of these, and return which process that is."""
    while (status := http.get("detector").json())["working_on"] not in uids or not status["pid"]:
        time.sleep(0.01)
    return int(status["pid"])


def loaded(process: psutil.Process) -> str:
    return " ".join(each.path for each in process.memory_maps())
