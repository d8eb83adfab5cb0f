"""Time-lapses, under a real RunEngine on the demo instrument."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from bluesky.utils import FailedStatus, RunEngineInterrupted

from devices import AcquisitionError, DoseError, LimitError
from gently.core.detection_values import LookFailedError
from gently.detector_child import Look
from plans import Embryo, Rule, TakenPoint, time_lapse
from tests.devices.demo import Bench
from tests.plans.answers import UID, ShelfAnswers
from tests.waiting import until

ONE = Embryo(name="one", x_um=10, y_um=20, z_um=5)
TWO = Embryo(name="two", x_um=30, y_um=-40)


@pytest.fixture
def answers(bench: Bench, run_engine: Any) -> ShelfAnswers:
    found = ShelfAnswers(bench.shelf)
    found.answer(run_engine)
    return found


def lapse(bench: Bench, *embryos: Embryo, **changes: Any) -> Any:
    asked = {"num_points": 2, "interval_s": 0.0, "num_slices": 2, "exposure_ms": 1.0, **changes}
    devices = {"stage": bench.stage, "focus": bench.focus, "light_sheet": bench.sheet}
    return time_lapse(list(embryos or (ONE, TWO)), **asked, **devices)


def run(run_engine: Any, plan: Any) -> dict[str, Any]:
    found: dict[str, Any] = run_engine(plan).plan_result
    return found


def listening(run_engine: Any) -> list[dict[str, Any]]:
    """Return a list that gets what each run will say of its time point."""
    starts: list[dict[str, Any]] = []
    run_engine.subscribe(lambda _, start: starts.append(start["time_lapse"]), "start")
    return starts


def test_every_embryo_is_taken_in_turn_at_its_place_and_its_volumes_say_so(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    result = run(run_engine, lapse(bench))
    assert answers.places == [("one", 0), ("two", 0), ("one", 1), ("two", 1)]
    planned = [sink.planned for sink in bench.shelf.sinks]
    assert {volume.labels.acquisition_uid for volume in planned} == {UID}
    assert [volume.positions_um["xy_stage.x"] for volume in planned] == pytest.approx(
        [10, 30, 10, 30], abs=0.1
    )
    assert planned[0].positions_um["focus.z"] == pytest.approx(5)
    assert result["acquisition_uid"] == UID
    assert result["num_taken"] == 4
    assert result["embryos"]["two"]["ended_by"] == "num_points"


def test_what_is_there_of_an_acquisition_is_not_taken_again(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    answers.before = [TakenPoint("one", 0, "", 0), TakenPoint("two", 1, "", 0)]
    result = run(run_engine, lapse(bench, acquisition_uid="7" * 32))
    assert sorted(answers.places) == [("one", 1), ("two", 0)]
    assert result["embryos"]["one"]["num_found"] == 1


def test_each_run_says_how_late_its_volume_was(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    starts = listening(run_engine)
    result = run(run_engine, lapse(bench, ONE, interval_s=0.3))
    assert [(said["embryo"], said["time_point"]) for said in starts] == [("one", 0), ("one", 1)]
    assert starts[0]["late_s"] == 0
    assert starts[1]["late_s"] == pytest.approx(result["embryos"]["one"]["most_late_s"])
    assert result["embryos"]["one"]["mean_interval_s"] >= 0.3


def test_a_volume_that_fails_is_taken_again_and_counted(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    problems = [AcquisitionError("the camera has dropped a frame.")]

    def drop(index: int) -> None:
        if problems and len(bench.shelf.sinks) == 2 and index == 1:
            raise problems.pop()

    bench.shelf.on_write = drop
    result = run(run_engine, lapse(bench))
    assert sorted(answers.places) == [("one", 0), ("one", 1), ("two", 0), ("two", 1)]
    assert result["embryos"]["two"]["num_failures"] == 1


def test_too_many_failures_in_a_row_end_it_with_how_to_go_on(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    def drop(_: int) -> None:
        raise AcquisitionError("the camera has dropped a frame.")

    bench.shelf.on_write = drop
    with pytest.raises(AcquisitionError, match=f"2 volumes in a row.*dropped.*{UID}"):
        run(run_engine, lapse(bench, num_failures=1))
    assert bench.shelf.states == ["discarded", "discarded"]


def test_a_stop_is_no_failure_to_be_tried_again(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    def stop(_: int) -> None:
        bench.core.latch()
        bench.sheet.stop()

    bench.shelf.on_write = stop
    with pytest.raises(FailedStatus):
        run(run_engine, lapse(bench))
    assert bench.shelf.states == ["discarded"]


def test_it_can_be_paused_while_it_waits_and_goes_on(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    def pause() -> None:
        until(lambda: len(answers.taken) == 1)
        run_engine.request_pause()

    thread = threading.Thread(target=pause)
    thread.start()
    with pytest.raises(RunEngineInterrupted):
        run(run_engine, lapse(bench, ONE, interval_s=1.0))
    thread.join()
    assert run_engine.resume().plan_result["num_taken"] == 2
    assert answers.places == [("one", 0), ("one", 1)]


def test_a_rule_ends_an_embryo(bench: Bench, run_engine: Any, answers: ShelfAnswers) -> None:
    rules = [Rule(measure="time_point", at_least=2, embryo="two", is_last=True)]
    result = run(run_engine, lapse(bench, num_points=3, rules=rules))
    assert result["embryos"]["two"]["ended_by"] == "rule"
    assert [place for place in answers.places if place[0] == "two"] == [("two", 0), ("two", 1)]


def test_what_is_seen_of_the_last_volume_ends_an_embryo(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    answers.shows = lambda n: looks(num_objects=1 if n < 2 else 0)
    starts = listening(run_engine)
    rules = [Rule(measure="num_objects", below=1, is_last=True)]
    result = run(run_engine, lapse(bench, ONE, num_points=9, rules=rules))
    assert answers.places == [("one", 0), ("one", 1), ("one", 2)]
    assert answers.looked_at == [f"{number:032}" for number in (1, 2, 3)]
    assert result["embryos"]["one"]["ended_by"] == "rule"
    assert result["embryos"]["one"]["seen"]["num_objects"] == 0
    assert starts[1]["seen"]["num_objects"] == 1


def test_a_volume_that_cannot_be_looked_at_holds_nothing_up_and_no_rule_holds(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    def die(_: int) -> Look:
        raise LookFailedError("volume 5 was not looked at: its process was ended by signal 9")

    answers.shows = die
    rules = [Rule(measure="off_z_um", at_least=0, is_last=True)]
    result = run(run_engine, lapse(bench, ONE, num_points=3, rules=rules))
    assert len(answers.places) == 3
    assert result["embryos"]["one"]["num_unseen"] == 2
    assert "ended by signal 9" in result["embryos"]["one"]["seen"]["error"]


def test_gone_on_with_it_looks_at_the_last_volume_there_is(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    answers.shows = lambda _: looks(off_xy_um=30.0)
    answers.before = [TakenPoint("one", 0, "", 0, "7" * 32)]
    rules = [Rule(measure="off_xy_um", at_least=20, is_last=True)]
    result = run(run_engine, lapse(bench, ONE, acquisition_uid=UID, rules=rules))
    assert answers.looked_at == ["7" * 32]
    assert result["embryos"]["one"]["ended_by"] == "rule"
    assert not answers.taken


def test_an_embryo_that_may_have_no_more_light_is_left_alone_and_the_others_go_on(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    def refuse() -> None:
        if len(bench.shelf.sinks) >= 2 and len(bench.shelf.sinks) % 2 == 0:
            bench.shelf.on_open = lambda: None
            raise DoseError("one would have had 30 ms of light, of 25 ms")

    bench.shelf.on_open = refuse
    result = run(run_engine, lapse(bench, num_points=3))
    assert result["embryos"]["one"]["ended_by"].startswith("budget: one would have had 30 ms")
    assert answers.places == [("one", 0), ("two", 0), ("two", 1), ("two", 2)]


def test_a_light_without_a_sheet_is_not_followed(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    with pytest.raises(LimitError, match="leave num_points_per_focus out"):
        run(run_engine, lapse(bench, num_points_per_focus=2))


def looks(**found: Any) -> Look:
    nothing = {"sharpness": 1.0, "off_z_um": None, "off_xy_um": None, "num_objects": 1}
    return Look(**{**nothing, **found})


def test_nothing_is_begun_after_its_end(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    result = run(run_engine, lapse(bench, until=datetime.now(UTC), interval_s=60.0))
    assert {embryo["ended_by"] for embryo in result["embryos"].values()} == {"until"}
    assert set(answers.places) <= {("one", 0), ("two", 0)}


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"measure": "time_point", "is_last": True}, "at_least or below"),
        ({"measure": "time_point", "at_least": 1}, "changes the interval_factor"),
    ],
)
def test_a_rule_that_says_nothing_is_refused(rule: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Rule(**rule)
