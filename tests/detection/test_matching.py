import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gently.detection import match

places = st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))


def test_embryo_3_stays_embryo_3_wherever_it_is_in_the_list() -> None:
    known = {"embryo 1": (0.0, 0.0), "embryo 2": (60.0, 0.0), "embryo 3": (0.0, 60.0)}
    found = {1: (2.0, 61.0), 2: (1.0, -1.0), 3: (58.0, 3.0)}
    matches = match(known, found)
    assert matches.names == {1: "embryo 3", 2: "embryo 1", 3: "embryo 2"}
    assert not matches.new
    assert not matches.absent


def test_what_is_too_far_away_is_new_and_what_is_gone_is_absent() -> None:
    matches = match({"a": (0.0, 0.0), "b": (500.0, 0.0)}, {1: (0.0, 19.0), 2: (0.0, 300.0)})
    assert matches.names == {1: "a"}
    assert matches.new == (2,)
    assert matches.absent == ("b",)


def test_the_nearest_in_all_counts_not_the_first_to_come() -> None:
    # Found 1 is a little nearer to b; but then a would have nothing.
    matches = match({"a": (0.0, 0.0), "b": (18.0, 0.0)}, {1: (10.0, 0.0), 2: (30.0, 0.0)})
    assert matches.names == {1: "a", 2: "b"}


def test_the_gate_can_be_set() -> None:
    assert match({"a": (0.0, 0.0)}, {1: (30.0, 0.0)}).new == (1,)
    assert match({"a": (0.0, 0.0)}, {1: (30.0, 0.0)}, gate_um=40).names == {1: "a"}


@pytest.mark.parametrize(("known", "found"), [({}, {}), ({}, {1: (0, 0)}), ({"a": (0, 0)}, {})])
def test_nothing_matches_nothing(
    known: dict[str, tuple[float, float]], found: dict[int, tuple[float, float]]
) -> None:
    matches = match(known, found)
    assert matches.names == {}
    assert matches.new == tuple(found)
    assert matches.absent == tuple(known)


@given(known=st.lists(places, max_size=8), found=st.lists(places, max_size=8))
def test_everybody_is_accounted_for_once(
    known: list[tuple[float, float]], found: list[tuple[float, float]]
) -> None:
    names = {f"embryo {n}": place for n, place in enumerate(known)}
    labels = dict(enumerate(found, start=1))
    matches = match(names, labels, gate_um=1000)
    assert sorted([*matches.names, *matches.new]) == sorted(labels)
    assert sorted([*matches.names.values(), *matches.absent]) == sorted(names)
    for label, name in matches.names.items():
        assert np.hypot(*np.subtract(labels[label], names[name])) <= 1000


@given(st.lists(places, max_size=8, unique=True), st.randoms())
def test_a_second_look_at_the_same_objects_names_them_the_same(
    found: list[tuple[float, float]], random: object
) -> None:
    known = {str(place): place for place in found}
    shuffled = sorted(found, key=lambda _: random.random())  # type: ignore[attr-defined]
    matches = match(known, dict(enumerate(shuffled, start=1)))
    apart = {name: known[name] for name in matches.names.values()}
    assert len(apart) == len(found)
    moved = [np.hypot(*np.subtract(shuffled[n - 1], known[m])) for n, m in matches.names.items()]
    assert sum(moved) == pytest.approx(0, abs=1e-6)
