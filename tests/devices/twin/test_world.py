"""The world knows where everything was."""

from devices.twin.world import World
from tests.devices.twin.clock import ManualClock


def test_the_plane_that_is_seen_is_focus_plus_piezo() -> None:
    clock = ManualClock()
    world = World(7, clock)
    world.focus.go(160)
    world.piezos["A"].go(-12)
    clock.wait_s(10)
    assert world.pose().z_um == 148


def test_a_pose_can_be_asked_for_a_moment_that_has_passed() -> None:
    clock = ManualClock()
    world = World(7, clock)
    world.x.go(100)
    clock.wait_s(10)
    assert world.pose("A", 0).x_um == 0
    assert world.pose().x_um == 100
