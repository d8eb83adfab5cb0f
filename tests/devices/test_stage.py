"""Stages refuse in the device what lies outside their limits, and tell where they are."""

import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.protocols import Movable, Readable, Stoppable

from devices import CoreError, CoreTimeoutError, DeviceError, Instrument, LimitError, StoppedError
from devices.core import core
from tests.devices import demo, faults
from tests.devices.demo import FOCUS, XY, Bench
from tests.devices.faults import Hold
from tests.waiting import until


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Bench]:
    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        yield bench


def slow_down(bench: Bench) -> None:
    demo.set_property(bench.core, XY, "Velocity", 0.1)  # mm/s


OUTSIDE_XY = [
    (10_000.001, 0),
    (0, -10_000.001),
    (math.nan, 0),
    (0, math.inf),
    (-math.inf, 0),
    (True, 0),
    ("1", 0),
    (None, 0),
    (10**400, 0),
    (np.float64("nan"), 0),
]
NO_POSITION = [
    (),
    (1,),
    (1, 2, 3),
    5,
    None,
    "12",
    b"12",
    bytearray(b"12"),
    {1, 2},
    np.array([1, 2]),
]
NO_MAPPING = [{"x": 1}, {"x": 1, "y": 2, "z": 3}, {"X": 1, "Y": 2}, {}, {1: 1, "y": 2}]
OUTSIDE_Z = [200.001, -200.001, math.nan, math.inf, True, "1", None, (1,), np.bool_(True), 10**400]


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("target", OUTSIDE_XY + NO_POSITION + NO_MAPPING, ids=repr)
def test_an_xy_stage_refuses_what_is_no_position_within_limits_and_stays(
    bench: Bench, target: Any
) -> None:
    with pytest.raises(LimitError):
        bench.stage.set(target)
    with pytest.raises(LimitError):
        bench.stage.check_value(target)
    assert bench.core.xy_position(XY) == (0, 0)
    assert not bench.core.is_busy(XY)


@pytest.mark.parametrize("target", OUTSIDE_Z, ids=repr)
def test_a_focus_drive_refuses_what_is_no_position_within_limits_and_stays(
    bench: Bench, target: Any
) -> None:
    with pytest.raises(LimitError):
        bench.focus.set(target)
    with pytest.raises(LimitError):
        bench.focus.check_value(target)
    assert bench.core.position(FOCUS) == 0


def test_one_axis_outside_keeps_both_at_rest(bench: Bench) -> None:
    with pytest.raises(LimitError) as refused:
        bench.stage.set((500, 10_001))
    assert refused.value.field == "y"
    assert bench.core.xy_position(XY) == (0, 0)


def test_a_refusal_says_where_the_axis_was_and_what_its_limits_are(bench: Bench) -> None:
    bench.focus.set(12.5).wait(10)
    bench.focus.read()
    with pytest.raises(LimitError) as refused:
        bench.focus.set(310)
    assert str(refused.value) == (
        "focus.z at 12.5 µm asked for 310 µm; limits -200 to 200 µm (demo.yml)"
    )


def test_checking_a_value_asks_nothing_of_the_hardware(bench: Bench) -> None:
    bench.core.close()
    bench.focus.check_value(5)
    with pytest.raises(LimitError):
        bench.focus.check_value(201)


# ---------------------------------------------------------------- motions


@pytest.mark.parametrize(
    "target", [(120, -80), [120, -80], {"x": 120, "y": -80}, {"y": -80, "x": 120}]
)
def test_an_xy_stage_takes_a_pair_or_names_and_is_read_back_there(
    bench: Bench, target: Any
) -> None:
    bench.stage.set(target).wait(10)
    readings = bench.stage.read()
    assert readings["xy_stage_x"]["value"] == pytest.approx(120, abs=0.1)
    assert readings["xy_stage_y"]["value"] == pytest.approx(-80, abs=0.1)


