"""Acquisitions in the words of useq-schema: what of them can be done here, and what that comes to.

A stack is one volume, swept by the slice drive; positions are those of the stage and the focus
drive. No messages here.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, get_args

import useq
from pydantic import BaseModel, PlainValidator, WithJsonSchema

from plans.parameters import LaserLine

__all__ = ["Sequence", "Stack", "Sweep", "stacks", "sweep"]

_EVEN_UM: Final = 1e-6
_LINES: Final = get_args(LaserLine)
_KNOWN: Final = {
    "axis_order",
    "channels",
    "grid_plan",
    "metadata",
    "stage_positions",
    "time_plan",
    "z_plan",
}


@dataclass(frozen=True)
class Stack:
    """One volume of a sequence.

    Parameters
    ----------
    place
        By what it is found besides its time point: the position's name or number, and the tile's.
    time_point
        Its number.
    min_start_s, restarts_clock
        Not to be begun before so many seconds, since the sequence or the last stack that restarts
        the clock has begun.
    x_um, y_um, z_um
        Where the stage and the focus drive go; None leaves them where they are.
    line
        Of the laser; empty for the first of the instrument.
    exposure_ms
        None takes the plan's.
    """

    place: str
    time_point: int
    min_start_s: float
    restarts_clock: bool
    x_um: float | None
    y_um: float | None
    z_um: float | None
    line: str
    exposure_ms: float | None


@dataclass(frozen=True)
class Sweep:
    """The slices of every stack.

    Parameters
    ----------
    num_slices, step_um
        How many, and how far apart.
    offset_um
        Their middle, from where the sweep is to be; or on the slice drive itself.
    is_relative
        Which of the two.
    """

    num_slices: int = 1
    step_um: float = 0.0
    offset_um: float = 0.0
    is_relative: bool = True


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
        if unknown := sorted(given.keys() - useq.MDASequence.model_fields.keys()):
            raise ValueError(f"{', '.join(unknown)}: there is no such part of an MDASequence")
        sequence = useq.MDASequence.model_validate(given)
    else:
        raise ValueError("has to be an MDASequence of useq-schema, as an object")  # noqa: TRY004
    if problems := list(_unsupported(sequence)):
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


def _unsupported(sequence: useq.MDASequence) -> Iterator[str]:
    """Yield what a sequence asks for and cannot be done, by name, with the remedy."""
    said = {
        name for name in sequence.model_fields_set if getattr(sequence, name) not in (None, (), {})
    }
    for name in sorted(said - _KNOWN - {"keep_shutter_open_across"}):
        yield f"{name}: is not supported; leave it out"
    if sequence.keep_shutter_open_across:
        yield "keep_shutter_open_across: light is on only while frames are taken; leave it out"
    for index, channel in enumerate(sequence.channels):
        yield from _unsupported_of(f"channels.{index}", channel)
    if sequence.z_plan is not None:
        yield from _uneven(sequence)
    for index, position in enumerate(sequence.stage_positions):
        if isinstance(position, BaseModel) and getattr(position, "sequence", None) is not None:
            yield (
                f"stage_positions.{index}.sequence: is not supported; give the positions themselves"
            )


def _unsupported_of(name: str, channel: useq.Channel) -> Iterator[str]:
    if channel.config not in _LINES:
        yield f"{name}.config: a channel is a laser line: {', '.join(_LINES)}"
    if not channel.do_stack:
        yield f"{name}.do_stack: every channel has all slices; leave it out"
    if channel.z_offset:
        yield f"{name}.z_offset: every channel has the same slices; leave it out"


def _uneven(sequence: useq.MDASequence) -> Iterator[str]:
    used = [str(getattr(axis, "value", axis)) for axis in sequence.axis_order]
    if used and used[-1] != "z":
        yield "axis_order: z has to come last, since a stack is one volume"
    places_um = [float(z) for z in sequence.z_plan or ()]
    steps_um = [later - sooner for sooner, later in itertools.pairwise(places_um)]
    if any(step <= 0 for step in steps_um):
        yield "z_plan: slices are taken from the lowest to the highest (go_up)"
    elif steps_um and max(steps_um) - min(steps_um) > _EVEN_UM:
        yield "z_plan: slices have to lie at equal distances"


def sweep(sequence: useq.MDASequence) -> Sweep:
    """Return the slices of every stack of a sequence."""
    if sequence.z_plan is None:
        return Sweep()
    places_um = [float(z) for z in sequence.z_plan]
    step_um = (places_um[-1] - places_um[0]) / max(1, len(places_um) - 1)
    middle_um = math.fsum((places_um[0], places_um[-1])) / 2
    return Sweep(len(places_um), step_um, middle_um, sequence.z_plan.is_relative)


def stacks(sequence: useq.MDASequence) -> Iterator[Stack]:
    """Return the stacks of a sequence in their order, one after the other."""
    names = [getattr(position, "name", None) for position in sequence.stage_positions]
    heights_um = [getattr(position, "z", None) for position in sequence.stage_positions]
    for _, events in itertools.groupby(sequence, key=_beside_z):
        event = next(iter(events))
        p, g = event.index.get("p", 0), event.index.get("g")
        place = (names[p] if names else None) or f"p{p}"
        yield Stack(
            place if g is None else f"{place} g{g}",
            event.index.get("t", 0),
            event.min_start_time or 0.0,
            event.reset_event_timer,
            event.x_pos,
            event.y_pos,
            heights_um[p] if heights_um else None,
            event.channel.config if event.channel else "",
            event.exposure,
        )


def _beside_z(event: useq.MDAEvent) -> tuple[tuple[str, int], ...]:
    return tuple((axis, index) for axis, index in event.index.items() if axis != "z")
