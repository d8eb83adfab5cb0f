"""Paces: what an estimate leaves out is learned, and one disturbed action teaches nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices import Line, Pace

TENTH = Line(0.1, 0.01)


def test_until_something_was_measured_it_assumes() -> None:
    pace = Pace(TENTH)

    assert pace.seconds(10) == pytest.approx(0.2)
    assert pace.source == "assumed"


def test_the_first_action_is_believed_as_to_its_offset() -> None:
    pace = Pace(TENTH)

    pace.learn(10, 0.5)

    assert pace.seconds(10) == pytest.approx(0.5)
    assert pace.seconds(20) == pytest.approx(0.6)  # the slope is still the assumed one
    assert pace.source == "learned from the latest 1"


@given(
    offset_s=st.floats(-1, 1),
    slope_s=st.floats(0, 1),
    sizes=st.lists(st.integers(0, 1000), min_size=6, max_size=30),
)
def test_a_line_is_found(offset_s: float, slope_s: float, sizes: list[int]) -> None:
    pace = Pace(TENTH)

    for size in (0, *sizes, 1000):
        pace.learn(size, offset_s + slope_s * size)

    assert pace.seconds(500) == pytest.approx(offset_s + slope_s * 500, abs=1e-6)


def test_a_few_disturbed_actions_are_passed_over() -> None:
    pace = Pace(TENTH)

    for size in range(24):
        pace.learn(size, 60.0 if size % 6 == 0 else 0.02 * size)

    assert pace.seconds(10) == pytest.approx(0.2, abs=0.02)


def test_actions_of_one_size_tell_nothing_of_a_slope() -> None:
    """As the tiles of a survey are: equally far from each other, but for the last digits."""
    pace = Pace(Line(0.005))

    for number in range(32):
        pace.learn(23.2 + number * 1e-14, 0.003 + 1e-4 * (number % 7))

    assert 0 < pace.seconds(23.2) < 0.01
    assert 0 < pace.seconds(3000) < 0.01


def test_what_is_larger_than_all_that_was_measured_goes_on_as_assumed() -> None:
    pace = Pace(TENTH)

    for size in range(1, 11):
        pace.learn(size, 0.5 * size)

    assert pace.seconds(10) == pytest.approx(5)
    assert pace.seconds(110) == pytest.approx(5 + 1)


def test_what_is_smaller_than_all_that_was_measured_never_takes_less_than_nothing() -> None:
    """As the file of a small volume after those of large ones."""
    pace = Pace(TENTH)

    for _ in range(9):
        pace.learn(1000, 0.5)

    assert pace.seconds(0) == 0
    assert pace.seconds(980) == pytest.approx(0.3)


def test_old_actions_are_forgotten() -> None:
    pace = Pace(TENTH)

    for seconds in (5.0, 1.0):
        for _ in range(32):
            pace.learn(1, seconds)

    assert pace.seconds(1) == 1.0


def test_what_is_larger_is_never_reckoned_to_be_quicker() -> None:
    pace = Pace(TENTH)

    for size in range(10):
        pace.learn(size, 1 - 0.1 * size)

    assert pace.seconds(100) >= pace.seconds(0)
