"""The world keeps time of its light, and knows where everything was."""

from devices.twin.world import Light, World
from tests.devices.twin.clock import ManualClock


def test_light_is_counted_for_as_long_as_it_is_on() -> None:
    clock = ManualClock()
    light = Light(clock)
    clock.wait_s(1)
    light.switch(on=True)
    clock.wait_s(0.25)
    assert light.on_ns() == 250_000_000
    light.switch(on=True)
    clock.wait_s(0.25)
    light.switch(on=False)
    light.switch(on=False)
    clock.wait_s(5)
    assert not light.is_on
    assert light.on_ns() == 500_000_000


def test_a_frame_in_steady_light_got_light_for_exactly_its_exposure() -> None:
    clock = ManualClock()
    light = Light(clock)
    light.switch(on=True)
    clock.wait_s(3)
    assert light.on_ns(2_123_456_789) - light.on_ns(2_118_456_789) == 5_000_000


def test_the_plane_that_is_seen_is_focus_plus_piezo() -> None:
    clock = ManualClock()
    world = World(7, clock)
    world.focus.go(160)
    world.piezo.go(-12)
    clock.wait_s(10)
    assert world.pose().z_um == 148


def test_a_pose_can_be_asked_for_a_moment_that_has_passed() -> None:
    clock = ManualClock()
    world = World(7, clock)
    world.x.go(100)
    clock.wait_s(10)
    assert world.pose(0).x_um == 0
    assert world.pose().x_um == 100
