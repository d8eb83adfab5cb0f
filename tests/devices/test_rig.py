"""The rig's configuration, which cannot be loaded here: all that the devices tell is in it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices import InstrumentFile, Views, VolumeRequest, load_instrument_file
from devices.core import Core
from devices.entries import LasersEntry, TriggeredLightSheetEntry
from devices.properties import Properties
from tests.devices import demo

FOLDER = Path("devices") / "instruments"
RIG = FOLDER / "dispim" / "dispim.yml"
CARD, MIRRORS = "Scanner:AB:33", ("Scanner:AB:33", "Scanner:CD:33")
PIEZOS, CAMERAS = ("PiezoStage:P:34", "PiezoStage:Q:35"), ("HamCam1", "HamCam2")
LASERS, STAGE = "Coherent-Scientific Remote", "XYStage:XY:31"


def number(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, str) and low <= value <= high


def quarters(value: Any) -> bool:
    return value >= 0 and float(4 * value).is_integer()


Takes = Callable[[Any], bool] | set[Any]
OF_AN_AXIS: dict[str, Takes] = {
    "Amplitude(deg)": number(0, 10),
    "Offset(deg)": number(-5, 5),
    "Pattern": {"1 - Triangle"},
    "Mode": {"3 - Enabled with axes synced"},
}

# As the rig's notes have them: which properties there are, and what they take.
KNOWN: dict[str, Takes] = {
    f"{CARD}|SPIMState": {"Idle", "Running"},
    f"{CARD}|LaserOutputMode": {"shutter + side"},
    f"{CARD}|SPIMDelayBeforeScan(ms)": quarters,
    f"{CARD}|SPIMScanDuration(ms)": quarters,
    f"{CARD}|SPIMDelayBeforeLaser(ms)": quarters,
    f"{CARD}|SPIMLaserDuration(ms)": quarters,
    f"{CARD}|SPIMDelayBeforeCamera(ms)": quarters,
    f"{CARD}|SPIMCameraDuration(ms)": {1.0},
    f"{CARD}|SPIMNumSlices": number(1, 10_000),
    f"{CARD}|SPIMNumSlicesPerPiezo": {1},
    f"{CARD}|SPIMNumSides": {1, 2},
    f"{CARD}|SPIMFirstSide": {"A", "B"},
    # Not in the notes, but in the adapter of the rig's controller (ASITiger): how often a run is
    # repeated by itself. What a process that died has left there would be repeated, too.
    f"{CARD}|SPIMNumRepeats": number(1, 65_535),
    f"{CARD}|SPIMDelayBeforeRepeat(ms)": {0.0},
    **{f"{label}|BeamEnabled": {"No"} for label in MIRRORS},
    **{
        f"{label}|SingleAxis{axis}{name}": takes
        for label in MIRRORS
        for axis in "XY"
        for name, takes in OF_AN_AXIS.items()
    },
    **{f"{label}|FilterFreq{axis}(kHz)": number(0.1, 10) for label in MIRRORS for axis in "XY"},
    **{f"{label}|SingleAxisAmplitude(um)": number(0, 400) for label in PIEZOS},
    **{f"{label}|SingleAxisOffset(um)": number(-200, 200) for label in PIEZOS},
    **{f"{label}|SingleAxisPattern": {"1 - Triangle"} for label in PIEZOS},
    **{f"{label}|SPIMNumSlices": number(1, 10_000) for label in PIEZOS},
    **{f"{label}|SPIMState": {"Idle", "Armed"} for label in PIEZOS},
    **{f"{label}|TRIGGER SOURCE": {"EXTERNAL", "INTERNAL"} for label in CAMERAS},
    **{f"{label}|SENSOR MODE": {"PROGRESSIVE"} for label in CAMERAS},
    **{f"{label}|TRIGGER ACTIVE": {"EDGE"} for label in CAMERAS},
    **{
        f"{STAGE}|{end}Lim{axis}(mm)": number(-2.2521, 0.983)
        for end in ("Lower", "Upper")
        for axis in "XY"
    },
}


def lines(cfg: Path) -> list[list[str]]:
    """Return what a configuration says, without saying whose devices are Python."""
    text = cfg.read_text(encoding="utf-8").replace("#py pyDevice", "Device").replace("#py ", "")
    return [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]


def presets(cfg: Path) -> list[list[str]]:
    return [line for line in lines(cfg) if line[0] == "ConfigGroup"]


def rig() -> InstrumentFile:
    return load_instrument_file(str(RIG))


def test_every_label_of_the_rigs_instrument_file_is_loaded_by_its_configuration() -> None:
    loaded = {line[1] for line in lines(RIG.with_suffix(".cfg")) if line[0] == "Device"}
    entries = rig().devices.values()
    wanted = {entry.label for entry in entries if hasattr(entry, "label")}
    wanted |= {e.both_cameras for e in entries if isinstance(e, TriggeredLightSheetEntry)}
    assert wanted <= loaded


def test_the_rig_and_the_twin_have_the_same_devices_groups_presets_and_values() -> None:
    twin = load_instrument_file("twin")
    assert list(rig().devices) == list(twin.devices)
    for name, entry in rig().devices.items():
        ours = twin.devices[name]
        assert (entry.kind, getattr(entry, "label", "")) == (ours.kind, getattr(ours, "label", ""))
    assert presets(RIG.with_suffix(".cfg")) == presets(FOLDER / "twin.cfg")


def test_the_presets_and_powers_of_each_line_are_in_the_rigs_configuration() -> None:
    (lasers,) = (entry for entry in rig().devices.values() if isinstance(entry, LasersEntry))
    groups = presets(RIG.with_suffix(".cfg"))
    known = {(line[1], line[2]) for line in groups}
    assert (lasers.group, lasers.off_preset) in known
    for line in lasers.lines.values():
        assert (lasers.group, line.preset) in known
        assert line.power in {group[1] for group in groups}


@pytest.mark.parametrize("name", ["twin", str(RIG)])
def test_limits_are_those_of_the_rig(name: str) -> None:
    devices = load_instrument_file(name).devices
    found = {key: getattr(entry, "limits_um", None) for key, entry in devices.items()}
    assert found["focus"] == (50, 250)
    assert found["f_drive"] == (30, 25_000)
    assert found["piezo_a"] == found["piezo_b"] == (-200, 200)


def test_every_property_that_is_written_is_known_with_its_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str, Any]] = []
    begin = Properties.begin

    def noted(self: Properties, label: str, name: str, value: Any) -> None:
        told.append((label, name, value))
        begin(self, label, name, value)

    monkeypatch.setattr(Properties, "begin", noted)
    request = VolumeRequest(
        num_slices=3, exposure_ms=5, step_um=1, center_um=4, power_percent=4, line="488"
    )
    with demo.booted(load_instrument_file("twin"), tmp_path) as twin:
        _spy_on_presets(twin.core, monkeypatch, told)
        asks: tuple[tuple[Views, int], ...] = (("a", 0), ("b", 0), ("dual", 1), ("dual", 0))
        for view, num_following in asks:
            asked = replace(request, view=view, num_following=num_following)
            twin.sheet.prepare(asked).wait(10)
            twin.sheet.trigger().wait(30)
    (lasers,) = (entry for entry in rig().devices.values() if isinstance(entry, LasersEntry))
    powers = {f"{LASERS}|{line.power}": number(0, 100) for line in lasers.lines.values()}
    switches = {f"{LASERS}|{line.switch}": {"On"} for line in lasers.lines.values()}
    group = {f"{lasers.group}|": {line.preset for line in lasers.lines.values()} | {"ALL OFF"}}
    known = {**KNOWN, **powers, **switches, **group}
    assert {label for label, _, _ in told} >= {CARD, LASERS, STAGE, *PIEZOS, *CAMERAS, "Laser"}
    for label, name, value in told:
        takes = known[f"{label}|{name}"]
        assert value in takes if isinstance(takes, set) else takes(value), (label, name, value)


def _spy_on_presets(
    core: Core, monkeypatch: pytest.MonkeyPatch, told: list[tuple[str, str, Any]]
) -> None:
    set_config = core._mmc.setConfig

    def noted(group: str, preset: str) -> None:
        told.append((group, "", preset))
        set_config(group, preset)

    monkeypatch.setattr(core._mmc, "setConfig", noted)
