"""Coarse levels: every pixel is the mean of what it covers, whatever the part asked for."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from storage import Level, levels, mean
from tests.storage.helpers import make_pixels, make_spec


def plainly(pixels: NDArray[Any], level: Level) -> NDArray[Any]:
    """Return a whole level, pixel by pixel, from the definition."""
    means = np.empty(level.shape, np.float64)
    for place in np.ndindex(level.shape):
        covered = tuple(
            slice(n * f, (n + 1) * f) for n, f in zip(place, level.factors, strict=True)
        )
        means[place] = pixels[covered].mean(dtype=np.float64)
    whole = pixels.dtype.kind == "u"
    return (np.floor(means + 0.5) if whole else means).astype(pixels.dtype)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 40)),
    factors=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    data=st.data(),
)
def test_any_part_of_any_level_is_the_mean_of_what_it_covers(
    shape: tuple[int, int, int],
    factors: tuple[int, int, int],
    dtype: str,
    data: st.DataObject,
) -> None:
    pixels = make_pixels(make_spec(shape=shape, dtype=dtype))
    depth, height, width = (-(-n // f) for n, f in zip(shape, factors, strict=True))
    level = Level(factors, (depth, height, width))
    rows, columns = (
        slice(start, data.draw(st.integers(start + 1, extent)))
        for extent in (height, width)
        for start in [data.draw(st.integers(0, extent - 1))]
    )
    z = data.draw(st.integers(0, depth - 1))

    part = mean(pixels, level, rows, columns, z)

    assert part.dtype == pixels.dtype
    np.testing.assert_allclose(part, plainly(pixels, level)[z, rows, columns], rtol=1e-6)


@pytest.mark.parametrize("factor", [256, 512])
def test_the_brightest_pixels_do_not_overflow(factor: int) -> None:
    pixels = np.full((2, factor, factor), 65535, np.uint16)
    level = Level((2, factor, factor), (1, 1, 1))
    assert mean(pixels, level, slice(0, 1), slice(0, 1), 0).tolist() == [[65535]]


def test_a_part_that_is_no_number_stays_none() -> None:
    pixels = np.array([[[np.inf, -np.inf, 1.0, 3.0]]], np.float32)
    part = mean(pixels, Level((1, 1, 2), (1, 1, 2)), slice(0, 1), slice(0, 2), 0)
    np.testing.assert_array_equal(part, [[np.nan, 2.0]])


def test_a_large_part_is_worked_on_in_bands_that_fit_together() -> None:
    pixels = make_pixels(make_spec(shape=(1, 1500, 700)))
    level = Level((1, 2, 2), (1, 750, 350))
    whole = mean(pixels, level, slice(0, 750), slice(0, 350), 0)
    expected = pixels[0].reshape(750, 2, 350, 2).mean(axis=(1, 3), dtype=np.float64)
    np.testing.assert_array_equal(whole, np.floor(expected + 0.5))


def test_each_level_halves_the_plane_until_it_is_seen_whole() -> None:
    spec = make_spec(shape=(10, 2048, 1500), pixel_size_um=1, step_um=100)
    assert [level.shape for level in levels(spec)] == [
        (10, 2048, 1500),
        (10, 1024, 750),
        (10, 512, 375),
        (10, 256, 188),
    ]


def test_slices_are_merged_once_they_lie_closer_than_pixels() -> None:
    spec = make_spec(shape=(10, 2048, 2048), pixel_size_um=0.1625, step_um=0.5)
    assert [level.factors for level in levels(spec)] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]


@pytest.mark.parametrize(("slices", "step_um"), [(10, 0), (1, 0.01)])
def test_slices_that_nothing_separates_are_never_merged(slices: int, step_um: float) -> None:
    spec = make_spec(shape=(slices, 4096, 4096), step_um=step_um)
    assert {level.shape[0] for level in levels(spec)} == {slices}


def test_a_small_volume_has_one_level() -> None:
    assert levels(make_spec(shape=(500, 256, 256))) == (Level((1, 1, 1), (500, 256, 256)),)
