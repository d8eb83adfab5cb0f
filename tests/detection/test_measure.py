"""Scores and measures, on discs whose truth is exact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gently.detection import Picture
from gently.detection.measure import describe, outline_scores, score

ROWS, COLUMNS = np.indices((120, 140))


def disc(radius: float, row: float = 60, column: float = 70) -> NDArray[np.uint16]:
    return ((ROWS - row) ** 2 + (COLUMNS - column) ** 2 <= radius**2).astype(np.uint16)


def noisy(contrast: float, noise: float, seed: int = 0) -> NDArray[np.float64]:
    return (
        500 + contrast * (disc(30) > 0) + np.random.default_rng(seed).normal(0, noise, ROWS.shape)
    )


def test_an_object_that_is_brighter_everywhere_scores_1() -> None:
    assert score(noisy(100, 1), disc(30), 1) == 1


def test_an_outline_around_nothing_scores_about_0() -> None:
    assert score(noisy(0, 10), disc(30), 1) < 0.05


def test_a_dark_object_scores_0() -> None:
    assert score(noisy(-100, 1), disc(30), 1) == 0


def test_the_right_outline_scores_best() -> None:
    pixels = noisy(100, 40)
    scores = {radius: score(pixels, disc(radius), 1) for radius in (22, 26, 30, 34, 38)}
    assert max(scores, key=lambda radius: scores[radius]) == 30


def test_an_outline_beside_the_object_scores_less() -> None:
    pixels = noisy(100, 40)
    assert score(pixels, disc(30, column=80), 1) < score(pixels, disc(30), 1) - 0.1


@settings(max_examples=20)
@given(offset=st.floats(-1e4, 1e4), gain=st.floats(0.01, 100))
def test_offset_and_gain_of_the_camera_do_not_matter(offset: float, gain: float) -> None:
    pixels = noisy(50, 40)
    assert score(offset + gain * pixels, disc(30), 1) == pytest.approx(
        score(pixels, disc(30), 1), abs=0.01
    )


def test_a_slope_of_the_background_does_not_matter() -> None:
    pixels = noisy(50, 20)
    sloping = pixels + 5 * COLUMNS - 3 * ROWS
    assert score(sloping, disc(30), 1) == pytest.approx(score(pixels, disc(30), 1), abs=0.02)


def test_other_objects_are_no_background() -> None:
    labels = disc(20) + 2 * disc(15, row=100, column=30)
    pixels = noisy(0, 1) + 100 * (labels > 0)
    assert score(pixels, labels, 1) == score(pixels, labels, 2) == 1


def test_without_anything_around_it_nothing_is_known_of_an_object() -> None:
    assert score(noisy(100, 1), np.ones(ROWS.shape, np.uint16), 1) == 0


def test_each_outline_of_an_object_has_a_score() -> None:
    picture = Picture(pixels=noisy(100, 40), pixel_size_um=1)
    scores = outline_scores(picture, {"good": disc(30), "wide": disc(40), "none": 0 * disc(30)})
    assert scores.keys() == {1}
    assert scores[1].keys() == {"good", "wide"}
    assert scores[1]["good"] > scores[1]["wide"]


def test_a_disc_is_measured_as_what_it_is() -> None:
    picture = Picture(pixels=noisy(100, 1), pixel_size_um=0.5, centre_um=(10, 20))
    labels = disc(30)
    (found,) = describe(picture, labels, {1: "mine"}, {1: {"mine": 0.95}}, {1: 0.8})
    assert (found.row_px, found.column_px) == (60, 70)
    assert (found.x_um, found.y_um) == (10 + 0.25, 20 - 0.25)
    assert found.box_px == (30, 40, 91, 101)
    assert found.area_um2 == pytest.approx(np.pi * 15**2, rel=0.01)
    assert found.length_um == pytest.approx(30, rel=0.01)
    assert found.width_um == pytest.approx(30, rel=0.01)
    assert found.solidity > 0.95
    assert (found.score, found.model_score, found.certain) == (0.95, 0.8, True)


def test_what_is_not_told_well_from_its_surroundings_is_uncertain() -> None:
    picture = Picture(pixels=noisy(100, 1), pixel_size_um=0.5)
    (found,) = describe(picture, disc(30), {1: "mine"}, {1: {"mine": 0.89}})
    assert not found.certain