@pytest.mark.parametrize("limit", [-200, 200])
def test_a_focus_drive_goes_as_far_as_its_limits(bench: Bench, limit: float) -> None:
    bench.focus.set(limit).wait(10)
    assert bench.focus.position_um == pytest.approx(limit)


def test_a_motion_tells_how_far_it_has_come_from_what_is_read_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core, "_LOOK_S", 0.05)
    slow_down(bench)
    stage = bench.stage
    stage.read()
    told: list[dict[str, Any]] = []
    places: list[float] = []
    stage.listen(lambda device: places.append(device.last_reading()["xy_stage_x"]["value"]))

    status = stage.set((60.0, 30.0))
    status.watch(lambda **progress: told.append(progress))
    status.wait(30)

    gone = [progress["current"] for progress in told]
    assert gone == sorted(gone)
    assert len(gone) > 2
    assert {(p["target"], p["unit"], p["name"]) for p in told} == {(60.0, "um", "xy_stage")}
    assert all(math.isclose(p["fraction"], 1 - p["current"] / 60) for p in told)
    assert 0 < told[0]["fraction"] < 1
    assert told[0]["time_remaining"] > 0
    assert (told[-1]["current"], told[-1]["fraction"]) == (60.0, 0.0)
    assert places == sorted(places)
    assert len(places) > len(gone)
    assert math.isclose(places[-1], 60, abs_tol=1)


def test_a_short_motion_tells_nothing_but_where_it_has_ended(bench: Bench) -> None:
    bench.focus.read()
    told: list[dict[str, Any]] = []

    status = bench.focus.set(1.0)
    status.watch(lambda **progress: told.append(progress))
    status.wait(30)

    assert told == []
    assert bench.focus.last_reading()["focus"]["value"] == 1.0


def test_setting_returns_before_the_stage_arrives(bench: Bench) -> None:
    slow_down(bench)
    status = bench.stage.set((5000, 0))
    assert not status.done
    until(lambda: bench.core.is_busy(XY))
    bench.stage.stop()
    assert isinstance(status.exception(10), StoppedError)


def test_two_stages_move_at_once(bench: Bench) -> None:
    slow_down(bench)
    slow = bench.stage.set((5000, 0))
    bench.focus.set(50).wait(10)
    assert not slow.done
    bench.stage.stop()
    assert isinstance(slow.exception(10), StoppedError)


def test_a_drive_may_land_within_its_tolerance(faulty: Bench) -> None:
    faults.drive(faulty.core).lands_off_um = 0.9
    faulty.focus.set(20).wait(10)
    assert faulty.focus.position_um == pytest.approx(20.9)


def test_a_drive_that_lands_outside_its_tolerance_has_failed(faulty: Bench) -> None:
    faults.drive(faulty.core).lands_off_um = 1.1
    with pytest.raises(CoreError, match=r"came to rest at z 21\.1 µm, asked for 20 µm"):
        faulty.focus.set(20).wait(10)


# ---------------------------------------------------------------- stop


def test_stop_leaves_a_stage_at_rest_short_of_its_target(bench: Bench) -> None:
    slow_down(bench)
    status = bench.stage.set((5000, 0))
    until(lambda: bench.core.is_busy(XY))
    bench.stage.stop()
    bench.stage.check_safe()
    with pytest.raises(StoppedError, match="XY was stopped on its way"):
        status.wait(10)
    assert bench.core.xy_position(XY)[0] < 5000


def test_a_pause_leaves_a_stage_at_rest_without_an_error(bench: Bench) -> None:
    slow_down(bench)
    status = bench.stage.set((5000, 0))
    until(lambda: bench.core.is_busy(XY))
    bench.stage.stop(success=True)
    status.wait(10)
    bench.stage.check_safe()
    assert bench.core.xy_position(XY)[0] < 5000


