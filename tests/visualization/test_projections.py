import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gently.visualization.projections import project

VOLUMES = hnp.arrays(
    st.sampled_from([np.uint8, np.uint16, np.float32]),
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=7),
    elements={"allow_nan": False},
)


@given(VOLUMES)
def test_each_projection_is_the_maximum_along_the_axis_that_it_leaves_out(
    volume: Any,
) -> None:
    projections = project(volume.shape, volume)

    np.testing.assert_array_equal(projections.onto("xy"), volume.max(axis=0))
    np.testing.assert_array_equal(projections.onto("xz"), volume.max(axis=1))
    np.testing.assert_array_equal(projections.onto("yz"), volume.max(axis=2).T)
    assert {p.dtype for p in (projections.xy, projections.xz, projections.yz)} == {volume.dtype}


def test_the_planes_line_up_with_each_other() -> None:
    volume = np.zeros((5, 6, 7), np.uint16)
    volume[1, 2, 3] = 9

    projections = project(volume.shape, volume)

    assert np.argwhere(projections.xy).tolist() == [[2, 3]]
    assert np.argwhere(projections.xz).tolist() == [[1, 3]]
    assert np.argwhere(projections.yz).tolist() == [[2, 1]]


def test_the_volume_is_left_as_it_was() -> None:
    volume = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    before = volume.copy()

    project(volume.shape, volume)

    np.testing.assert_array_equal(volume, before)


@pytest.mark.parametrize("slices", [4, 64])
def test_memory_does_not_grow_with_the_number_of_slices(slices: int) -> None:
    volume = np.zeros((slices, 256, 256), np.uint16)
    tracemalloc.start()

    project(volume.shape, volume)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * volume[0].nbytes
