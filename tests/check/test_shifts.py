"""By how much a picture has moved is measured, and noise is not taken for a motion."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import shift as shifted

from gently.check.shifts import shift_between, slices_between

RNG = np.random.default_rng(1)


def picture(size: int = 256) -> NDArray[np.float64]:
    """Return some blobs on an uneven background."""
    rows, columns = np.mgrid[:size, :size]
    found: NDArray[np.float64] = 500 + 2.0 * columns
    for row, column in RNG.uniform(0.3 * size, 0.7 * size, (5, 2)):
        found += 4000 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 60)
    return found


@pytest.mark.parametrize(("down", "right"), [(0, 0), (0, -12), (7, 0), (-9.5, 14.25)])
def test_what_has_moved_is_known_by_how_much_and_whither(down: float, right: float) -> None:
    before = picture()
    after = before + shifted(before - before.min(), (down, right), order=1) - before + before.min()
    noise = RNG.normal(0, 20, (2, *before.shape))
    found = shift_between((before + noise[0]).astype(np.uint16), (after + noise[1]).clip(0))
    assert (found.rows, found.columns) == pytest.approx((down, right), abs=0.2)
    assert found.likeness > 0.8


def test_a_large_picture_is_measured_in_its_own_pixels() -> None:
    before = np.kron(picture(), np.ones((4, 4)))
    found = shift_between(before, np.roll(before, (-20, 48), axis=(0, 1)))
    assert (found.rows, found.columns) == pytest.approx((-20, 48), abs=0.5)


def test_noise_is_not_alike_however_it_is_shifted() -> None:
    one, other = RNG.normal(1000, 30, (2, 256, 256))
    assert shift_between(one, other).likeness < 0.2


def test_a_volume_whose_middle_moved_shows_its_content_in_other_slices() -> None:
    world = RNG.normal(0, 1, (40, 64, 64)).cumsum(axis=0)
    still = RNG.normal(100, 20, (64, 64))  # what is the same in all slices says nothing
    first, second = world[10:26] + still, world[13:29] + still
    slices, likeness = slices_between(first, second)
    assert slices == pytest.approx(-3, abs=0.3)
    assert likeness > 0.8
    assert slices_between(second, first)[0] == pytest.approx(3, abs=0.3)
    empty = still + RNG.normal(0, 5, (2, 16, 64, 64))
    assert slices_between(*empty)[1] < 0.2
