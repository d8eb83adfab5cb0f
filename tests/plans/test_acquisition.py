"""Plans that take pictures, under a real RunEngine on the demo instrument."""

from collections.abc import Callable
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import FailedStatus, Msg, RunEngineInterrupted

from devices import LimitError
from plans import acquire_volume, snap
from tests.devices.demo import FOCUS, Bench
from tests.plans.interrupting import interrupt

Documents = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def documents(run_engine: Any) -> Documents:
    found: Documents = []
    run_engine.subscribe(lambda name, document: found.append((name, document)))
    return found


def names(documents: Documents) -> list[str]:
    return [name for name, _ in documents]


def volume(bench: Bench, **changes: Any) -> Any:
    asked = {"num_slices": 4, "exposure_ms": 1.0, "step_um": 0.5, **changes}
    return acquire_volume(**asked, light_sheet=bench.sheet, stages=[bench.stage, bench.focus])


# ---------------------------------------------------------------- a volume


def test_acquire_volume_publishes_one_volume_and_returns_how_to_find_it(
    bench: Bench, run_engine: Any
) -> None:
    result = run_engine(volume(bench)).plan_result
    (sink,) = bench.shelf.sinks
    assert sink.state == "published"
    assert result == {
        "uid": bench.sheet.published["a"].uid,
        "path": str(bench.sheet.published["a"].path),
        "shape": [4, 512, 512],
        "dtype": "uint16",
        "session_id": "session",
    }


def test_a_volume_is_one_run_with_one_event(
    bench: Bench, run_engine: Any, documents: Documents
) -> None:
    run_engine(volume(bench))
    assert names(documents) == [
        "start",
        "descriptor",
        "stream_resource",
        "stream_datum",
        "event",
        "stop",
    ]
    event = dict(documents)["event"]
    assert {"xy_stage_x", "xy_stage_y", "focus", "light_sheet_uid"} <= set(event["data"])


def test_a_volume_knows_its_run(bench: Bench, run_engine: Any, documents: Documents) -> None:
    run_engine(volume(bench))
    assert bench.shelf.sinks[0].planned.run_uid == dict(documents)["start"]["uid"]


def test_the_sweep_and_the_exposure_are_those_asked_for(bench: Bench, run_engine: Any) -> None:
    run_engine(volume(bench, num_slices=3, step_um=2.0, center_um=20.0, exposure_ms=2.5))
    (sink,) = bench.shelf.sinks
    assert sink.z_um == pytest.approx([18, 20, 22])
    assert sink.planned.exposure_ms == 2.5


def test_snap_publishes_one_slice_from_where_the_microscope_is(
    bench: Bench, run_engine: Any
) -> None:
    bench.focus.set(33).wait(10)
    result = run_engine(snap(exposure_ms=1.0, light_sheet=bench.sheet, stages=[])).plan_result
    assert result["shape"] == [1, 512, 512]
    assert bench.shelf.sinks[0].z_um == pytest.approx([33])
    assert bench.core.position(FOCUS) == pytest.approx(33)


def test_volumes_are_independent_runs(bench: Bench, run_engine: Any, documents: Documents) -> None:
    for _ in range(3):
        run_engine(volume(bench))
    assert names(documents).count("start") == 3
    assert len({document["uid"] for name, document in documents if name == "start"}) == 3


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    "changes",
    [
        {"exposure_ms": 0.0},
        {"exposure_ms": float("nan")},
        {"num_slices": 1000, "step_um": 1.0},
        {"center_um": 201.0},
        {"num_slices": 1, "center_um": 201.0},
    ],
    ids=repr,
)
def test_what_is_out_of_limits_is_refused_before_anything_moves_or_lights_up(
    bench: Bench, run_engine: Any, documents: Documents, changes: dict[str, Any]
) -> None:
    with pytest.raises(LimitError):
        run_engine(volume(bench, **changes))
    assert bench.shelf.sinks == []
    assert bench.core.position(FOCUS) == 0
    assert not bench.is_lit
    assert dict(documents)["stop"]["exit_status"] == "fail"


