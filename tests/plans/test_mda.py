"""Sequences of useq-schema, under a real RunEngine on the demo instrument."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from plans import TakenPoint, run_mda
from plans.read_sequence import Sequence
from tests.devices.demo import Bench
from tests.plans.answers import UID, ShelfAnswers

PLACES = [{"x": 10, "y": 20, "z": 5, "name": "first"}, {"x": -30, "y": 40}]
ADAPTER: TypeAdapter[Any] = TypeAdapter(Sequence)


@pytest.fixture
def answers(bench: Bench, run_engine: Any) -> ShelfAnswers:
    found = ShelfAnswers(bench.shelf)
    found.answer(run_engine)
    return found


def carried_out(bench: Bench, run_engine: Any, **parts: Any) -> dict[str, Any]:
    """Carry out a sequence, and return what it returns."""
    devices = {"stage": bench.stage, "focus": bench.focus, "light_sheet": bench.sheet}
    plan = run_mda(ADAPTER.validate_python(parts), exposure_ms=1.0, stages=[], **devices)
    found: dict[str, Any] = run_engine(plan).plan_result
    return found


def places_um(bench: Bench) -> list[tuple[float, float]]:
    """Return where volumes were taken, as read back."""
    found = [sink.planned.positions_um for sink in bench.shelf.sinks]
    return [(at["xy_stage.x"], at["xy_stage.y"]) for at in found]


def test_each_place_is_gone_to_in_its_turn_and_its_volumes_say_so(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    time_plan = {"interval": 0, "loops": 2}
    found = carried_out(bench, run_engine, stage_positions=PLACES, time_plan=time_plan)
    assert found == {"acquisition_uid": UID, "num_taken": 4, "num_found": 0}
    assert answers.places == [("first", 0), ("p1", 0), ("first", 1), ("p1", 1)]
    at_um = places_um(bench)
    assert at_um[0] == pytest.approx((10, 20), abs=0.1)
    assert at_um[1] == pytest.approx((-30, 40), abs=0.1)
    assert bench.shelf.sinks[0].planned.positions_um["focus.z"] == pytest.approx(5)


def test_the_tiles_of_a_grid_lie_side_by_side_by_what_the_camera_shows(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    carried_out(bench, run_engine, stage_positions=PLACES[:1], grid_plan={"rows": 1, "columns": 2})
    (left, right), width_um = places_um(bench), bench.sheet.field_um[0]
    assert width_um > 10
    assert right[0] - left[0] == pytest.approx(width_um, abs=0.1)
    assert (left[0] + right[0]) / 2 == pytest.approx(10, abs=0.1)
    assert answers.places == [("first g0", 0), ("first g1", 0)]


def test_what_is_there_is_not_taken_again(
    bench: Bench, run_engine: Any, answers: ShelfAnswers
) -> None:
    answers.before = [TakenPoint("first", 0, "only", begun_s=0, uid="0" * 32)]
    found = carried_out(bench, run_engine, stage_positions=PLACES)
    assert found == {"acquisition_uid": UID, "num_taken": 1, "num_found": 1}
    assert answers.places == [("p1", 0)]
