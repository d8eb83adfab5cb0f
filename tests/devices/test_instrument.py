"""An instrument is built from one unambiguous file, or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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

DEMO = built_in_instruments()["demo"].read_text(encoding="utf-8")


def write(folder: Path, text: str) -> str:
    path = folder / "rig.yml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def changed(where: str, value: object) -> str:
    """Return the demo's file with one key, such as ``devices.focus.label``, set or removed."""
    content: dict[str, Any] = yaml.safe_load(DEMO)
    *path, last = where.split(".")
    inner = content
    for key in path:
        inner = inner[key]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value
    return yaml.safe_dump(content)


REMOVED = object()
NAN = float("nan")
INF = float("inf")

REFUSED_FILES: dict[str, tuple[str, object, str]] = {
    "limits missing": ("devices.focus.limits_um", REMOVED, r"focus.*limits_um: Field required"),
    "no limits": ("devices.focus.limits_um", None, r"focus.*limits_um"),
    "limits of y missing": ("devices.xy_stage.limits_um.y", REMOVED, r"xy_stage.*y: Field requi"),
    "exposure unlimited": (
        "devices.camera.exposure_limits_ms",
        REMOVED,
        r"camera.*exposure_limits",
    ),
    "limits reversed": ("devices.focus.limits_um", [200, -200], r"low must be below high"),
    "limits equal": ("devices.focus.limits_um", [0, 0], r"low must be below high, not 0 to 0"),
    "limits of NaN": ("devices.focus.limits_um", [NAN, 200], r"focus.*finite number"),
    "limits of infinity": ("devices.focus.limits_um", [-INF, INF], r"focus.*finite number"),
    "limits yes and no": ("devices.focus.limits_um", [False, True], r"focus.*valid number"),
    "limits in quotes": ("devices.focus.limits_um", ["-200", "200"], r"focus.*valid number"),
    "one limit": ("devices.focus.limits_um", [200], r"focus.*limits_um"),
    "three limits": ("devices.focus.limits_um", [0, 100, 200], r"focus.*limits_um"),
    "a limit beyond every float": ("devices.focus.limits_um", [0, 10**400], r"focus.*limits_um"),
    "xy limits for a focus": ("devices.focus.limits_um", {"x": [0, 1]}, r"focus.*limits_um"),
    "an unknown key": ("devices.focus.limit_um", [0, 1], r"focus.*limit_um: Extra inputs"),
    "an unknown section": ("device", {}, r"device: Extra inputs"),
    "an unknown kind": (
        "devices.focus.kind",
        "z_stage",
        r"focus.*'z_stage' found using 'kind' does not",
    ),
    "no kind": ("devices.focus.kind", REMOVED, r"focus.*kind"),
    "no label": ("devices.focus.label", REMOVED, r"focus.*label: Field required"),
    "an empty label": ("devices.focus.label", "", r"focus.*label"),
    "a label used twice": (
        "devices.focus.label",
        "XY",
        r"rig.yml: xy_stage and focus both use the label 'XY'",
    ),
    "a name with spaces": ("devices.my focus", {}, r"my focus"),
    "a tolerance of nothing": ("devices.focus.tolerance_um", 0, r"focus.*tolerance_um.*greater"),
    "an endless timeout": ("devices.focus.timeout_s", INF, r"focus.*timeout_s.*finite"),
    "a pixel without size": ("devices.camera.pixel_size_um", 0, r"camera.*pixel_size_um"),
    "no buffer": ("micromanager.buffer_mb", 0, r"micromanager\.buffer_mb"),
    "no configuration": ("micromanager.config", REMOVED, r"micromanager\.config: Field required"),
    "a light sheet without a camera": (
        "devices.light_sheet.camera",
        "cam",
        r"light_sheet\.camera is 'cam'; the file has \['camera'\]",
    ),
    "a light sheet with a stage for a drive": (
        "devices.light_sheet.slice_drive",
        "xy_stage",
        r"light_sheet\.slice_drive is 'xy_stage'; the file has \['focus'\]",
    ),
    "a light sheet without a shutter": ("devices.light_sheet.shutter", REMOVED, r"shutter: Field"),
    "an unknown slicing": ("devices.light_sheet.slicing", "fast", r"light_sheet.*slicing"),
}


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize(("where", "value", "says"), REFUSED_FILES.values(), ids=REFUSED_FILES)
def test_a_file_that_is_not_safe_is_refused_naming_the_file_and_the_key(
    tmp_path: Path, where: str, value: object, says: str
) -> None:
    with pytest.raises(InstrumentError, match=says) as refused:
        load_instrument_file(write(tmp_path, changed(where, value)))
    assert "rig.yml" in str(refused.value)


