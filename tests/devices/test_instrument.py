"""An instrument is built whole, or not at all, and put away in the dark."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from devices import (
    Camera,
    FocusDrive,
    Instrument,
    InstrumentError,
    LightSheet,
    Shutter,
    XYStage,
    built_in_instruments,
    load_instrument_file,
)
from tests.devices import demo, faults
from tests.devices.demo import Bench, Shelf
from tests.devices.faults import Hold
from tests.devices.instrument_files import DEMO, changed, write

# ---------------------------------------------------------------- booting


def boot(folder: Path, text: str) -> Instrument:
    return Instrument(load_instrument_file(write(folder, text)), open_sink=Shelf(folder).open)


def test_every_axis_of_the_instruments_in_the_box_has_limits_and_units(tmp_path: Path) -> None:
    for name in built_in_instruments():
        with demo.booted(demo.with_buffer(load_instrument_file(name), 16), tmp_path) as bench:
            for stage in (bench.stage, bench.focus):
                assert {limits.units for limits in stage.limits.values()} == {"um"}
                assert all(limits.low < limits.high for limits in stage.limits.values())
            assert bench.sheet.limits["exposure_ms"].units == "ms"


def test_a_label_that_is_not_loaded_is_refused_naming_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match=r"focus has the label 'Zed', which .*It loads: .*Z,"):
        boot(tmp_path, changed("devices.focus.label", "Zed"))


@pytest.mark.parametrize(
    ("device", "label", "says"),
    [
        ("focus", "Dichroic", "focus: is a State, not a Stage"),
        ("xy_stage", "Dichroic", "xy_stage: is a State, not a XYStage"),
        ("shutter", "Dichroic", "shutter: is a State, not a Shutter"),
        ("camera", "Dichroic", "camera: is a State, not a Camera"),
    ],
)
def test_a_label_of_the_wrong_kind_is_refused_saying_what_it_is(
    tmp_path: Path, device: str, label: str, says: str
) -> None:
    with pytest.raises(InstrumentError, match=says):
        boot(tmp_path, changed(f"devices.{device}.label", label))


def test_a_device_that_does_not_answer_is_refused_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: faults.Drive) -> float:
        raise RuntimeError("no answer on COM3")

    monkeypatch.setattr(faults.Drive, "get_position_um", fail)
    with pytest.raises(InstrumentError, match="focus: Drive: no answer on COM3"):
        Instrument(faults.written_to(tmp_path), open_sink=Shelf(tmp_path).open)


def test_a_shutter_that_stays_open_is_refused_at_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.light._MOMENT_S", 0.02)
    monkeypatch.setattr(faults.Gate, "set_open", lambda *_: None)
    with pytest.raises(InstrumentError, match=r"shutter: shutter is still open"):
        Instrument(faults.written_to(tmp_path), open_sink=Shelf(tmp_path).open)


def test_the_light_is_put_out_at_boot(tmp_path: Path) -> None:
    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        assert faults.gate(bench.core).openings == 0
        assert not bench.is_lit


def test_the_light_is_put_out_even_if_the_instrument_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []

    def set_open(_self: faults.Gate, is_open: bool) -> None:
        closed.append(not is_open)

    monkeypatch.setattr(faults.Gate, "set_open", set_open)
    yml = faults.YML.replace("label: Drive", "label: Drove")
    with pytest.raises(InstrumentError, match="'Drove'"):
        Instrument(faults.written_to(tmp_path, yml=yml), open_sink=Shelf(tmp_path).open)
    assert closed
    assert all(closed)


def test_the_report_names_every_device_with_its_label_and_state(bench: Bench) -> None:
    report = {line.name: line for line in bench.instrument.report}
    assert list(report) == list(bench.instrument.devices)
    assert all(line.is_ready for line in report.values())
    assert {name: (line.kind, line.label) for name, line in report.items()} == {
        "xy_stage": ("XYStage", "XY"),
        "focus": ("FocusDrive", "Z"),
        "shutter": ("Shutter", "White Light Shutter"),
        "camera": ("Camera", "Camera"),
        "light_sheet": ("LightSheet", "Camera"),
    }
    assert {name: line.state for name, line in report.items()} == {
        "xy_stage": "x 0.0 um, y 0.0 um",
        "focus": "is 0.0 um",
        "shutter": "is closed",
        "camera": "exposure 10.0 ms",
        "light_sheet": "exposure 10.0 ms",
    }


def test_devices_are_in_the_order_of_the_file_and_cannot_be_replaced(bench: Bench) -> None:
    kinds = [type(device) for device in bench.instrument.devices.values()]
    assert kinds == [XYStage, FocusDrive, Shutter, Camera, LightSheet]
    with pytest.raises(TypeError):
        bench.instrument.devices["focus"] = bench.stage  # type: ignore[index]


def test_a_light_sheet_may_stand_before_its_parts_in_the_file(tmp_path: Path) -> None:
    content = yaml.safe_load(DEMO)
    sheet = content["devices"].pop("light_sheet")
    content["devices"] = {"light_sheet": sheet, **content["devices"]}
    instrument = boot(tmp_path, yaml.safe_dump(content, sort_keys=False))
    try:
        assert next(iter(instrument.devices)) == "light_sheet"
        assert all(line.is_ready for line in instrument.report)
    finally:
        instrument.close()


# ---------------------------------------------------------------- closing


def test_closing_puts_out_the_light(tmp_path: Path) -> None:
    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        gate = faults.gate(bench.core)
        bench.shutter.set("open").wait(10)
    assert not gate.is_open


def test_closing_says_which_device_refused_and_closes_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: faults.Drive) -> None:
        raise RuntimeError("the controller is off")

    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        gate = faults.gate(bench.core)
        bench.shutter.set("open").wait(10)
        monkeypatch.setattr(faults.Drive, "stop", refuse)
    assert "Drive: the controller is off" in caplog.text
    assert not gate.is_open


def test_devices_that_answer_one_after_the_other_on_a_slow_line_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("devices.instrument._CLOSE_S", 0.3)
    line = threading.Lock()

    def answer() -> None:
        with line:
            time.sleep(0.15)

    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        names = list(bench.instrument.devices)
        for device in bench.instrument.devices.values():
            monkeypatch.setattr(device, "check_safe", answer)
    assert 0.15 * len(names) > 0.3
    assert all(f"at the end {name} " in caplog.text for name in names)
    assert "not safe" not in caplog.text


def test_a_device_that_hangs_keeps_neither_the_light_on_nor_the_end_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.instrument._CLOSE_S", 0.2)
    hang = Hold()
    stopped: Callable[[faults.Drive], None] = hang
    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        gate = faults.gate(bench.core)
        bench.shutter.set("open").wait(10)
        monkeypatch.setattr(faults.Drive, "stop", stopped)
    assert not gate.is_open
    hang.let_go()
