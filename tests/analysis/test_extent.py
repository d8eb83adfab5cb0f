"""How full a picture is: through an oval a hill around its middle, wherever its nuclei lie."""

import numpy as np
import pytest

from gently.analysis import extent, fit_focus

PLACES = tuple(float(z) for z in range(-24, 25, 3))


@pytest.mark.parametrize("middle_um", [-3.4, 0.0, 5.2])
def test_the_middle_of_an_oval_is_found_although_all_its_nuclei_lie_on_one_side(
    middle_um: float,
) -> None:
    random = np.random.default_rng(1)
    y, x = np.mgrid[-30:30:0.5, -30:30:0.5]
    halves = []
    for z in PLACES:
        inside = (x / 25) ** 2 + (y / 15) ** 2 + ((z - middle_um) / 15) ** 2 < 1
        picture = np.where(inside, 260.0, 105.0)
        if 2 <= z - middle_um <= 8:
            picture += 2000 * ((x % 12 < 4) & (y % 12 < 4) & inside)
        picture += random.normal(0, 6, picture.shape)
        halves.append((extent(picture[:60]), extent(picture[60:])))
    found = fit_focus(PLACES, halves)
    assert found.quality == "good"
    assert found.best_um == pytest.approx(middle_um, abs=1)
