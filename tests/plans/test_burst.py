"""A burst under a real RunEngine, on the twin: its controller takes the volumes by itself."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bluesky.utils import FailedStatus

from devices import StoppedError, load_instrument_file
from devices.twin import AxisFault
from plans import burst
from tests.devices import demo
from tests.devices.demo import Bench
from tests.plans.answers import UID, ShelfAnswers
from tests.plans.interrupting import interrupt

VOLUMES = 4


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("twin")
    with demo.booted(load_instrument_file("twin"), folder) as bench:
        yield bench


@pytest.fixture
def twin(booted: Bench, run_engine: Any) -> Iterator[Bench]:
    ShelfAnswers(booted.shelf).answer(run_engine)
    yield booted
    booted.sheet.check_safe()
    booted.shelf.on_write = lambda _index: None
    booted.shelf.sinks.clear()


def plan(bench: Bench, **changes: Any) -> Any:
    asked = {"num_volumes": VOLUMES, "num_slices": 5, "exposure_ms": 1.0, "center_um": 10.0}
    return burst(**{**asked, **changes}, light_sheet=bench.sheet)


def in_volume(bench: Bench, number: int) -> Callable[[int], bool]:
    """Return what says that it is the middle of a volume of the burst, counted from 1."""
    return lambda index: index == 2 and len(bench.shelf.sinks) == number


def published(bench: Bench) -> list[int]:
    sinks = [sink for sink in bench.shelf.sinks if sink.state == "published"]
    return [sink.planned.labels.time_point for sink in sinks]


def test_each_volume_of_a_burst_is_a_run_of_its_own_and_a_time_point(
    twin: Bench, run_engine: Any
) -> None:
    documents: list[tuple[str, dict[str, Any]]] = []
    run_engine.subscribe(lambda name, document: documents.append((name, document)))
    result = run_engine(plan(twin)).plan_result
    assert result["acquisition_uid"] == UID
    assert result["num_volumes"] == VOLUMES
    assert published(twin) == list(range(VOLUMES))
    starts = [document["uid"] for name, document in documents if name == "start"]
    assert [sink.planned.run_uid for sink in twin.shelf.sinks] == starts
    assert [name for name, _ in documents] == VOLUMES * [
        "start",
        "descriptor",
        "stream_resource",
        "stream_datum",
        "event",
        "stop",
    ]


def test_a_burst_of_both_sides_has_a_volume_of_each(twin: Bench, run_engine: Any) -> None:
    run_engine(plan(twin, view="dual", line="561"))
    assert published(twin) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {sink.planned.labels.channel for sink in twin.shelf.sinks} == {"561 a", "561 b"}


def test_a_burst_that_is_paused_goes_on_and_takes_each_volume_once(
    twin: Bench, run_engine: Any
) -> None:
    interrupt(twin, run_engine, plan(twin), "request_pause", in_volume(twin, 2))
    assert run_engine.state == "paused"
    twin.sheet.check_safe()
    assert published(twin) == [0]
    assert run_engine.resume().exit_status == "success"
    assert published(twin) == list(range(VOLUMES))


def test_a_burst_that_is_aborted_ends_in_the_dark_with_what_was_whole(
    twin: Bench, run_engine: Any
) -> None:
    interrupt(twin, run_engine, plan(twin), "abort", in_volume(twin, 3))
    twin.sheet.check_safe()
    assert published(twin) == [0, 1]


def test_a_stop_in_the_middle_of_a_burst_ends_it_and_says_so(twin: Bench, run_engine: Any) -> None:
    def stop(_index: int) -> None:
        if len(twin.shelf.sinks) == 2:
            twin.sheet.stop()

    twin.shelf.on_write = stop
    with pytest.raises(FailedStatus) as failed:
        run_engine(plan(twin))
    assert isinstance(failed.value.args[0].exception(), StoppedError)
    assert published(twin) == [0]


def test_a_piezo_that_sticks_in_the_middle_of_a_burst_costs_that_volume(
    twin: Bench, run_engine: Any
) -> None:
    faults = twin.core.ask("TwinHub", lambda mmc: mmc._pydevices["TwinHub"]).faults

    def stick(index: int) -> None:
        if index == 2 and len(twin.shelf.sinks) == 3:
            faults.axes["P"] = AxisFault(sticks_at_um=0)

    twin.shelf.on_write = stick
    try:
        with pytest.raises(FailedStatus) as failed:
            run_engine(plan(twin, num_volumes=6, num_slices=25, exposure_ms=5.0))
    finally:
        faults.axes.clear()
    assert "piezo_a" in str(failed.value.args[0].exception())
    assert published(twin) == [0, 1]


def test_on_an_instrument_without_a_controller_they_are_taken_one_by_one(
    bench: Bench, run_engine: Any
) -> None:
    ShelfAnswers(bench.shelf).answer(run_engine)
    run_engine(plan(bench, center_um=0.0, num_volumes=2))
    assert published(bench) == [0, 1]
    assert not bench.is_lit
