"""What happens when a process dies, and when two want the same microscope."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tifffile

from tests import API_KEY
from tests.e2e.conftest import DeviceLayers, Script, free_port


def test_a_plan_survives_its_copilot(
    device_layer: DeviceLayers, copilot: Callable[[str], Script]
) -> None:
    layer = device_layer()
    pilot = copilot(layer.url)
    with layer.client() as client:
        item = client.execute(client.plans().acquire_volume(num_slices=100, exposure_ms=10))
        pilot.kill()
        ended = client.wait(item.item_uid)
        assert ended.state == "completed"
        assert len(client.volumes()) == 1


def test_a_device_layer_that_dies_in_mid_volume_leaves_no_file_under_a_final_name(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    storage = tmp_path / "data"
    layer = device_layer(storage=storage)
    with layer.client() as client:
        client.execute(client.plans().acquire_volume(num_slices=300, exposure_ms=10, step_um=0.1))
        while not list((storage / "volumes").glob("*.part")):
            time.sleep(0.005)
        time.sleep(0.3)
    layer.kill()
    assert list((storage / "volumes").glob("*.tif")) == []

    again = device_layer(storage=storage)
    assert list((storage / "volumes").iterdir()) == []
    with again.client() as client:
        assert client.volumes() == []
        assert client.wait(client.execute(client.plans().snap()).item_uid).state == "completed"
        assert tifffile.imread(client.volumes()[0].path).shape == (512, 512)


def test_a_second_device_layer_on_the_same_storage_is_refused_and_told_who_has_it(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    first = device_layer(storage=tmp_path / "data")
    second = device_layer(storage=tmp_path / "data", ready=False)
    assert second.process.wait(30) == 1
    assert str(first.process.pid) in second.said()
    assert first.url in second.said()


def test_a_second_device_layer_on_the_same_port_is_refused_before_it_touches_anything(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    port = free_port()
    device_layer(port=port)
    second = device_layer(storage=tmp_path / "other", port=port, ready=False)
    assert second.process.wait(30) == 1
    assert f"127.0.0.1:{port}" in second.said()
    assert "--port" in second.said()
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("round_", range(4))
def test_a_signal_ends_it_cleanly_every_time(
    device_layer: DeviceLayers, number: signal.Signals, round_: int
) -> None:
    """Two signals in each of four situations: MMCore can abort a process at its exit."""
    layer = device_layer(("twin", "demo")[round_ % 2])
    with layer.client() as client:
        match round_ % 4:
            case 1:
                client.execute(client.plans().move_stage(x_um=900, y_um=500))
            case 2:
                client.execute(client.plans().acquire_volume(num_slices=300, exposure_ms=10))
            case 3:
                client.execute(client.plans().sleep(duration_s=30))
    assert layer.end(number) == 0, layer.said()
    assert "at the end shutter is closed" in layer.said()
    assert "Traceback" not in layer.said()
    assert "FATAL" not in layer.said()


def test_a_signal_ends_it_with_an_event_stream_open(device_layer: DeviceLayers) -> None:
    layer = device_layer()
    with layer.client() as client, client.events():
        reader = subprocess.Popen(
            ["curl", "-sN", "-u", f":{API_KEY}", f"{layer.url}/api/events"],
            stdout=subprocess.DEVNULL,
        )
        try:
            time.sleep(0.3)
            assert layer.end() == 0
        finally:
            reader.kill()
            reader.wait()
