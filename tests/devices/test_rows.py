"""Rows of volumes: how many the controller takes by itself, and in what order they are given."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from devices import ViewName
from devices.rows import one_after_another, rounds
from devices.slicing import Slice


@given(volumes=st.integers(1, 100_000), volume_s=st.floats(1e-3, 100))
def test_every_volume_is_taken_and_none_of_several_outlives_a_process_by_more_than_ten_seconds(
    volumes: int, volume_s: float
) -> None:
    found = rounds(volumes, volume_s)
    assert sum(found) == volumes
    assert all(one >= 1 for one in found)
    assert all(one == 1 or one * volume_s <= 10 for one in found)


@given(st.data())
def test_slices_are_given_one_volume_after_another_however_two_cameras_take_turns(
    data: st.DataObject,
) -> None:
    came: dict[ViewName, list[tuple[int, Slice]]] = {
        view: [
            (volume, Slice(view, index, np.zeros(1), 0.0, 0.0))
            for volume in range(3)
            for index in range(2)
        ]
        for view in ("a", "b")
    }
    turns: list[ViewName] = data.draw(st.permutations([*came] * 6))
    mixed = [came[view].pop(0) for view in turns]
    found = list(one_after_another(iter(mixed), 4))
    numbers = {id(one): volume for volume, one in mixed}
    assert [numbers[id(one)] for one in found] == [0] * 4 + [1] * 4 + [2] * 4
    for view in ("a", "b"):
        assert [one.index for one in found if one.view == view] == [0, 1] * 3
