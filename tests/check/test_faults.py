"""What is wrong is named as failed, and what was not looked at is not said to be well."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from devices import HardwareDevice
from devices.twin.faults import AxisFault, CameraFault
from devices.twin.spim import Program, Side
from gently.check import Group, Status
from gently.check.sweeps import sweep_finding
from tests.check.rigs import BOTTOM, STAGE, Rig, booted

RIGS = "tests.check.rigs"
XY, LASERS = "XYStage:XY:31", "Coherent-Scientific Remote"


def test_each_axis_that_sticks_overshoots_refuses_or_is_read_back_wrongly_is_named(
    rig: Rig,
) -> None:
    rig.hub.faults.axes |= {
        "X": AxisFault(sticks_at_um=5),
        "V": AxisFault(overshoots_um=3),
        "Z": AxisFault(refuses=":N-21"),
        "P": AxisFault(reads_off_um=-2),
    }
    found = rig.check(Group.AXES, Group.DIRECTIONS)
    failed = found.failed(Group.AXES)
    assert set(failed) == {"xy_stage.x", "f_drive.z", "focus.z", "piezo_a.z"}
    assert "came to rest at x 5 µm, asked for 20 µm" in failed["xy_stage.x"]
    assert "came to rest at z 108 µm, asked for 105 µm" in failed["f_drive.z"]
    assert ":N-21" in failed["focus.z"]
    assert "came to rest at z" in failed["piezo_a.z"]
    assert all(found[Group.AXES, name].remedy for name in failed)
    # What has failed is used no further, and what is not where it was is named.
    directions = found[Group.DIRECTIONS, "bottom"]
    assert (directions.status, directions.says) == (Status.NOT_DONE, "xy_stage failed before")
    assert rig.places_um[0] == 5
    assert "came to rest at x 5 µm" in found.failed(Group.AFTERWARDS)["xy_stage as before"]


def test_what_is_read_outside_of_its_limits_is_named_and_left_alone(rig: Rig) -> None:
    rig.hub.faults.read_backs |= {
        (XY, "LowerLimX(mm)"): -5.0,
        (LASERS, "Laser 488-150C - PowerSetpoint (%)"): 50.0,
    }
    found = rig.check(*Group)
    failed = found.failed(Group.LIMITS)
    assert set(failed) == {"xy_stage.x fence", "lasers.488"}
    assert "keeps other limits" in failed["xy_stage.x fence"]
    assert failed["lasers.488"] == "it is at 50, outside of its limits"
    assert found[Group.AXES, "xy_stage"].says == "xy_stage failed before"
    assert found[Group.LIT, "lasers"].says == "lasers failed before"
    assert found[Group.VOLUMES, "light_sheet"].says == "lasers failed before"


def test_each_camera_that_is_not_as_it_was_told_drops_a_frame_or_caps_its_exposure_is_named(
    tmp_path: Path,
) -> None:
    limits = {"exposure_limits_ms: [0.25, 10]   # the cap": "exposure_limits_ms: [0.25, 20] #"}
    with booted(tmp_path, yml=limits) as rig:
        rig.hub.faults.read_backs["HamCam1", "TRIGGER ACTIVE"] = "LEVEL"
        rig.hub.faults.cameras["HamCam2"] = CameraFault(drops=frozenset({3}))
        found = rig.check("light_sheet")
        assert rig.is_dark
    failed = found.failed(Group.VOLUMES)
    assert set(failed) == {
        "light_sheet view a in the dark",
        "light_sheet view a",
        "light_sheet view b",
        "light_sheet view dual",
        "camera_a exposures",
    }
    assert "TRIGGER ACTIVE = EDGE and reads back LEVEL" in failed["light_sheet view a"]
    assert "frame" in failed["light_sheet view b"]
    assert "asked to expose for 20 ms and takes 11 ms" in failed["camera_a exposures"]


def test_a_gate_that_sticks_is_named_and_no_light_is_used_any_more(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.light._MOMENT_S", 0.05)
    faults, lasers = rig.hub.faults, rig.bench.instrument.devices["lasers"]

    def stick(device: HardwareDevice) -> None:
        faults.gate_sticks |= device.last_reading()["lasers"]["value"] != "off"

    lasers.listen(stick)
    found = rig.check(Group.LIT, Group.VOLUMES, Group.STOP)
    assert list(found.failed(Group.LIT)) == ["lasers.488"]
    assert found[Group.LIT, "led"].says == "lasers failed before, and no light is used any more"
    assert found[Group.VOLUMES, "bottom"].status is Status.NOT_DONE
    assert found[Group.STOP, "stop"].status is Status.NOT_DONE
    assert "lasers off" in found.failed(Group.AFTERWARDS)
    assert "by hand" in found[Group.AFTERWARDS, "lasers off"].remedy
    faults.gate_sticks = False


WRONGLY_BUILT: dict[str, tuple[Mapping[str, str], Mapping[str, str], dict[str, str]]] = {
    "an XY stage with its axes swapped": (
        {STAGE: f"{RIGS},SwappedStage"},
        {},
        {
            "xy_stage.x seen by bottom_camera": "x and y are swapped",
            "xy_stage.y seen by bottom_camera": "x and y are swapped",
        },
    ),
    "an XY stage that slips": (
        {STAGE: f"{RIGS},SlippingStage"},
        {},
        {
            "xy_stage.x seen by bottom_camera": "the picture stays where it is",
            "xy_stage.y seen by bottom_camera": "the picture stays where it is",
        },
    ),
    "a camera that is mirrored, with pixels of another size": (
        {BOTTOM: f"{RIGS},MirroredCamera"},
        {"pixel_size_um: 0.65": "pixel_size_um: 0.5"},
        {
            "xy_stage.x seen by bottom_camera": "the opposite way",
            "bottom_camera pixel size along xy_stage.x": "not as large as the instrument file",
            "bottom_camera pixel size along xy_stage.y": "not as large as the instrument file",
        },
    ),
}


@pytest.mark.parametrize(("cfg", "yml", "failed"), WRONGLY_BUILT.values(), ids=WRONGLY_BUILT)
def test_a_picture_tells_of(
    cfg: Mapping[str, str], yml: Mapping[str, str], failed: dict[str, str], tmp_path: Path
) -> None:
    with booted(tmp_path, cfg, yml) as rig:
        found = rig.check("bottom")
    says = found.failed(Group.DIRECTIONS)
    assert set(says) == set(failed)
    assert all(words in says[name] for name, words in failed.items())
    for name in says:
        if "pixel" in name:
            told = found[Group.DIRECTIONS, name].remedy.split("pixel_size_um: ")[1].split(" ")[0]
            assert float(told) == pytest.approx(0.65, rel=0.02)


def test_a_scanner_that_goes_twice_as_far_as_it_was_told_is_named(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_the_middle(program: Program, side: Side, index: int) -> float:
        sweep = program.galvos[side]
        factor = 2 if side == "A" else 1
        return sweep.offset + factor * (sweep.at(index, program.slices) - sweep.offset)

    monkeypatch.setattr(Program, "galvo_deg", from_the_middle)
    found = rig.check("light_sheet sweeps")
    assert list(found.failed(Group.DIRECTIONS)) == ["light_sheet view a sweep"]
    says = found.failed(Group.DIRECTIONS)["light_sheet view a sweep"]
    assert "look whether the controller takes an amplitude from end to end" in says
    assert found[Group.DIRECTIONS, "light_sheet view b sweep"].status is Status.OK


@pytest.mark.parametrize(
    ("slices", "likeness", "status", "says"),
    [
        (-4.0, 0.9, Status.OK, ""),
        (-3.2, 0.9, Status.ATTENTION, "slices are 1.25 µm apart, and not 1 µm"),
        (-2.0, 0.9, Status.FAILED, "slices are 2 µm apart, and not 1 µm"),
        (4.0, 0.9, Status.FAILED, "the slices come in the opposite order"),
        (0.1, 0.9, Status.FAILED, "the slices are the same wherever the sweep is"),
        (-4.0, 0.3, Status.NOT_DONE, "there is nothing in the volumes"),
    ],
)
def test_the_way_of_content_through_the_slices_is_told_rightly(
    slices: float, likeness: float, status: Status, says: str
) -> None:
    finding = sweep_finding("light_sheet view a sweep", slices, likeness)
    assert finding.status is status
    assert finding.says.startswith(says)
    assert bool(finding.remedy) is (status is not Status.OK)


def test_in_an_empty_field_directions_are_not_said_to_be_well(rig: Rig) -> None:
    rig.bench.instrument.devices["xy_stage"].set((-900, -700)).wait(10)
    found = rig.check(Group.DIRECTIONS)
    directions = [one for one in found.findings if one.group is Group.DIRECTIONS]
    assert {one.status for one in directions} == {Status.NOT_DONE}
    assert all("nothing in the" in one.says for one in directions)


def test_a_line_whose_light_does_not_come_needs_a_look(tmp_path: Path) -> None:
    power = "power: Laser {} - PowerSetpoint (%)"
    wrong = {power.format("488-150C"): power.format("637-140C")}
    with booted(tmp_path, yml=wrong) as rig:
        found = rig.check("light_sheet")
    volume = found[Group.VOLUMES, "light_sheet view a"]
    assert volume.status is Status.ATTENTION
    assert "no brighter than in the dark" in volume.says


def test_a_device_that_does_not_answer_is_named_and_not_moved(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, core = rig.bench.instrument.devices["xy_stage"], rig.bench.instrument.core
    monkeypatch.setattr(stage, "_read_hardware", lambda: core.ask(XY, _no_answer))
    found = rig.check("xy_stage")
    assert "the line is dead" in found.failed(Group.DEVICES)["xy_stage"]
    assert found[Group.AXES, "xy_stage"].status is Status.NOT_DONE


def _no_answer(_mmc: object) -> object:
    raise RuntimeError("the line is dead")
