"""Limits fail closed: what is not a finite number inside a finite interval is refused."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from devices import DeviceError, LimitError, Limits

finite = st.floats(allow_nan=False, allow_infinity=False)
no_number = st.one_of(
    st.none(),
    st.booleans(),
    st.text(),
    st.binary(),
    st.complex_numbers(),
    st.lists(finite),
    st.dictionaries(st.text(), finite),
    st.sampled_from(
        [
            math.nan,
            math.inf,
            -math.inf,
            10**400,
            -(10**400),
            Fraction(10**400),
            Decimal(1),
            np.nan,
            np.float32("inf"),
            np.bool_(True),
            np.array(1.0),
            np.array([1.0, 2.0]),
            object(),
        ]
    ),
)


@st.composite
def intervals(draw: st.DrawFn) -> tuple[float, float]:
    low, high = draw(finite), draw(finite)
    assume(low < high)
    return low, high


@given(bad=no_number, good=finite)
def test_a_bound_that_is_no_finite_number_makes_no_limits(bad: object, good: float) -> None:
    with pytest.raises(LimitError, match="must be a finite number") as low:
        Limits(bad, good, units="um")  # type: ignore[arg-type]
    assert low.value.field == "low"
    with pytest.raises(LimitError, match="must be a finite number") as high:
        Limits(good, bad, units="um")  # type: ignore[arg-type]
    assert high.value.field == "high"


@given(interval=intervals())
def test_reversed_bounds_make_no_limits(interval: tuple[float, float]) -> None:
    low, high = interval
    with pytest.raises(LimitError, match="low must be below high"):
        Limits(high, low, units="um")


@given(bound=finite)
def test_equal_bounds_make_no_limits_zero_and_zero_included(bound: float) -> None:
    with pytest.raises(LimitError, match="low must be below high"):
        Limits(bound, bound, units="um")


@given(interval=intervals(), value=finite)
def test_a_value_is_allowed_exactly_if_it_lies_in_the_closed_interval(
    interval: tuple[float, float], value: float
) -> None:
    low, high = interval
    limits = Limits(low, high, units="um")
    if low <= value <= high:
        assert limits.check("xy_stage.x", value) == value
    else:
        with pytest.raises(LimitError):
            limits.check("xy_stage.x", value)


@given(interval=intervals())
def test_both_bounds_are_allowed_and_their_outer_neighbours_are_not(
    interval: tuple[float, float],
) -> None:
    low, high = interval
    limits = Limits(low, high, units="um")
    assert limits.check("focus.z", low) == low
    assert limits.check("focus.z", high) == high
    for outside in (math.nextafter(low, -math.inf), math.nextafter(high, math.inf)):
        with pytest.raises(LimitError):
            limits.check("focus.z", outside)


@given(value=no_number)
def test_what_is_no_finite_number_is_refused_wherever_the_limits_lie(value: object) -> None:
    with pytest.raises(LimitError, match="no finite number") as refused:
        Limits(-1e308, 1e308, units="um").check("xy_stage.y", value)
    assert refused.value.field == "y"


@pytest.mark.parametrize(
    "value", [np.float64(3), np.float32(3), np.int64(3), np.uint8(3), 3, 3.0, Fraction(3)]
)
def test_numbers_of_every_make_pass_as_plain_floats(value: object) -> None:
    allowed = Limits(0, 10, units="um").check("focus.z", value)
    assert type(allowed) is float
    assert allowed == 3


@pytest.mark.parametrize("value", [np.float64(11), np.float32(-1), np.int64(11), np.uint8(255)])
def test_numpy_scalars_outside_are_refused(value: object) -> None:
    with pytest.raises(LimitError):
        Limits(0, 10, units="um").check("focus.z", value)


def test_a_refusal_says_from_where_to_where_in_which_units_and_who_set_the_limits() -> None:
    limits = Limits(-2252.1, 983, units="um", source="rig.yml")
    with pytest.raises(LimitError) as refused:
        limits.check("xy_stage.x", 1200, present=12.5)
    assert str(refused.value) == (
        "xy_stage.x at 12.5 µm asked for 1200 µm; limits -2252.1 to 983 µm (rig.yml)"
    )
    assert refused.value.field == "x"


def test_a_value_just_outside_is_not_shown_as_the_limit_itself() -> None:
    with pytest.raises(LimitError, match=r"asked for 983\.0001 µm; limits 0 to 983 µm"):
        Limits(0, 983, units="um").check("xy_stage.x", 983.0001)


def test_a_refusal_is_a_device_error_and_a_value_error() -> None:
    with pytest.raises(DeviceError):
        Limits(0, 1, units="ms").check("camera.exposure_ms", 2)
    with pytest.raises(ValueError, match="2 ms"):
        Limits(0, 1, units="ms").check("camera.exposure_ms", 2)


def test_limits_cannot_be_moved_afterwards() -> None:
    limits = Limits(0, 1, units="um")
    with pytest.raises(AttributeError):
        limits.high = 1000  # type: ignore[misc]
