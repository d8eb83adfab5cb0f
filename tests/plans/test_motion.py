"""Plans that move and read, under a real RunEngine on the demo instrument."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted

from devices import LimitError
from plans import move_focus, move_stage, read_position, sleep
from tests.devices import demo
from tests.devices.demo import FOCUS, XY, Bench
from tests.waiting import until


def interrupted(run_engine: Any, plan: Any, ready: Callable[[], bool], order: str) -> None:
    """Run a plan, and give an order to the RunEngine from another thread once it is ready."""

    def interrupt() -> None:
        until(ready)
        getattr(run_engine, order)()

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(RunEngineInterrupted):
            run_engine(plan)
    finally:
        thread.join()


def test_move_stage_goes_there_and_returns_what_was_read_back(
    bench: Bench, run_engine: Any
) -> None:
    result = run_engine(move_stage(120, -80, stage=bench.stage)).plan_result
    assert set(result) == {"xy_stage_x", "xy_stage_y"}
    assert result["xy_stage_x"] == {"value": pytest.approx(120, abs=0.1), "units": "um"}
    assert result["xy_stage_y"] == {"value": pytest.approx(-80, abs=0.1), "units": "um"}


def test_move_focus_goes_there_and_returns_what_was_read_back(
    bench: Bench, run_engine: Any
) -> None:
    result = run_engine(move_focus(42.5, drive=bench.focus)).plan_result
    assert result == {"focus": {"value": pytest.approx(42.5), "units": "um"}}


def test_read_position_reads_every_axis_and_moves_nothing(bench: Bench, run_engine: Any) -> None:
    bench.focus.set(7).wait(10)
    result = run_engine(read_position([bench.stage, bench.focus])).plan_result
    assert {key: reading["value"] for key, reading in result.items()} == {
        "xy_stage_x": 0,
        "xy_stage_y": 0,
        "focus": pytest.approx(7),
    }
    assert not bench.core.is_busy(XY)


@pytest.mark.parametrize(
    "make_plan",
    [
        lambda bench: move_stage(10_001, 0, stage=bench.stage),
        lambda bench: move_stage(0, float("nan"), stage=bench.stage),
        lambda bench: move_focus(-201, drive=bench.focus),
    ],
    ids=["x too far", "y of NaN", "z too low"],
)
def test_a_motion_out_of_limits_fails_in_the_device_and_nothing_moves(
    bench: Bench, run_engine: Any, make_plan: Callable[[Bench], Any]
) -> None:
    with pytest.raises(LimitError):
        run_engine(make_plan(bench))
    assert bench.core.xy_position(XY) == (0, 0)
    assert bench.core.position(FOCUS) == 0
    assert run_engine.state == "idle"


def test_a_paused_motion_stops_and_resumes_to_its_target(bench: Bench, run_engine: Any) -> None:
    demo.set_property(bench.core, XY, "Velocity", 1)
    plan = move_stage(1000, 0, stage=bench.stage)
    interrupted(run_engine, plan, lambda: bench.core.is_busy(XY), "request_pause")
    assert run_engine.state == "paused"
    bench.stage.check_safe()
    assert bench.core.xy_position(XY)[0] < 1000
    demo.set_property(bench.core, XY, "Velocity", 10)
    result = run_engine.resume().plan_result
    assert result["xy_stage_x"]["value"] == pytest.approx(1000, abs=0.1)


@pytest.mark.parametrize("order", ["abort", "stop", "halt"])
def test_a_motion_that_is_ended_leaves_the_stage_at_rest(
    bench: Bench, run_engine: Any, order: str
) -> None:
    demo.set_property(bench.core, XY, "Velocity", 0.1)
    plan = move_stage(10_000, 0, stage=bench.stage)
    interrupted(run_engine, plan, lambda: bench.core.is_busy(XY), order)
    assert run_engine.state == "idle"
    bench.stage.check_safe()
    assert bench.core.xy_position(XY)[0] < 10_000


def test_a_latched_core_fails_the_plan(bench: Bench, run_engine: Any) -> None:
    bench.core.latch()
    with pytest.raises(FailedStatus):
        run_engine(move_focus(10, drive=bench.focus))
    assert bench.core.position(FOCUS) == 0


def test_sleep_takes_naps_that_can_be_paused(run_engine: Any) -> None:
    messages = list(sleep(1.2))
    assert [message.command for message in messages] == ["checkpoint", "sleep"] * 3
    naps_s = [message.args[0] for message in messages if message.command == "sleep"]
    assert sum(naps_s) == pytest.approx(1.2)
    assert max(naps_s) <= 0.5


def test_sleeping_for_no_time_does_nothing() -> None:
    assert list(sleep(0)) == []


def test_a_paused_sleep_resumes(run_engine: Any) -> None:
    interrupted(run_engine, sleep(0.2), lambda: run_engine.state == "running", "request_pause")
    assert run_engine.state == "paused"
    assert run_engine.resume().exit_status == "success"
