"""Which tiles cover an area."""

import pytest

from devices import LimitError
from plans.detection import Sighting, merged
from plans.tiles import Tile, tiles


def test_tiles_cover_the_area_and_overlap_and_the_way_has_no_long_jumps() -> None:
    found = tiles((100, 50), (250, 150), (100, 100), 20)
    assert [(tile.row, tile.column) for tile in found] == [
        (0, 0), (0, 1), (0, 2), (1, 2), (1, 1), (1, 0),
    ]  # fmt: skip
    assert min(tile.x_um for tile in found) - 50 <= 100 - 125 + 20
    assert max(tile.x_um for tile in found) + 50 >= 100 + 125 - 20
    assert found[1].x_um - found[0].x_um == 80
    assert sum(tile.y_um for tile in found) / 6 == 50


def test_a_place_is_one_tile() -> None:
    assert tiles((1, 2), (0, 0), (100, 100), 10) == [Tile(0, 0, 1, 2)]


@pytest.mark.parametrize(
    ("size_um", "overlap_um", "field"), [((1e4, 1e4), 10, "width_um"), ((1, 1), 100, "overlap_um")]
)
def test_what_does_not_fit_is_refused(
    size_um: tuple[float, float], overlap_um: float, field: str
) -> None:
    with pytest.raises(LimitError) as refused:
        tiles((0, 0), size_um, (100, 100), overlap_um)
    assert refused.value.field == field


def test_an_embryo_that_two_pictures_show_is_told_once_as_the_one_that_has_it_whole() -> None:
    def seen(name: str, x_um: float, tile: Tile) -> Sighting:
        told = {"name": name, "x_um": x_um, "y_um": 0.0, "certain": True}
        return Sighting.of(told, tile)

    left, right = Tile(0, 0, 0, 0), Tile(0, 1, 100, 0)
    cut, whole, other = seen("1", 48, left), seen("2", 55, right), seen("3", 10, left)
    assert merged([cut, whole, other]) == [whole, other]
    assert merged([seen("1", 48, left), seen("1", 80, right)])[0].told["x_um"] == 80
