"""Stop works while a plan runs, and nothing else waits for the plan."""

import subprocess
import sys
import time

import httpx2

from tests import AUTHORIZATION, REPOSITORY
from tests.e2e.conftest import DeviceLayers, run_copilot


def test_status_answers_while_a_long_plan_runs_and_stop_ends_motion_and_plan(
    device_layer: DeviceLayers,
) -> None:
    layer = device_layer()
    with layer.client() as client:
        item = client.execute(client.plans().sleep(duration_s=30))
        assert (
            httpx2.get(f"{layer.url}/api/status", headers=AUTHORIZATION).json()["manager_state"]
            == "executing_queue"
        )
        report = client.stop()
        assert report.success, report
        assert client.item(item.item_uid).state == "aborted"

        move = client.execute(client.plans().move_stage(x_um=-2252.1, y_um=-1677.0))
        time.sleep(0.15)
        report = client.stop()
        assert report.success, report
        stopped_at = report.devices["xy_stage"].readings["xy_stage_x"].value
        assert isinstance(stopped_at, float)
        assert -2252.1 < stopped_at < 0.0
        assert report.devices["shutter"].readings["shutter"].value == "closed"
        assert client.item(move.item_uid).state == "aborted"
        time.sleep(0.2)
        assert client.read_device("xy_stage").readings["xy_stage_x"].value == stopped_at


def test_stop_in_mid_volume_puts_the_light_out_and_publishes_nothing(
    device_layer: DeviceLayers,
) -> None:
    layer = device_layer()
    with layer.client() as client:
        item = client.execute(
            client.plans().acquire_volume(num_slices=200, exposure_ms=10, step_um=0.1)
        )
        while client.read_device("lasers").readings["lasers"].value == "off":
            time.sleep(0.01)
        assert run_copilot(layer.url, "stop").returncode == 0
        assert client.item(item.item_uid).state == "aborted"
        assert client.read_device("lasers").readings["lasers"].value == "off"
        assert client.volumes() == []
        assert client.wait(client.execute(client.plans().snap()).item_uid).state == "completed"


def test_the_emergency_stop_of_the_command_line_needs_no_copilot(
    device_layer: DeviceLayers,
) -> None:
    layer = device_layer()
    with layer.client() as client:
        item = client.execute(client.plans().sleep(duration_s=30))
        done = emergency_stop(layer.url)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "shutter stopped (shutter closed)" in done.stdout
        assert f"item {item.item_uid} was ended" in done.stdout
        assert client.item(item.item_uid).state == "aborted"
    assert layer.end() == 0
    done = emergency_stop(layer.url)
    assert done.returncode == 3
    assert "NOTHING WAS STOPPED" in done.stdout


def emergency_stop(url: str) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, str(REPOSITORY / "start_device_layer.py"), "--stop"]
    return subprocess.run(
        [*script, "--port", url.rpartition(":")[2]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_emergency_stop_imports_nothing_that_takes_long() -> None:
    script = (
        "import sys, gently.emergency; print(sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for slow in ("pymmcore_plus", "ophyd", "bluesky", "numpy", "jsonschema", "prompt_toolkit"):
        assert f"'{slow}'" not in done.stdout
