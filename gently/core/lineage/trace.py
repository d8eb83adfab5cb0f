"""A record's whole lineage as an outline: each record once, below what it came of."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter

from pydantic import JsonValue

from gently.core.lineage.values import Record


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of the outline.

    Attributes
    ----------
    record : Record
        What it is about.
    depth : int
        How far it is indented: 0 for a first origin.
    parents : tuple of str
        Uids of all that it came of directly and that this trace knows. It stands below the
        one that is deepest itself.
    """

    record: Record
    depth: int
    parents: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Where a record came from and what came of it.

    Attributes
    ----------
    uid : str
        The record that was asked about.
    steps : tuple of Step
        Its ancestors, itself and its descendants in the order of an outline: each
        one is below its origin, with one step more depth.
    """

    uid: str
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the trace as JSON values.

        The outline stays a flat list, so that a reader copes with any depth.
        """
        lines: list[JsonValue] = [
            {"depth": step.depth, "parents": list(step.parents), **step.record.to_json()}
            for step in self.steps
        ]
        return {"uid": self.uid, "lineage": lines}


def outline(uid: str, records: Iterable[Record], edges: Iterable[tuple[str, str]]) -> Trace:
    """Arrange records and their (parent, child) edges, which make no cycle, below each other."""
    known = {record.uid: record for record in records}
    parents: Mapping[str, list[str]] = {name: [] for name in known}
    for parent, child in edges:
        parents[child].append(parent)
    depth: dict[str, int] = {}
    for name in TopologicalSorter(parents).static_order():
        depth[name] = 1 + max((depth[parent] for parent in parents[name]), default=-1)
    below: defaultdict[str | None, list[str]] = defaultdict(list)
    for name in known:
        below[max(parents[name], key=depth.__getitem__, default=None)].append(name)
    steps = []
    ahead = below[None][::-1]
    while ahead:
        name = ahead.pop()
        steps.append(
            Step(record=known[name], depth=depth[name], parents=tuple(sorted(parents[name])))
        )
        ahead += reversed(below[name])
    return Trace(uid=uid, steps=tuple(steps))
