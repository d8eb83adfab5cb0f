"""Acquisitions in the words of useq-schema: what they come to here.

A stack is one volume, swept by the slice drive; positions are those of the stage and the focus
drive. No messages here.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import useq

__all__ = ["Stack", "Sweep", "has_fields", "names_of", "stacks", "sweep", "with_fields"]


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


def names_of(sequence: useq.MDASequence) -> list[str]:
    """Return what the positions are called: by their names, or else by their numbers."""
    return [position.name or f"p{p}" for p, position in enumerate(sequence.stage_positions)]


def has_fields(sequence: useq.MDASequence) -> bool:
    """Whether a grid, if there is one, says what a tile shows."""
    grid = sequence.grid_plan
    return grid is None or None not in (grid.fov_width, grid.fov_height)


def with_fields(sequence: useq.MDASequence, field_um: tuple[float, float]) -> useq.MDASequence:
    """Return a sequence of which a grid knows what a tile shows, if it does not say so itself.

    Parameters
    ----------
    sequence
        Of which useq takes a tile to be 1 µm wide and high otherwise.
    field_um
        Width and height of what one shows.
    """
    grid = sequence.grid_plan
    if grid is None or has_fields(sequence):
        return sequence
    given = {"fov_width": grid.fov_width, "fov_height": grid.fov_height}
    seen = zip(given, field_um, strict=True)
    fields = {name: um for name, um in seen if given[name] is None}
    return sequence.replace(grid_plan=grid.replace(**fields))


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
    names = names_of(sequence) or ["p0"]
    heights_um = [getattr(position, "z", None) for position in sequence.stage_positions]
    for _, events in itertools.groupby(sequence, key=_beside_z):
        event = next(iter(events))
        p, g = event.index.get("p", 0), event.index.get("g")
        place = names[p]
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
