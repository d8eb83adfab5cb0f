"""Motors: what a controller tells of its speed is how long a motion takes."""

import math

import pytest

from devices.motors import Motor, Trapezoid

MOTOR = Motor(("MotorSpeed-S(mm/s)", "Velocity"), "Acceleration-AC(ms)")


def test_speed_and_ramp_make_a_trapezoid() -> None:
    law = MOTOR.law({"MotorSpeed-S(mm/s)": 2, "Acceleration-AC(ms)": 100})

    assert law == Trapezoid(2000, 20_000)
    assert law.ramp_s == pytest.approx(0.1)
    assert law.duration_s(2200) == pytest.approx(1.2)


def test_without_a_ramp_the_speed_is_there_at_once() -> None:
    law = MOTOR.law({"Velocity": 10})

    assert law is not None
    assert law.duration_s(500) == pytest.approx(0.05)
    assert law.duration_s(0) == 0


@pytest.mark.parametrize("found", [{}, {"Velocity": 0}, {"Velocity": math.nan}, {"Speed": 3}])
def test_what_tells_no_speed_has_no_law(found: dict[str, float]) -> None:
    assert MOTOR.law(found) is None
