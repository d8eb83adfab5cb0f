import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image

from gently.visualization.contrast import HISTOGRAM_BINS, Window, encode_png, statistics, to_8bit
from tests.visualization.specimen import embryo


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_window_maps_low_to_black_and_high_to_white_and_the_middle_to_grey(
    dtype: type[Any],
) -> None:
    counts = np.array([[0, 50, 100, 150, 200]], dtype)

    grey = to_8bit(counts, Window(50, 150))

    assert grey.tolist() == [[0, 0, 128, 255, 255]]


def test_pixels_that_are_no_number_are_black() -> None:
    counts = np.array([[np.nan, np.inf, -np.inf]], np.float32)

    assert to_8bit(counts, Window(0, 1)).tolist() == [[0, 255, 0]]


@given(
    hnp.arrays(np.uint16, (3, 4)),
    st.floats(-1e5, 1e5),
    st.floats(0.5, 1e5),
)
def test_whole_counts_are_drawn_as_the_same_counts_in_floating_point(
    counts: NDArray[np.uint16], low: float, width: float
) -> None:
    window = Window(low, low + width)

    np.testing.assert_array_equal(
        to_8bit(counts, window), to_8bit(counts.astype(np.float32), window)
    )


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_a_png_holds_exactly_the_image(image: NDArray[np.uint8]) -> None:
    decoded = Image.open(io.BytesIO(encode_png(image)))

    assert decoded.mode == "L"
    np.testing.assert_array_equal(np.asarray(decoded), image)


def test_the_automatic_window_spans_the_specimen_and_spares_the_noise() -> None:
    volume = embryo((12, 200, 200))

    window = statistics(volume).window

    assert 80 < window.low < 110  # the camera's offset is 100
    assert window.low + 300 < window.high <= volume.max()


def test_one_hot_pixel_does_not_darken_the_picture() -> None:
    volume = embryo((12, 200, 200))
    window = statistics(volume).window
    volume[6, :2, 100] = 65535

    assert statistics(volume).window.high < 1.5 * window.high


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_an_even_volume_still_gets_a_window_that_can_be_drawn(dtype: type[Any]) -> None:
    found = statistics(np.full((2, 3, 4), 7, dtype))

    assert (found.minimum, found.maximum) == (7, 7)
    assert found.window == Window(7, 8)
    assert sum(found.counts) == found.sampled == 24


def test_a_volume_without_any_number_gets_a_window_as_well() -> None:
    found = statistics(np.full((2, 3, 4), np.nan, np.float32))

    assert found.window.low < found.window.high
    assert found.sampled == 0


def test_the_sample_of_a_large_volume_is_bounded_and_spread_over_its_slices() -> None:
    volume = np.broadcast_to(np.arange(100, dtype=np.uint16)[:, None, None], (100, 1024, 1024))

    found = statistics(volume)

    assert found.sampled <= 16 * 2**16
    assert (found.minimum, found.maximum) == (0, 99)
    assert len(found.counts) <= HISTOGRAM_BINS
