import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gently.detection import Picture

places = st.floats(-1e5, 1e5)


def blank(rows: int = 4, columns: int = 6, **known: object) -> Picture:
    given: dict[str, object] = {"pixel_size_um": 0.5, "centre_um": (100.0, 200.0), **known}
    return Picture(pixels=np.zeros((rows, columns), np.uint16), **given)  # type: ignore[arg-type]


def test_the_middle_of_the_picture_is_where_the_stage_is() -> None:
    for rows, columns in ((4, 6), (5, 7)):
        picture = blank(rows, columns)
        assert picture.stage_um(*picture.middle_px) == (100.0, 200.0)


def test_the_middle_lies_between_the_pixels_of_an_even_picture_and_on_one_of_an_odd_one() -> None:
    assert blank(4, 6).middle_px == (1.5, 2.5)
    assert blank(5, 7).middle_px == (2.0, 3.0)


def test_what_is_right_of_the_middle_is_at_larger_x_and_what_is_below_at_smaller_y() -> None:
    picture = blank()
    row, column = picture.middle_px
    assert picture.stage_um(row, column + 10) == (105.0, 200.0)
    assert picture.stage_um(row + 10, column) == (100.0, 195.0)


def test_a_camera_that_is_mounted_the_other_way_has_other_signs() -> None:
    picture = blank(x_sign=-1, y_sign=1)
    row, column = picture.middle_px
    assert picture.stage_um(row + 10, column + 10) == (95.0, 205.0)


@given(
    x=places,
    y=places,
    centre=st.tuples(places, places),
    x_sign=st.sampled_from([1, -1]),
    y_sign=st.sampled_from([1, -1]),
    pixel_size_um=st.floats(0.05, 20),
)
def test_a_place_on_the_stage_is_at_a_pixel_and_back(
    x: float, y: float, centre: tuple[float, float], x_sign: int, y_sign: int, pixel_size_um: float
) -> None:
    picture = blank(centre_um=centre, x_sign=x_sign, y_sign=y_sign, pixel_size_um=pixel_size_um)
    assert picture.stage_um(*picture.place_px(x, y)) == pytest.approx((x, y), abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"pixels": np.zeros((3, 4, 5))}, "choose a plane"),
        ({"pixels": np.zeros((0, 4))}, "choose a plane"),
        ({"pixels": np.zeros((4, 4), complex)}, "complex128"),
        ({"pixel_size_um": 0.0}, "pixel_size_um"),
        ({"pixel_size_um": float("nan")}, "pixel_size_um"),
        ({"centre_um": (0.0, float("inf"))}, "centre_um"),
        ({"x_sign": 0}, "x_sign"),
        ({"y_sign": 2}, "y_sign"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(wrong: dict[str, object], says: str) -> None:
    right: dict[str, object] = {"pixels": np.zeros((4, 4)), "pixel_size_um": 0.5}
    with pytest.raises(ValueError, match=says):
        Picture(**{**right, **wrong})  # type: ignore[arg-type]
