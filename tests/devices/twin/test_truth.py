"""Label images are where the pictures are."""

import numpy as np
import pytest

from devices.twin import Phantom, SheetGeometry, Side, labels_from_below, labels_in_sheet
from devices.twin.bright_field import BRIGHT_PIXEL_UM, BrightField
from devices.twin.optics import LightSheet, Sight, Window
from tests.devices.twin.rig import SEED

EMBRYOS = Phantom(SEED).embryos
EVEN = SheetGeometry(100, 0, 0, 0, 1e6)


@pytest.mark.parametrize("side", ["A", "B"])
@pytest.mark.parametrize("depth_um", [-8.0, 0.0, 5.0])
def test_what_is_labelled_in_a_sheet_is_what_shines(side: Side, depth_um: float) -> None:
    window = Window(100, 60, 300, 400, 512)
    x, y, z = EMBRYOS[0].centre_um
    sight = Sight(x + 3, y - 2, z + 1, depth_um, depth_um)
    picture = LightSheet(Phantom(SEED), side, EVEN).look(sight, 10, window)
    labels = labels_in_sheet(EMBRYOS, side, sight, window)
    shines = picture > 160
    assert set(np.unique(labels)) == {0, 1}
    both = np.logical_and(labels == 1, shines).sum()
    assert both / np.logical_or(labels == 1, shines).sum() > 0.95


def test_from_below_an_embryo_is_dark_where_it_is_labelled_and_where_the_stage_says() -> None:
    size = 1024
    x_um, y_um = 40.0, -25.0
    picture = BrightField(Phantom(SEED), size).look(x_um, y_um, 100)
    labels = labels_from_below(EMBRYOS, x_um, y_um, size)
    assert set(np.unique(labels)) == set(range(len(EMBRYOS) + 1))
    np.testing.assert_array_equal(labels > 0, picture < picture[0, 0])
    for index, embryo in enumerate(EMBRYOS):
        rows, columns = np.nonzero(labels == index + 1)
        dx, dy = columns.mean() - (size - 1) / 2, rows.mean() - (size - 1) / 2
        found = (x_um + dx * BRIGHT_PIXEL_UM, y_um - dy * BRIGHT_PIXEL_UM)
        assert found == pytest.approx(embryo.centre_um[:2], abs=0.3)
