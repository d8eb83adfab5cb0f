"""Sequences of useq-schema as they are asked for: what cannot be done is refused by its name."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, get_args

import useq
from pydantic import BaseModel, PlainValidator, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from plans.parameters import LaserLine
from plans.sequence import names_of

__all__ = ["Sequence"]

_EVEN_UM: Final = 1e-6
_LINES: Final = get_args(LaserLine)
_AXES: Final = {
    "time_plan": "t",
    "stage_positions": "p",
    "grid_plan": "g",
    "channels": "c",
    "z_plan": "z",
}
_KNOWN: Final = {"axis_order", "metadata", *_AXES}
_NOWHERE: Final = useq.AbsolutePosition()


def _parsed(given: Any) -> useq.MDASequence:
    """Return a sequence that can be done here.

    Raises
    ------
    ValueError
        Names all that cannot.
    """
    if isinstance(given, useq.MDASequence):
        sequence = given
    elif isinstance(given, Mapping):
        _refuse_places_that_a_grid_overrules(given)
        sequence = _read(given)
        if unknown := list(_unknown("", given, sequence)):
            raise ValueError("; ".join(unknown))
    else:
        raise ValueError("has to be an MDASequence of useq-schema, as an object")  # noqa: TRY004
    checks = (_unsupported, _left_out, _unsupported_channels, _misplaced, _uneven)
    if problems := [problem for check in checks for problem in check(sequence)]:
        raise ValueError("; ".join(problems))
    return sequence


Sequence = Annotated[
    useq.MDASequence,
    PlainValidator(_parsed),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {name: {} for name in sorted(_KNOWN)},
            "additionalProperties": False,
        }
    ),
]
"""An ``useq.MDASequence``, or the same as plain values."""


def _read(given: Mapping[str, Any]) -> useq.MDASequence:
    try:
        return useq.MDASequence.model_validate(given)
    except ValidationError as error:
        raise ValueError("; ".join(_problem(one) for one in error.errors())) from None


def _problem(found: ErrorDetails) -> str:
    name = ".".join(map(str, found["loc"])) or "the sequence"
    return f"{name}: {found['msg'].removeprefix('Value error, ')}"


def _unknown(name: str, given: Any, found: Any) -> Iterator[str]:
    """Yield the names that useq passes over."""
    if name == "grid_plan" and isinstance(found, useq.RelativePosition):  # so useq reads any other
        yield "grid_plan: has to say rows and columns, width and height, or edges"
    elif isinstance(given, Mapping) and isinstance(found, BaseModel):
        for key, value in given.items():
            if key in type(found).model_fields:
                yield from _unknown(f"{name}.{key}".lstrip("."), value, getattr(found, key))
            else:
                what = f"{name}.{key}".lstrip(".")
                yield f"{what}: there is no such part of {type(found).__name__}"
    elif isinstance(given, list | tuple) and isinstance(found, list | tuple):
        for index, pair in enumerate(zip(given, found, strict=True)):
            yield from _unknown(f"{name}.{index}", *pair)


def _refuse_places_that_a_grid_overrules(given: Mapping[str, Any]) -> None:
    """Refuse what useq leaves out, of which no client would hear."""
    grid = _read({"grid_plan": given.get("grid_plan")}).grid_plan
    if grid is None or grid.is_relative:
        return
    places = _read({"stage_positions": given.get("stage_positions") or ()}).stage_positions
    for index, place in enumerate(places):
        if place.x is not None or place.y is not None:
            raise ValueError(
                f"stage_positions.{index}: the grid_plan says where its tiles are, and overrules "
                "x and y; leave these out, or ask for a grid around positions (rows and columns)"
            )


def _said(sequence: useq.MDASequence) -> set[str]:
    """Return the names of the parts that a sequence has."""
    names = sequence.model_fields_set
    return {name for name in names if getattr(sequence, name) not in (None, (), {})}


def _unsupported(sequence: useq.MDASequence) -> Iterator[str]:
    for name in sorted(_said(sequence) - _KNOWN - {"keep_shutter_open_across"}):
        yield f"{name}: is not supported; leave it out"
    if sequence.keep_shutter_open_across:
        yield "keep_shutter_open_across: light is on only while frames are taken; leave it out"
    for index, position in enumerate(sequence.stage_positions):
        if position.sequence is not None:
            yield (
                f"stage_positions.{index}.sequence: is not supported; give the positions themselves"
            )


def _left_out(sequence: useq.MDASequence) -> Iterator[str]:
    """Yield what is asked for, and would not be done."""
    for name, axis in _AXES.items():
        if name in _said(sequence) and axis not in _order(sequence):
            yield f"axis_order: has no {axis} for {name}; name it, or leave {name} out"


def _unsupported_channels(sequence: useq.MDASequence) -> Iterator[str]:
    for index, channel in enumerate(sequence.channels):
        if channel.config not in _LINES:
            yield f"channels.{index}.config: a channel is a laser line: {', '.join(_LINES)}"
        if not channel.do_stack:
            yield f"channels.{index}.do_stack: every channel has all slices; leave it out"
        if channel.z_offset:
            yield f"channels.{index}.z_offset: every channel has the same slices; leave it out"


def _misplaced(sequence: useq.MDASequence) -> Iterator[str]:
    """Yield why nobody could say where volumes are, tell them apart, or go on with them later."""
    grid, places = sequence.grid_plan, sequence.stage_positions
    if isinstance(grid, useq.RandomPoints) and grid.random_seed is None:
        yield "grid_plan.random_seed: say one, or there would be other places each time"
    if grid and grid.is_relative and not all(None not in (p.x, p.y) for p in places or [_NOWHERE]):
        yield "grid_plan: lies around positions; say with stage_positions around which x and y"
    names = names_of(sequence)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        yield f"stage_positions: two are called {twice[0]}; their volumes could not be told apart"


def _uneven(sequence: useq.MDASequence) -> Iterator[str]:
    if sequence.z_plan is None:
        return
    if (order := _order(sequence)) and order[-1] != "z":
        yield "axis_order: z has to come last, since a stack is one volume"
    places_um = [float(z) for z in sequence.z_plan]
    steps_um = [later - sooner for sooner, later in itertools.pairwise(places_um)]
    if any(step <= 0 for step in steps_um):
        yield "z_plan: slices are taken from the lowest to the highest (go_up)"
    elif steps_um and max(steps_um) - min(steps_um) > _EVEN_UM:
        yield "z_plan: slices have to lie at equal distances"


def _order(sequence: useq.MDASequence) -> list[str]:
    return [str(getattr(axis, "value", axis)) for axis in sequence.axis_order]
