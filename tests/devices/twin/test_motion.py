"""Axes take their time, arrive exactly, and stop where they are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.motors import Trapezoid
from devices.twin.motion import Axis, EndStops, Law, Settling
from tests.devices.twin.clock import ManualClock

MOTOR = Trapezoid(speed_um_s=1000, acceleration_um_s2=10_000)
PIEZO = Settling(time_constant_s=0.003, tolerance_um=0.005)
STOPS = EndStops(-1000, 1000)

laws = st.sampled_from([MOTOR, PIEZO])
places = st.floats(-1000, 1000)


@given(law=laws, start=places, target=places)
def test_an_axis_begins_where_it_is_and_ends_exactly_where_it_was_sent(
    law: Law, start: float, target: float
) -> None:
    clock = ManualClock()
    axis = Axis("z", start, STOPS, law, clock)
    axis.go(target)
    assert axis.position_um() == pytest.approx(start, abs=0.01)
    clock.wait_s(law.duration_s(abs(target - start)) + 1e-6)
    assert not axis.is_moving
    assert axis.position_um() == target


@given(law=laws, start=places, target=places, looks=st.lists(st.floats(0, 1), max_size=20))
def test_an_axis_never_turns_back_and_never_overshoots(
    law: Law, start: float, target: float, looks: list[float]
) -> None:
    axis = Axis("z", start, STOPS, law, ManualClock())
    axis.go(target)
    whole_ns = 1e9 * law.duration_s(abs(target - start))
    times = [round(whole_ns * look) for look in (0, *sorted(looks), 1)]
    done = [(axis.position_um(at) - start) * (1 if target > start else -1) for at in times]
    # Float arithmetic may err by far less than an atom.
    assert all(later >= sooner - 1e-9 for sooner, later in itertools.pairwise(done))
    assert all(-1e-9 <= way <= abs(target - start) + 1e-9 for way in done)


@pytest.mark.parametrize(
    ("distance_um", "seconds"),
    [
        (0, 0),
        (25, 0.1),  # never reaches the top speed
        (100, 0.2),  # just does
        (1100, 1.2),  # 1 s at top speed, 0.1 s up and 0.1 s down
    ],
)
def test_a_motor_needs_the_time_that_its_speed_and_acceleration_say(
    distance_um: float, seconds: float
) -> None:
    assert MOTOR.duration_s(distance_um) == pytest.approx(seconds)


def test_an_axis_stops_where_it_is() -> None:
    clock = ManualClock()
    axis = Axis("x", 0, STOPS, MOTOR, clock)
    axis.go(1000)
    clock.wait_s(0.55)
    axis.stop()
    assert not axis.is_moving
    clock.wait_s(10)
    assert axis.position_um() == pytest.approx(500)


def test_a_new_target_on_the_way_starts_from_where_the_axis_is() -> None:
    clock = ManualClock()
    axis = Axis("x", 0, STOPS, MOTOR, clock)
    axis.go(1000)
    clock.wait_s(0.55)
    axis.go(0)
    assert axis.position_um() == pytest.approx(500)
    clock.wait_s(10)
    assert axis.position_um() == 0


@pytest.mark.parametrize("target", [1000.1, -1000.1, float("nan"), float("inf")])
def test_a_target_past_an_end_stop_is_refused_and_nothing_moves(target: float) -> None:
    axis = Axis("z", 5, STOPS, PIEZO, ManualClock())
    with pytest.raises(ValueError, match=r"z was sent to .* end stops -1000…1000 µm"):
        axis.go(target)
    assert axis.position_um() == 5
    assert not axis.is_moving


def test_a_fence_holds_an_axis_without_a_word() -> None:
    clock = ManualClock()
    axis = Axis("x", 0, STOPS, MOTOR, clock)
    axis.fence = EndStops(-50, 20)
    axis.go(100)
    clock.wait_s(10)
    assert (axis.position_um(), axis.is_moving) == (20, False)
