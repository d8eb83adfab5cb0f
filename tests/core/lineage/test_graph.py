"""The graph does whatever is asked in any order, and stays a graph without cycles."""

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from gently.core.data_store import DataStore, LineageError, Record

Edges = defaultdict[str, set[str]]
KINDS = ("volume", "projection", "mask", "table")


class Lineage(RuleBasedStateMachine):
    """Does the same to a data store and to two plain tables of edges."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self._store = DataStore(Path(self._folder.name) / "lineage.sqlite")
        self._above: Edges = defaultdict(set)
        self._below: Edges = defaultdict(set)
        self._kinds: dict[str, str] = {}
        self._deleted: set[str] = set()

    def teardown(self) -> None:
        self._store.close()
        self._folder.cleanup()

    @rule(target=names, kind=st.sampled_from(KINDS))
    def begin(self, kind: str) -> str:
        name = f"n{len(self._kinds)}"
        self._store.add(kind, name)
        self._kinds[name] = kind
        return name

    @rule(
        target=names,
        kind=st.sampled_from(KINDS),
        parents=st.sets(names, min_size=1, max_size=3),
    )
    def derive(self, kind: str, parents: set[str]) -> str:
        name = f"n{len(self._kinds)}"
        self._store.derive(name, kind, sorted(parents))
        self._kinds[name] = kind
        for parent in parents:
            self._join(parent, name)
        return name

    @rule(child=names, parent=names)
    def link(self, child: str, parent: str) -> None:
        refused = child in self._deleted or child in within(self._above, parent) | {parent}
        try:
            self._store.add(self._kinds[child], child, parents=[parent])
        except LineageError:
            assert refused
        else:
            assert not refused
            self._join(parent, child)

    @rule(name=names)
    def delete(self, name: str) -> None:
        self._store.delete(name, "a test")
        self._deleted.add(name)

    @rule()
    def open_again(self) -> None:
        self._store.close()
        self._store = DataStore(Path(self._folder.name) / "lineage.sqlite")

    @rule(name=names, depth=st.integers(1, 4), kinds=st.sets(st.sampled_from(KINDS)))
    def ask(self, name: str, depth: int, kinds: set[str]) -> None:
        for ask, model in (
            (self._store.descendants, self._below),
            (self._store.ancestors, self._above),
        ):
            assert names_of(ask(name, depth=depth)) == within(model, name, depth)
            found = names_of(ask(name, kinds=kinds))
            assert found == {n for n in within(model, name) if self._kinds[n] in kinds}

    @rule(name=names)
    def trace(self, name: str) -> None:
        above, below = within(self._above, name), within(self._below, name)
        trace = self._store.trace(name)
        order = [step.record.uid for step in trace.steps]
        assert len(order) == len(set(order))
        assert set(order) == above | below | {name}
        over = [""] * len(order)
        for step in trace.steps:
            uid = step.record.uid
            known = self._above[uid] & (above | below | {name})
            # Above a descendant only what leads there from the record that was asked about.
            known -= set() if uid in above | {name} else above
            assert set(step.parents) == known
            over[step.depth] = uid
            assert (over[step.depth - 1] in known) if step.depth else not known

    @invariant()
    def both_directions_agree_and_nothing_came_of_itself(self) -> None:
        for name in self._kinds:
            below = names_of(self._store.descendants(name))
            assert below == within(self._below, name)
            assert name not in below
            assert names_of(self._store.children(name)) == self._below[name]

    @invariant()
    def what_is_deleted_is_marked_and_only_left_out_of_lists(self) -> None:
        assert names_of(self._store.find()) == self._kinds.keys() - self._deleted
        for name in self._kinds:
            assert (self._store.record(name).deleted is not None) == (name in self._deleted)

    def _join(self, parent: str, child: str) -> None:
        self._above[child].add(parent)
        self._below[parent].add(child)


def within(edges: Edges, name: str, depth: int | None = None) -> set[str]:
    found: set[str] = set()
    edge = {name}
    while edge and depth != 0:
        edge = {there for here in edge for there in edges[here]} - found
        found |= edge
        depth = None if depth is None else depth - 1
    return found


def names_of(records: list[Record]) -> set[str]:
    names = [record.uid for record in records]
    assert len(names) == len(set(names))
    return set(names)


TestLineage = Lineage.TestCase
TestLineage.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_a_ladder_of_a_hundred_diamonds_is_walked_once_and_not_by_every_path(
    tmp_path: Path,
) -> None:
    with DataStore(tmp_path / "lineage.sqlite") as store:
        store.add("volume", "n0")
        for i in range(100):
            for side in ("left", "right"):
                store.derive(f"{side}{i}", "mask", [f"n{i}"])
            store.derive(f"n{i + 1}", "table", [f"left{i}", f"right{i}"])
        assert len(store.descendants("n0")) == len(store.ancestors("n100")) == 300
        assert len(store.descendants("n0", depth=150)) == 225
        assert len(store.trace("n50").steps) == 301


def test_a_depth_of_nothing_is_refused(tmp_path: Path) -> None:
    with DataStore(tmp_path / "lineage.sqlite") as store:
        store.add("volume", "a")
        with pytest.raises(ValueError, match="depth: 0 reaches nothing"):
            store.ancestors("a", depth=0)
