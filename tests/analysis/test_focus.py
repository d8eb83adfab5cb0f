"""Sharpness and its fit, on pictures of which the truth is known."""

from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from gently.analysis import FocusFit, Metric, fit_focus, sharpness

METRICS: tuple[Metric, ...] = get_args(Metric)
COARSE = tuple(float(z) for z in range(-15, 16, 5))
FINE = tuple(z / 2 for z in range(-6, 7))


def scene(seed: int = 1) -> NDArray[Any]:
    """Return nuclei-like blobs, without noise."""
    random = np.random.default_rng(seed)
    picture = np.zeros((256, 256))
    picture[tuple(random.integers(20, 236, (2, 40)))] = 60_000
    blurred: NDArray[Any] = ndimage.gaussian_filter(picture, 4)
    return blurred


def taken(best_um: float, places_um: tuple[float, ...], *, empty: bool = False) -> list[Any]:
    """Return noisy pictures, blurred by how far each is out of focus."""
    random = np.random.default_rng(3)
    sharp = np.zeros((256, 256)) if empty else scene()
    pictures = []
    for z in places_um:
        blurred = ndimage.gaussian_filter(sharp, 0.01 + abs(z - best_um) * 1.2)
        pictures.append(random.poisson(blurred + 100) + random.normal(0, 2, sharp.shape))
    return pictures


def fitted(pictures: list[Any], places_um: tuple[float, ...], metric: Metric) -> FocusFit:
    halves = [(sharpness(p[:128], metric), sharpness(p[128:], metric)) for p in pictures]
    return fit_focus(places_um, halves)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("best_um", [-1.3, 0.2, 1.6])
def test_the_sharpest_place_is_found_within_half_a_micrometre(
    metric: Metric, best_um: float
) -> None:
    found = fitted(taken(best_um, FINE), FINE, metric)
    assert found.quality == "good", found
    assert found.best_um == pytest.approx(best_um, abs=0.5)


def test_a_coarse_sweep_comes_near_enough_for_a_fine_one() -> None:
    found = fitted(taken(6.0, COARSE), COARSE, "vollath_f4")
    assert found.best_um == pytest.approx(6.0, abs=3)


@pytest.mark.parametrize("metric", METRICS)
def test_an_empty_field_is_refused(metric: Metric) -> None:
    for places_um in (COARSE, FINE):
        found = fitted(taken(0, places_um, empty=True), places_um, metric)
        assert (found.quality, found.best_um) == ("refused", None)
        assert "field" in found.reason


def test_chance_alone_is_hardly_ever_believed() -> None:
    random = np.random.default_rng(5)
    curves = [[(float(a), float(b)) for a, b in random.normal(size=(13, 2))] for _ in range(300)]
    assert sum(fit_focus(FINE, curve).best_um is not None for curve in curves) <= 3


def test_a_place_outside_of_the_sweep_is_refused_with_the_remedy() -> None:
    found = fitted(taken(8.0, FINE), FINE, "vollath_f4")
    assert found.quality == "refused"
    assert "widen it" in found.reason


def test_a_curve_that_is_no_bell_is_refused() -> None:
    jagged = [(float(n % 2), float(n % 2)) for n in range(13)]
    assert fit_focus(FINE, jagged).quality == "refused"


def test_too_few_places_are_no_sweep() -> None:
    assert "5 places or more" in fit_focus([0, 1, 2], [(1, 1)] * 3).reason
