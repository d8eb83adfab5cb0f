"""Oversight: what it says of a real device layer, and when it asks the hardware."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from devices import CoreError
from gently.core.device_layer import DeviceLayer
from gently.core.oversight import Oversight
from tests.demo import begin, demo_layer, ended, put_back
from tests.waiting import until


@pytest.fixture(scope="module")
def shared_layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceLayer]:
    with demo_layer(tmp_path_factory.mktemp("storage")) as layer:
        yield layer


@pytest.fixture
def layer(shared_layer: DeviceLayer) -> Iterator[DeviceLayer]:
    yield shared_layer
    put_back(shared_layer)


@pytest.fixture
def oversight(layer: DeviceLayer) -> Oversight:
    return layer.oversight


def metric(layer: DeviceLayer, name: str) -> float:
    families = text_string_to_metric_families(layer.metrics.text().decode())
    found = {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }
    return found[name]


def last(layer: DeviceLayer, kind: str) -> dict[str, Any]:
    return [event for event in layer.events.after(0) if event.kind == kind][-1].data


# ---------------------------------------------------------------------- health


def test_a_device_layer_at_rest_is_well(oversight: Oversight) -> None:
    checks = oversight.health().checks

    assert [name for name, check in checks.items() if not check.ok and name != "disk"] == []
    assert set(checks) == {
        "core",
        "stages",
        "cameras",
        "light",
        "runner",
        "detector",
        "requests",
        "disk",
        "audit",
        "log",
    }


def test_a_core_that_is_stuck_in_a_call_is_not_well(
    layer: DeviceLayer, oversight: Oversight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer.instrument.core, "answers", lambda _: False)

    health = oversight.health()

    assert health.status == "degraded"
    assert "core: its thread has not answered for 1 s" in health.reasons[0]


def test_a_log_or_an_audit_log_that_cannot_be_written_is_not_well(
    layer: DeviceLayer, oversight: Oversight, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layer.audit._writer, "_problem", "No space left on device")
    assert "audit: No space left on device" in oversight.health().reasons


def test_once_a_minute_a_line_and_an_event_tell_of_cameras_disk_and_memory(
    layer: DeviceLayer, oversight: Oversight, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    layer.audit.flush()

    oversight.report()

    event = last(layer, "health")
    assert event["cameras"] == {"camera": "answers: exposure 10 ms"}
    for key in ("disk_free_bytes", "memory_bytes"):
        assert isinstance(event[key], int)
        assert event[key] > 0
    assert event["audit_head"] == str(layer.audit.head)
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("health: ")]
    assert "camera answers" in line
    assert "GB free" in line


def test_a_camera_that_does_not_answer_is_not_well_until_it_does(
    layer: DeviceLayer, oversight: Oversight, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> dict[str, float]:
        raise CoreError("CAM: no such device")

    monkeypatch.setattr(layer.device("camera"), "_read_hardware", fail)
    oversight.report()
    assert "cameras: camera does not answer: CAM: no such device" in oversight.health().reasons
    monkeypatch.undo()
    oversight.report()
    assert oversight.health().checks["cameras"].ok


def test_no_hardware_is_asked_while_something_runs(
    layer: DeviceLayer, oversight: Oversight, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(layer, "sleep", duration_s=30)

    def asked() -> dict[str, float]:
        raise AssertionError("the hardware was asked")

    for device in layer.instrument.devices.values():
        monkeypatch.setattr(device, "_read_hardware", asked)

    oversight.report()
    oversight._ask_stages()
    monkeypatch.undo()


# ---------------------------------------------------------------------- metrics and positions


def test_what_an_acquisition_has_written_is_counted(layer: DeviceLayer) -> None:
    names = ("gently_items_total completed", "gently_volumes_total complete")
    ended(layer, begin(layer, "acquire_volume", num_slices=2, exposure_ms=1))
    before = [metric(layer, name) for name in names]
    frames, size = layer.metrics.frames_written, layer.metrics.bytes_written

    item = ended(layer, begin(layer, "acquire_volume", num_slices=3, exposure_ms=1))

    assert item.state == "completed"
    assert [metric(layer, name) for name in names] == [count + 1 for count in before]
    assert layer.metrics.frames_written == frames + 3
    assert layer.metrics.bytes_written == size + 3 * 512 * 512 * 2
    assert metric(layer, "gently_back_pressure_seconds_total") >= 0


def test_the_gauges_show_the_present(layer: DeviceLayer) -> None:
    assert metric(layer, "gently_queue_length") == 0
    assert metric(layer, "gently_runner_alive") == 1
    assert metric(layer, "gently_memory_bytes") > 10_000_000
    assert metric(layer, "gently_disk_free_bytes") > 0
    assert metric(layer, "gently_audit_entries") >= 0
    assert metric(layer, "gently_event_followers") == 0


def test_how_long_stops_took_is_counted(layer: DeviceLayer) -> None:
    before = metric(layer, "gently_stop_seconds_count")
    layer.stop("to count it")
    assert metric(layer, "gently_stop_seconds_count") == before + 1


def test_a_motion_tells_where_the_stage_has_come_to(layer: DeviceLayer) -> None:
    ended(layer, begin(layer, "move_focus", z_um=12.5))

    def is_told() -> bool:
        layer.oversight._positions.catch_up()  # which tells five times a second and no more
        told = [e.data["positions_um"] for e in layer.events.after(0) if e.kind == "positions"]
        return {"focus.z": 12.5} in told

    until(is_told)


# ---------------------------------------------------------------------- the logs of a whole life


def test_the_audit_log_has_the_start_and_the_end(layer: DeviceLayer) -> None:
    first = layer.audit.entries(1_000)[-1]
    assert (first["what"], first["kind"]) == ("device layer: start", "process")
    assert layer.version in first["name"]


def test_the_log_of_an_item_has_all_that_was_said_from_its_start_to_its_end(
    layer: DeviceLayer,
) -> None:
    other = ended(layer, begin(layer, "snap", exposure_ms=1))
    item = ended(layer, begin(layer, "acquire_volume", num_slices=2, exposure_ms=1))

    lines = layer.log.lines_of(item.item_uid, 100)

    assert "item.queued: acquire_volume" in lines[0]
    assert "item.started: acquire_volume" in lines[1]
    assert "item.completed: acquire_volume" in lines[-1]
    assert any("published" in line for line in lines)  # said by the thread of the light sheet
    assert not any("snap" in line for line in lines)
    assert layer.log.lines_of(other.item_uid, 100)
