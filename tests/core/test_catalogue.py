"""The catalogue: a plan's signature is its schema, and what does not fit it is refused."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import pytest
from bluesky.utils import Msg, MsgGenerator
from pydantic import Field

from devices import FocusDrive, HardwareDevice, LightSheet, Shutter, Stage, XYStage
from gently.core.catalogue import BoundPlan, Catalogue
from gently.core.errors import CatalogueError, FieldError, PlanRefusedError
from plans import ALL_PLANS, AxisOf
from plans.parameters import all_devices, inject
from tests.core.bench import bench, focus_drive, xy_stage

Plan = Callable[..., MsgGenerator[Any]]


def goto(
    x_um: Annotated[float, AxisOf("stage", "x"), Field(description="Where to, in µm.")],
    times: Annotated[int, Field(ge=1, le=9)] = 1,
    note: str = "none",
    stage: XYStage = inject("xy_stage"),
    also: list[Stage] = all_devices(),
) -> MsgGenerator[None]:
    """Go there.

    More about it.
    """
    yield Msg("set", stage, (x_um, times), note, also)


@pytest.fixture
def devices() -> dict[str, HardwareDevice]:
    return bench()


@pytest.fixture
def catalogue(devices: Mapping[str, HardwareDevice]) -> Catalogue:
    return Catalogue([goto], devices)


def refusal(catalogue: Catalogue, /, *args: Any, plan: str = "goto", **kwargs: Any) -> FieldError:
    """Return the one thing that is wrong with a request."""
    with pytest.raises(PlanRefusedError) as refused:
        catalogue.bind(plan, args, kwargs)
    (error,) = refused.value.errors
    assert error.field in str(refused.value)
    assert error.message in str(refused.value)
    return error


# ---------------------------------------------------------------------- what it describes


def test_the_schema_says_all_that_a_client_has_to_know(catalogue: Catalogue) -> None:
    entry = catalogue["goto"]

    assert entry.description == "Go there."
    assert entry.json_schema["additionalProperties"] is False
    assert entry.json_schema["required"] == ["x_um"]
    properties = entry.json_schema["properties"]
    assert properties["x_um"] == {
        "title": "X Um",
        "type": "number",
        "description": "Where to, in µm.",
        "minimum": -100,
        "maximum": 100,
        "x-units": "um",
        "x-limits": {"xy_stage": [-100, 100]},
    }
    assert properties["times"] == {
        "title": "Times",
        "type": "integer",
        "minimum": 1,
        "maximum": 9,
        "default": 1,
    }
    assert properties["stage"] == {
        "title": "Stage",
        "type": "string",
        "enum": ["xy_stage"],
        "x-device": "XYStage",
        "default": "xy_stage",
    }
    assert properties["also"]["items"]["enum"] == ["xy_stage", "focus"]
    assert properties["also"]["default"] == ["xy_stage", "focus"]


def test_where_devices_of_a_type_differ_the_schema_has_the_widest_bounds_and_each_ones() -> None:
    devices = {"near": focus_drive("near", high=10), "far": focus_drive("far", low=-90)}

    def focus_on(
        z_um: Annotated[float, AxisOf("drive", "z")], drive: FocusDrive
    ) -> MsgGenerator[None]:
        """Focus."""
        yield Msg("set", drive, z_um)

    catalogue = Catalogue([focus_on], devices)

    z_um = catalogue["focus_on"].json_schema["properties"]["z_um"]
    assert (z_um["minimum"], z_um["maximum"]) == (-90, 50)
    assert z_um["x-limits"] == {"near": [-50, 10], "far": [-90, 50]}
    catalogue.bind("focus_on", [], {"z_um": 40, "drive": "far"})
    assert refusal(catalogue, plan="focus_on", z_um=40, drive="near").field == "z_um"


def test_every_plan_in_the_box_can_be_described(devices: Mapping[str, HardwareDevice]) -> None:
    catalogue = Catalogue(ALL_PLANS, devices)

    assert set(catalogue) == {plan.__name__ for plan in ALL_PLANS}
    assert catalogue.unavailable == {}
    for entry in catalogue.values():
        assert entry.json_schema["additionalProperties"] is False
        for name, schema in entry.json_schema["properties"].items():
            assert "x-device" in str(schema) or schema["description"], f"{entry.name}.{name}"


def test_a_plan_whose_device_this_instrument_lacks_is_left_out_and_says_why() -> None:
    catalogue = Catalogue(ALL_PLANS, {"xy_stage": xy_stage()})

    assert set(catalogue) == {"move_stage", "read_position", "sleep"}
    assert catalogue.unavailable["move_focus"] == "this instrument has no FocusDrive named 'focus'"
    with pytest.raises(PlanRefusedError, match="no FocusDrive named 'focus'"):
        catalogue.bind("move_focus", [], {"z_um": 1})


def test_a_plan_that_needs_to_be_given_a_device_that_nobody_has_is_left_out_too() -> None:
    def blink(gate: Shutter) -> MsgGenerator[None]:
        """Blink."""
        yield Msg("set", gate, "open")

    catalogue = Catalogue([blink], {"xy_stage": xy_stage()})

    assert dict(catalogue) == {}
    assert catalogue.unavailable == {"blink": "this instrument has no Shutter"}


# ---------------------------------------------------------------------- refused at start


def no_generator() -> MsgGenerator[None]:
    """Return a list."""
    return []


def unannotated(x_um) -> MsgGenerator[None]:  # type: ignore[no-untyped-def]
    """Do it."""
    yield Msg("null")


def undocumented(x_um: float) -> MsgGenerator[None]:
    yield Msg("null")


def any_number(*xs_um: float) -> MsgGenerator[None]:
    """Do it."""
    yield Msg("null")


def any_name(**xs_um: float) -> MsgGenerator[None]:
    """Do it."""
    yield Msg("null")


def by_place_only(x_um: float, /) -> MsgGenerator[None]:
    """Do it."""
    yield Msg("null")


def no_json(moment: Callable[[], None]) -> MsgGenerator[None]:
    """Do it."""
    yield Msg("null")


def hidden(_x_um: float) -> MsgGenerator[None]:
    """Do it."""
    yield Msg("null")


def axis_of_nothing(x_um: Annotated[float, AxisOf("stage", "x")]) -> MsgGenerator[None]:
    """Do it."""
    yield Msg("null")


def axis_of_a_number(
    x_um: Annotated[float, AxisOf("times", "x")], times: int = 1
) -> MsgGenerator[None]:
    """Do it."""
    yield Msg("null")


def axis_of_many(
    x_um: Annotated[float, AxisOf("stages", "x")], stages: list[XYStage] = all_devices()
) -> MsgGenerator[None]:
    """Do it."""
    yield Msg("null")


def axis_it_lacks(
    x_um: Annotated[float, AxisOf("stage", "w")], stage: XYStage = inject("xy_stage")
) -> MsgGenerator[None]:
    """Do it."""
    yield Msg("null")


def axis_of_what_has_none(
    x_um: Annotated[float, AxisOf("gate", "x")], gate: Shutter = inject("shutter")
) -> MsgGenerator[None]:
    """Do it."""
    yield Msg("null")


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (no_generator, "no generator function"),
        (unannotated, "of what type x_um is"),
        (undocumented, "docstring"),
        (any_number, "xs_um by name"),
        (any_name, "xs_um by name"),
        (by_place_only, "x_um by name"),
        (no_json, "cannot be described"),
        (hidden, "_x_um"),
        (axis_of_nothing, "stage.*no parameter"),
        (axis_of_a_number, "times.*one device"),
        (axis_of_many, "stages.*one device"),
        (axis_it_lacks, "axis 'w'"),
        (axis_of_what_has_none, "axis 'x'"),
    ],
)
def test_a_plan_that_cannot_be_described_is_refused_at_start(
    plan: Plan, reason: str, devices: Mapping[str, HardwareDevice]
) -> None:
    with pytest.raises(CatalogueError, match=reason) as refused:
        Catalogue([plan], devices)
    assert plan.__name__ in str(refused.value)


def test_two_plans_of_one_name_are_refused_at_start(
    devices: Mapping[str, HardwareDevice],
) -> None:
    with pytest.raises(CatalogueError, match="two plans are called goto"):
        Catalogue([goto, goto], devices)


def test_annotations_may_be_strings(devices: Mapping[str, HardwareDevice]) -> None:
    def late(x_um: "Annotated[float, AxisOf('stage', 'x')]", stage: "XYStage") -> Any:
        """Do it."""
        yield Msg("set", stage, (x_um, 0))

    catalogue = Catalogue([late], devices)

    assert catalogue["late"].json_schema["properties"]["stage"]["enum"] == ["xy_stage"]
    assert refusal(catalogue, plan="late", x_um=500, stage="xy_stage").field == "x_um"


# ---------------------------------------------------------------------- bind


def test_what_fits_becomes_a_plan_with_its_devices_and_defaults(
    catalogue: Catalogue, devices: Mapping[str, HardwareDevice]
) -> None:
    bound = catalogue.bind("goto", [], {"x_um": 5})

    assert isinstance(bound, BoundPlan)
    (message,) = bound.generate()
    assert message.obj is devices["xy_stage"]
    assert message.args == ((5.0, 1), "none", [devices["xy_stage"], devices["focus"]])


def test_a_bound_plan_can_be_generated_any_number_of_times(catalogue: Catalogue) -> None:
    bound = catalogue.bind("goto", [], {"x_um": 5})

    assert list(bound.generate()) == list(bound.generate())


def test_arguments_may_be_given_by_position(catalogue: Catalogue) -> None:
    bound = catalogue.bind("goto", [5, 2], {"note": "by hand"})

    assert dict(bound.kwargs) | {"stage": None, "also": None} == {
        "x_um": 5.0,
        "times": 2,
        "note": "by hand",
        "stage": None,
        "also": None,
    }


@pytest.mark.parametrize("edge", [-100, 100, 100.0])
def test_the_limits_themselves_are_allowed(catalogue: Catalogue, edge: float) -> None:
    catalogue.bind("goto", [], {"x_um": edge})


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("x_um", 100.0001, "limits -100 to 100 µm (bench.yml)"),
        ("x_um", -1e300, "limits -100 to 100 µm (bench.yml)"),
        ("x_um", float("nan"), "finite"),
        ("x_um", float("inf"), "finite"),
        ("x_um", float("-inf"), "finite"),
        ("x_um", 10**400, "not 1"),
        ("x_um", True, "number"),
        ("x_um", "5", "number, not '5'"),
        ("x_um", None, "number, not None"),
        ("x_um", [5], "number"),
        ("times", 0, "greater than or equal to 1, not 0"),
        ("times", 10, "less than or equal to 9, not 10"),
        ("times", 1.5, "integer"),
        ("times", True, "integer"),
        ("times", "1", "integer"),
        ("note", 5, "string"),
        ("speed", 5, "unknown here; known are: x_um, times, note, stage, also"),
        ("stage", "galvo", "has to be a XYStage of this instrument (xy_stage), not 'galvo'"),
        ("stage", "focus", "has to be a XYStage"),
        ("stage", 7, "has to be a XYStage"),
        ("stage", ["xy_stage"], "has to be a XYStage"),
        ("also", "xy_stage", "list"),
    ],
)
def test_what_does_not_fit_is_refused_by_field_with_what_is_allowed(
    catalogue: Catalogue, field: str, value: Any, says: str
) -> None:
    error = refusal(catalogue, **{"x_um": 0, field: value})

    assert error.field == field
    assert says in error.message


def test_a_device_in_a_list_is_refused_by_its_place(catalogue: Catalogue) -> None:
    error = refusal(catalogue, x_um=0, also=["xy_stage", "camera"])

    assert error.field == "also.1"
    assert "Stage of this instrument (xy_stage, focus), not 'camera'" in error.message


def test_a_device_object_is_no_name(
    catalogue: Catalogue, devices: Mapping[str, HardwareDevice]
) -> None:
    assert refusal(catalogue, x_um=0, stage=devices["xy_stage"]).field == "stage"


def test_a_missing_argument_is_named(catalogue: Catalogue) -> None:
    assert refusal(catalogue) == FieldError("x_um", "is missing")


def test_too_many_arguments_are_refused(catalogue: Catalogue) -> None:
    error = refusal(catalogue, 1, 2, "note", "xy_stage", [], 6)

    assert error == FieldError("args", "takes at most 5 arguments: x_um, times, note, stage, also")


def test_an_argument_given_twice_is_refused(catalogue: Catalogue) -> None:
    assert refusal(catalogue, 5, x_um=6).field == "x_um"


def test_everything_that_is_wrong_is_said_at_once(catalogue: Catalogue) -> None:
    with pytest.raises(PlanRefusedError) as refused:
        catalogue.bind("goto", [], {"x_um": "5", "times": 0, "speed": 1})

    assert [error.field for error in refused.value.errors] == ["x_um", "times", "speed"]


def test_a_refusal_does_not_repeat_a_huge_value(catalogue: Catalogue) -> None:
    assert len(refusal(catalogue, x_um="9" * 100_000).message) < 300


def test_an_unknown_plan_is_refused_and_the_known_ones_are_named(catalogue: Catalogue) -> None:
    error = refusal(catalogue, plan="goto_moon")

    assert error.field == "name"
    assert "'goto_moon'" in error.message
    assert "goto" in error.message


def test_the_exposure_of_a_plan_in_the_box_is_bounded_by_the_camera(
    devices: Mapping[str, HardwareDevice],
) -> None:
    catalogue = Catalogue(ALL_PLANS, devices)

    error = refusal(catalogue, plan="acquire_volume", exposure_ms=1001)

    assert error.field == "exposure_ms"
    assert "limits 1 to 1000 ms" in error.message
    assert isinstance(
        catalogue.bind("acquire_volume", [], {}).kwargs["light_sheet"],
        LightSheet,
    )
