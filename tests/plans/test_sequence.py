"""What becomes of a sequence of useq-schema, and what is refused by its name."""

from typing import Any

import pytest
import useq
from pydantic import TypeAdapter, ValidationError

from plans.read_sequence import Sequence
from plans.sequence import stacks, sweep, with_fields

ADAPTER: TypeAdapter[Any] = TypeAdapter(Sequence)
PLACES = [{"x": 1, "y": 2, "z": 3, "name": "a"}, {"x": 5, "y": 6}]


def parsed(**parts: Any) -> Any:
    return ADAPTER.validate_python(parts)


def test_a_stack_is_one_volume_at_each_time_place_and_channel() -> None:
    sequence = parsed(
        stage_positions=PLACES,
        z_plan={"range": 4, "step": 1},
        time_plan={"interval": 10, "loops": 2},
        channels=[{"config": "488", "exposure": 7}, "561"],
    )
    found = list(stacks(sequence))
    assert [(one.time_point, one.place, one.line) for one in found] == [
        (time, place, line) for time in (0, 1) for place in ("a", "p1") for line in ("488", "561")
    ]
    assert [one.exposure_ms for one in found[:2]] == [7, None]
    assert [one.min_start_s for one in found[::4]] == [0, 10]
    assert (found[0].x_um, found[0].y_um, found[0].z_um) == (1, 2, 3)
    assert sweep(sequence).num_slices == 5
    assert sweep(sequence).step_um == 1


def test_every_tile_of_a_grid_is_a_place() -> None:
    grid = {"rows": 1, "columns": 2, "fov_width": 10, "fov_height": 10}
    found = list(stacks(parsed(stage_positions=PLACES[:1], grid_plan=grid)))
    assert [one.place for one in found] == ["a g0", "a g1"]
    assert found[1].x_um - found[0].x_um == 10  # type: ignore[operator]


def test_a_tile_shows_what_the_camera_shows_unless_the_grid_says_something_else() -> None:
    def pitch_um(**grid: float) -> tuple[float, float]:
        asked = parsed(stage_positions=PLACES[:1], grid_plan={"rows": 2, "columns": 2, **grid})
        first, beside, below, _ = stacks(with_fields(asked, (100, 80)))
        return beside.x_um - first.x_um, beside.y_um - below.y_um  # type: ignore[operator]

    assert pitch_um() == (100, 80)
    assert pitch_um(overlap=10) == (90, 72)
    assert pitch_um(fov_width=50) == (50, 80)
    area = {"top": 80.0, "left": 0.0, "bottom": 0.0, "right": 300.0}
    tiles = list(stacks(with_fields(parsed(grid_plan=area), (100, 80))))
    assert [(one.x_um, one.y_um) for one in tiles] == [(50, 40), (150, 40), (250, 40)]


def test_slices_that_are_not_around_their_middle_are_off_by_so_much() -> None:
    found = sweep(parsed(z_plan={"above": 3, "below": 1, "step": 1}))
    assert (found.num_slices, found.offset_um, found.is_relative) == (5, 1, True)
    assert not sweep(parsed(z_plan={"top": 4, "bottom": 1, "step": 1})).is_relative


@pytest.mark.parametrize(
    "parts",
    [
        {
            "stage_positions": [(1, 2, 3), {"x": 4, "y": 5, "name": "there"}],
            "grid_plan": {"rows": 2, "columns": 2},
            "z_plan": {"range": 4, "step": 1},
            "time_plan": [{"interval": 1, "loops": 2}, {"interval": 2, "duration": 4}],
            "channels": ["488", {"config": "561", "exposure": 3}],
        },
        {
            "stage_positions": {
                "plate": 96,
                "a1_center_xy": (0, 0),
                "selected_wells": ([0, 1], [0, 1]),
            }
        },
        {},
    ],
)
def test_what_useq_writes_is_what_it_was(parts: dict[str, Any]) -> None:
    made = useq.MDASequence.model_validate(parts)
    assert list(stacks(ADAPTER.validate_json(made.model_dump_json()))) == list(stacks(made))


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"foo": 1}, "foo"),
        ({"channels": ["DAPI"]}, "channels.0.config"),
        ({"channels": [{"config": "488", "do_stack": False}]}, "channels.0.do_stack"),
        ({"channels": [{"config": "488", "z_offset": 3}]}, "channels.0.z_offset"),
        ({"z_plan": {"relative": [0, 1, 5]}}, "z_plan: slices have to lie at equal distances"),
        ({"z_plan": {"range": 2, "step": 1, "go_up": False}}, "z_plan: slices are taken from"),
        ({"z_plan": {"range": 2, "step": 1}, "axis_order": "tpzc"}, "axis_order"),
        ({"keep_shutter_open_across": ["z"]}, "keep_shutter_open_across"),
        ({"axis_order": "zzz"}, "axis_order: Duplicate entries"),
        ({"z_plan": {"range": "far", "step": 1}}, "z_plan.ZRangeAround.range: "),
        ({"z_plan": {"range": 2, "step": 1, "up": True}}, "z_plan.up: there is no such part"),
        ({"stage_positions": [{"x": 1, "yy": 2}]}, "stage_positions.0.yy: there is no such"),
        ({"channels": [{"config": "488", "exp": 2}]}, "channels.0.exp: there is no such part"),
        ({"grid_plan": {"rows": "many", "columns": 1}}, "grid_plan: has to say rows and columns"),
        ({"channels": ["488"], "axis_order": "tpgz"}, "axis_order: has no c for channels"),
        ({"grid_plan": {"rows": 1, "columns": 2}}, "grid_plan: lies around positions"),
        (
            {"grid_plan": {"rows": 1, "columns": 2}, "stage_positions": [{"z": 3}]},
            "grid_plan: lies around positions",
        ),
        (
            {
                "grid_plan": {"num_points": 2, "max_width": 9, "max_height": 9},
                "stage_positions": PLACES,
            },
            "grid_plan.random_seed",
        ),
        (
            {
                "grid_plan": {"top": 1, "left": 0, "bottom": 0, "right": 1},
                "stage_positions": [{"z": 3}, {"x": 1, "y": 2}],
            },
            "stage_positions.1: the grid_plan says where",
        ),
        ({"stage_positions": [*PLACES, {"x": 9, "y": 9, "name": "p1"}]}, "two are called p1"),
        (
            {
                "stage_positions": [
                    {"x": 1, "y": 1, "sequence": {"z_plan": {"range": 2, "step": 1}}}
                ]
            },
            "stage_positions.0.sequence",
        ),
        (
            {
                "autofocus_plan": {
                    "autofocus_motor_offset": 1,
                    "autofocus_device_name": "Z",
                    "axes": ["p"],
                }
            },
            "autofocus_plan",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(parts: dict[str, Any], name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        parsed(**parts)