def test_a_volume_that_fails_fails_its_run_and_leaves_no_light(
    bench: Bench, run_engine: Any, documents: Documents
) -> None:
    def fail(index: int) -> None:
        raise OSError("the disk is gone")

    bench.shelf.on_write = fail
    with pytest.raises(FailedStatus):
        run_engine(volume(bench))
    assert names(documents) == ["start", "stop"]
    assert dict(documents)["stop"]["exit_status"] == "fail"
    assert bench.shelf.states == ["discarded"]
    assert not bench.is_lit


# ---------------------------------------------------------------- interruptions


def test_a_paused_volume_is_given_up_in_the_dark_and_taken_again_on_resume(
    bench: Bench, run_engine: Any, documents: Documents
) -> None:
    interrupt(bench, run_engine, volume(bench), "request_pause")
    assert run_engine.state == "paused"
    assert not bench.is_lit
    assert bench.shelf.states == ["discarded"]

    result = run_engine.resume().plan_result
    assert bench.shelf.states == ["discarded", "published"]
    assert [written.index for written in bench.shelf.sinks[1].written] == [0, 1, 2, 3]
    assert bench.shelf.sinks[1].z_um == pytest.approx([-0.75, -0.25, 0.25, 0.75])
    assert result["uid"] == bench.sheet.published["a"].uid
    assert names(documents).count("stream_resource") == 1
    assert names(documents).count("stream_datum") == 1
    assert names(documents).count("event") == 1
    assert dict(documents)["stop"]["exit_status"] == "success"


@pytest.mark.parametrize("order", ["abort", "stop", "halt"])
def test_a_volume_that_is_ended_leaves_no_light_no_file_and_no_thread(
    bench: Bench, run_engine: Any, documents: Documents, order: str
) -> None:
    interrupt(bench, run_engine, volume(bench), order)
    assert run_engine.state == "idle"
    bench.sheet.check_safe()
    assert not bench.is_lit
    assert bench.shelf.states == ["discarded"]
    assert bench.sheet.published == {}
    assert names(documents) == ["start", "stop"]
    if order == "abort":
        assert dict(documents)["stop"]["exit_status"] == "abort"


def test_a_volume_that_is_paused_when_its_run_is_closed_is_resumed_and_not_taken_again(
    bench: Bench, run_engine: Any
) -> None:
    def paused_at_the_close(message: Msg) -> Any:
        if message.command == "close_run":
            return None, bps.pause()
        return None, None

    with pytest.raises(RunEngineInterrupted):
        run_engine(bpp.plan_mutator(volume(bench), paused_at_the_close))

    assert run_engine.resume().exit_status == "success"
    assert bench.shelf.states == ["published"]


@pytest.mark.parametrize("order", ["abort", "stop", "halt"])
def test_a_paused_volume_may_be_ended_instead_of_resumed(
    bench: Bench, run_engine: Any, order: str
) -> None:
    interrupt(bench, run_engine, volume(bench), "request_pause")
    getattr(run_engine, order)()
    assert run_engine.state == "idle"
    assert not bench.is_lit
    assert bench.shelf.states == ["discarded"]


def test_after_an_abort_the_next_volume_is_whole(bench: Bench, run_engine: Any) -> None:
    interrupt(bench, run_engine, volume(bench), "abort")
    bench.shelf.on_write = lambda _index: None
    run_engine(volume(bench))
    assert bench.shelf.states == ["discarded", "published"]


@pytest.mark.parametrize("when", ["on_open", "on_finish"])
def test_a_stop_at_the_ends_of_a_volume_leaves_no_light(
    bench: Bench, run_engine: Any, when: str
) -> None:
    def stop() -> None:
        bench.core.latch()
        bench.sheet.stop()

    hook: Callable[[], None] = stop
    setattr(bench.shelf, when, hook)
    if when == "on_open":
        with pytest.raises(FailedStatus):
            run_engine(volume(bench))
        assert bench.shelf.states == ["discarded"]
    else:  # all frames were there: the volume is whole
        run_engine(volume(bench))
        assert bench.shelf.states == ["published"]
    assert not bench.is_lit


def test_a_plan_that_fails_with_the_shutter_open_leaves_it_closed(
    bench: Bench, run_engine: Any
) -> None:
    def careless() -> Any:
        yield from bps.mv(bench.shutter, "open")
        raise OSError("something else")

    with pytest.raises(OSError, match="something else"):
        run_engine(careless())
    assert not bench.is_lit