DUPLICATES = {
    "limits": ("    limits_um: [-200, 200]\n", "    limits_um: [-9000, 9000]\n", "limits_um"),
    "a device": ("  shutter:\n    kind", "  focus:\n    kind", "focus"),
    "a label": ("    label: Z\n", "    label: Y\n", "label"),
}


@pytest.mark.parametrize(("line", "again", "key"), DUPLICATES.values(), ids=DUPLICATES)
def test_a_key_given_twice_is_refused_instead_of_taking_the_last(
    tmp_path: Path, line: str, again: str, key: str
) -> None:
    assert DEMO.count(line) == 1
    text = DEMO.replace(line, again) if key == "focus" else DEMO.replace(line, line + again)
    with pytest.raises(InstrumentError, match=f"rig.yml is no YAML: .*'{key}' is given twice"):
        load_instrument_file(write(tmp_path, text))


@pytest.mark.parametrize("text", ["", "just words", "[1, 2]", "devices: [", "a: \x00", "{}"])
def test_what_is_no_instrument_at_all_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(InstrumentError, match=r"rig\.yml"):
        load_instrument_file(write(tmp_path, text))


def test_a_file_in_another_encoding_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "rig.yml"
    path.write_bytes(b"description: 40\xd7")
    with pytest.raises(InstrumentError, match=r"rig\.yml is no YAML"):
        load_instrument_file(str(path))


def test_a_missing_file_is_refused_naming_those_in_the_box(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match=r"nowhere\.yml cannot be read .*demo, twin"):
        load_instrument_file(str(tmp_path / "nowhere.yml"))


def test_a_yaml_tag_cannot_run_anything(tmp_path: Path) -> None:
    with pytest.raises(InstrumentError, match="is no YAML"):
        load_instrument_file(write(tmp_path, "name: !!python/object/apply:os.getcwd []"))


@pytest.mark.parametrize("name", ["demo", "twin"])
def test_the_instruments_in_the_box_are_found_by_name(name: str) -> None:
    assert load_instrument_file(name).name == name
    assert load_instrument_file(str(built_in_instruments()[name])) == load_instrument_file(name)


def test_every_axis_of_the_instruments_in_the_box_has_limits_and_units(tmp_path: Path) -> None:
    for name in built_in_instruments():
        with demo.booted(demo.with_buffer(load_instrument_file(name), 16), tmp_path) as bench:
            for stage in (bench.stage, bench.focus):
                assert {limits.units for limits in stage.limits.values()} == {"um"}
                assert all(limits.low < limits.high for limits in stage.limits.values())
            assert bench.camera.limits["exposure_ms"].units == "ms"


def test_a_configuration_beside_the_file_is_taken(tmp_path: Path) -> None:
    file = faults.written_to(tmp_path)
    assert file.micromanager.config == tmp_path / "faulty.cfg"


# ---------------------------------------------------------------- booting


def boot(folder: Path, text: str) -> Instrument:
    return Instrument(load_instrument_file(write(folder, text)), open_sink=Shelf(folder).open)


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
    monkeypatch.setattr("devices.shutter._REST_S", 0.02)
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
