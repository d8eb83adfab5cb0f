"""The signature is the schema: what every plan in the catalogue owes to it."""

import inspect
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
from bluesky.utils import MsgGenerator
from pydantic.fields import FieldInfo

import plans
from devices import HardwareDevice
from plans import ALL_PLANS, AllDevices, AxisOf

Plan = Callable[..., MsgGenerator[Any]]
PLANS = pytest.mark.parametrize("plan", ALL_PLANS, ids=lambda plan: plan.__name__)
UNITS = ("_um", "_ms", "_s", "_deg", "_percent")


def hints(plan: Plan) -> dict[str, Any]:
    found = get_type_hints(plan, include_extras=True)
    found.pop("return", None)
    return found


def values(plan: Plan) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Return the type and the metadata of each parameter that takes a value, not a device."""
    found = {}
    for name, hint in hints(plan).items():
        if get_origin(hint) is Annotated:
            kind, *metadata = get_args(hint)
            found[name] = (kind, tuple(metadata))
        elif not is_device(hint):
            found[name] = (hint, ())
    return found


def quantities(plan: Plan) -> dict[str, tuple[Any, tuple[Any, ...]]]:
    """Return those of the values that are no choice between words."""
    return {name: value for name, value in values(plan).items() if not is_choice(value[0])}


def is_choice(kind: Any) -> bool:
    return get_origin(one_of(kind)) is Literal


def one_of(kind: Any) -> Any:
    """Return what a list that may be left out consists of; anything else as it is."""
    inner = [part for part in get_args(kind) if get_origin(part) is list]
    return get_args(inner[0])[0] if inner else kind


def is_device(hint: Any) -> bool:
    inner = get_args(hint)[0] if get_origin(hint) is list else hint
    return isinstance(inner, type) and issubclass(inner, HardwareDevice)


def test_the_catalogue_has_the_plans_that_other_programs_call_by_name() -> None:
    assert [plan.__name__ for plan in ALL_PLANS] == [
        "acquire_volume",
        "snap",
        "find_embryos",
        "move_stage",
        "move_focus",
        "read_position",
        "sleep",
    ]
    assert all(plan.__name__ in plans.__all__ for plan in ALL_PLANS)


@PLANS
def test_every_parameter_is_annotated_and_named(plan: Plan) -> None:
    parameters = inspect.signature(plan).parameters.values()
    assert all(parameter.annotation is not parameter.empty for parameter in parameters)
    assert {parameter.kind for parameter in parameters} <= {inspect.Parameter.POSITIONAL_OR_KEYWORD}


@PLANS
def test_the_return_value_is_annotated(plan: Plan) -> None:
    assert get_type_hints(plan)["return"] is not None


@PLANS
def test_every_quantity_has_its_units_in_its_name(plan: Plan) -> None:
    for name, (kind, _) in quantities(plan).items():
        one = one_of(kind)
        if float in (one, *get_args(one)):
            assert name.endswith(UNITS), name
        else:
            assert re.match("num_|is_", name), name


@PLANS
def test_every_value_says_what_it_is(plan: Plan) -> None:
    for name, (_, metadata) in values(plan).items():
        descriptions = [part.description for part in metadata if isinstance(part, FieldInfo)]
        assert descriptions, name
        assert all(descriptions), name


@PLANS
def test_every_quantity_is_bounded_by_the_plan_an_axis_or_the_sweep(plan: Plan) -> None:
    checked_with_the_sweep = {"center_um"}
    for name, (kind, metadata) in quantities(plan).items():
        of_each = [part for part in get_args(one_of(kind)) if isinstance(part, FieldInfo)]
        bounds = {
            type(bound).__name__
            for part in (*metadata, *of_each)
            if isinstance(part, FieldInfo)
            for bound in part.metadata
        }
        is_bounded = {"Ge", "Le"} <= bounds or any(isinstance(part, AxisOf) for part in metadata)
        assert is_bounded or name in checked_with_the_sweep, name


@PLANS
def test_every_axis_belongs_to_a_device_parameter_of_the_plan(plan: Plan) -> None:
    for _, metadata in values(plan).values():
        for part in metadata:
            if isinstance(part, AxisOf):
                assert is_device(hints(plan)[part.parameter])


@PLANS
def test_devices_have_defaults(plan: Plan) -> None:
    for name, hint in hints(plan).items():
        if is_device(hint):
            default = inspect.signature(plan).parameters[name].default
            assert isinstance(default, AllDevices if get_origin(hint) is list else str)


@PLANS
def test_every_plan_says_in_its_first_line_what_it_does(plan: Plan) -> None:
    first, *_ = inspect.getdoc(plan).splitlines()  # type: ignore[union-attr]
    assert first.endswith((".", "."))
    assert len(first) > 10


@PLANS
def test_a_plan_is_a_generator_function(plan: Plan) -> None:
    assert inspect.isgeneratorfunction(plan)
