"""A check does what it was given leave to, and leaves everything as it was, whatever comes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from devices.twin.gate import Led
from devices.twin.motion import Axis
from gently.check import Finding, Group, Status
from tests.check.rigs import Rig, booted


def test_without_leave_nothing_moves_and_no_light_goes_on(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[float] = []
    lamp: list[bool] = []
    monkeypatch.setattr(Axis, "go", lambda _axis, target_um: moved.append(target_um))
    set_open: Callable[[Led, bool], None] = Led.set_open

    def noted(led: Led, open: bool) -> None:  # noqa: A002
        lamp.append(open)
        set_open(led, open)

    monkeypatch.setattr(Led, "set_open", noted)
    found = rig.check()
    assert moved == []
    assert True not in lamp
    count = rig.world.light.count()
    assert count.open_ms == 0
    assert set(count.lit_ms.values()) == {0}
    assert rig.bench.shelf.light == ()
    assert found.failures == []
    steps = [one for one in found.findings if one.status is Status.NOT_DONE]
    assert {one.group for one in steps} == {
        Group.AXES,
        Group.LIT,
        Group.DIRECTIONS,
        Group.VOLUMES,
        Group.STOP,
    }
    assert {one.says for one in steps} == {"declined"}


def test_with_leave_a_sound_microscope_passes_and_is_left_as_it_was(rig: Rig) -> None:
    rig.bench.instrument.devices["xy_stage"].set((3.0, -4.0)).wait(30)
    rig.bench.instrument.devices["lasers"].set({"488": 3.0}).wait(30)
    before_um = rig.places_um
    found = rig.check(*Group)
    assert found.failures == []
    assert Status.NOT_DONE not in {one.status for one in found.findings}
    assert rig.places_um == pytest.approx(before_um, abs=0.01)
    assert rig.is_dark
    assert rig.bench.instrument.devices["lasers"].read()["lasers_488"]["value"] == 3
    said = {(one.source, one.percent): one.lit_ms for one in rig.bench.shelf.light}
    assert said["lasers 488", 2.0] == pytest.approx(rig.world.light.count().lit_ms[488], rel=0.01)
    assert set(said) == {("lasers 488", 2.0), ("lasers 488", 0.0), ("led", None)}


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("no such thing")])
def test_a_check_that_breaks_off_in_mid_motion_puts_everything_back_and_says_so(
    error: BaseException, rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_seconds: float) -> None:
        assert rig.world.x.position_um() == 20
        raise error

    monkeypatch.setattr("gently.check.axes.time.sleep", broken)
    found = rig.check(*Group)
    assert found.ended_early
    assert rig.places_um[0] == pytest.approx(0, abs=0.01)
    assert rig.is_dark
    assert found[Group.AFTERWARDS, "xy_stage as before"].status is Status.OK
    assert found[Group.AXES, "xy_stage"].status is Status.NOT_DONE
    assert found[Group.STOP, "stop"].says == found.ended_early


def test_a_light_that_is_on_when_a_check_breaks_off_goes_off_first(rig: Rig) -> None:
    interrupted: list[Finding] = []

    def tell(finding: Finding) -> None:
        if finding.group is Group.VOLUMES and not interrupted:
            interrupted.append(finding)
            rig.bench.instrument.devices["led"].set("open").wait(30)
            raise KeyboardInterrupt

    found = rig.check(Group.VOLUMES, tell=tell)
    assert found.ended_early
    assert rig.is_dark
    after = [one for one in found.findings if one.group is Group.AFTERWARDS]
    assert {one.name for one in after[:3]} == {"shutter off", "led off", "lasers off"}


def test_an_axis_with_no_room_to_move_is_not_moved(tmp_path: Path) -> None:
    with booted(tmp_path, yml={"limits_um: [50, 250]": "limits_um: [148, 152]"}) as rig:
        found = rig.check("focus")
        assert rig.places_um[2] == 150
    assert found[Group.AXES, "focus.z"].status is Status.NOT_DONE
