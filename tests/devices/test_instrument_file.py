"""An instrument file that is not safe refuses to boot, naming itself and the key."""

from pathlib import Path

import pytest

from devices import InstrumentError, built_in_instruments, load_instrument_file
from tests.devices import faults
from tests.devices.instrument_files import DEMO, REMOVED, changed, write

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
    "an unknown key of a light sheet": ("devices.light_sheet.slicing", "fast", r"slicing"),
}


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


def test_a_configuration_beside_the_file_is_taken(tmp_path: Path) -> None:
    file = faults.written_to(tmp_path)
    assert file.micromanager.config == tmp_path / "faulty.cfg"