def test_a_stage_that_moves_on_after_a_stop_is_not_safe(
    faulty: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.stage._REST_S", 0.02)
    faults.drive(faulty.core).is_moving = True
    with pytest.raises(DeviceError, match=r"focus still moves .* emergency switch"):
        faulty.focus.check_safe()


def test_a_stage_that_does_not_arrive_in_time_is_stopped(faulty: Bench) -> None:
    drive = faults.drive(faulty.core)
    drive.is_moving = True
    faulty.focus.timeout_s = 0.02
    with pytest.raises(CoreTimeoutError, match="the motion of Drive was not finished"):
        faulty.focus.set(20).wait(10)
    assert drive.stops == 1
    assert not drive.is_moving


def test_after_a_failed_motion_the_next_one_is_not_stopped_for_it(faulty: Bench) -> None:
    drive = faults.drive(faulty.core)
    for _ in range(20):
        drive.lands_off_um = 5
        with pytest.raises(CoreError):
            faulty.focus.set(20).wait(10)
        drive.lands_off_um = 0
        faulty.focus.set(10).wait(10)
    assert drive.stops == 0


def test_a_motion_that_was_stopped_is_never_told_to_be_complete(bench: Bench) -> None:
    slow_down(bench)
    told: list[dict[str, Any]] = []
    status = bench.stage.set((5000, 0))
    status.watch(lambda **progress: told.append(progress))
    bench.stage.stop()
    assert isinstance(status.exception(10), StoppedError)
    assert not any("fraction" in progress for progress in told)


# ---------------------------------------------------------------- what it tells


def test_stages_speak_blueskys_protocols(bench: Bench) -> None:
    for stage in (bench.stage, bench.focus):
        assert isinstance(stage, Readable)
        assert isinstance(stage, Movable)
        assert isinstance(stage, Stoppable)


def test_every_reading_has_a_key_with_units_and_the_time_of_the_question(bench: Bench) -> None:
    before = time.time()
    for stage in (bench.stage, bench.focus):
        readings, keys = stage.read(), stage.describe()
        assert set(readings) == set(keys)
        assert all(key["units"] == "um" and key["dtype"] == "number" for key in keys.values())
        assert all(key["source"] == f"mmcore://{stage.label}" for key in keys.values())
        assert all(reading["timestamp"] >= before for reading in readings.values())


def test_the_last_reading_is_told_without_asking_the_hardware(bench: Bench) -> None:
    bench.focus.set(30).wait(10)
    bench.focus.read()
    bench.core.close()
    assert bench.focus.last_reading()["focus"]["value"] == pytest.approx(30)
    assert bench.focus.last_readback()["focus"]["units"] == "um"
    with pytest.raises(DeviceError, match="shutting down"):
        bench.focus.read()


def test_closing_an_instrument_stops_a_moving_stage(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    slow_down(bench)
    status = bench.stage.set((5000, 0))
    until(lambda: bench.core.is_busy(XY))
    with caplog.at_level(logging.WARNING):
        Instrument.close(bench.instrument)
    assert isinstance(status.exception(10), DeviceError)
    assert caplog.text == ""


def test_a_motion_ends_although_the_call_that_began_it_hangs(faulty: Bench) -> None:
    hang, drive = Hold(), faults.drive(faulty.core)
    faulty.core.timeout_s = faulty.focus.timeout_s = 0.05
    drive.on_command = hang
    status = faulty.focus.set(5)
    hang.wait_until_entered()
    with pytest.raises(CoreTimeoutError, match=r"focus \(Drive\) does not answer"):
        status.wait(10)
    until(lambda: drive.stops > 0)
    hang.let_go()


def test_a_drive_that_refuses_is_told_with_its_name_its_words_and_what_it_was_to_do(
    faulty: Bench,
) -> None:
    def refuse(_: float) -> None:
        raise RuntimeError(":N-21")

    faults.drive(faulty.core).on_command = refuse
    with pytest.raises(CoreError, match=r"focus: Drive: :N-21\. It was told to go to 5 µm"):
        faulty.focus.set(5).wait(10)
