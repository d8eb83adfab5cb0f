"""Faults on demand: each shows as hardware would show it, and is gone when it is taken away."""

import threading
import time

import pytest

from devices.errors import AcquisitionError, CoreError, CoreTimeoutError
from devices.twin.faults import AxisFault, CameraFault, Faults
from tests.devices.twin.rig import CAMERA, FOCUS, GATE, LASERS, PIEZO, XY, Rig


@pytest.fixture
def faults(rig: Rig) -> Faults:
    found: Faults = rig.hub.faults
    return found


def test_an_axis_that_sticks_says_that_it_has_arrived_and_stands_where_it_stuck(
    rig: Rig, faults: Faults
) -> None:
    faults.axes["X"] = AxisFault(sticks_at_um=12)
    with pytest.raises(CoreError, match="rest at x 12 µm"):
        rig.core.move_xy(XY, 40, 0, tolerance_um=1, timeout_s=5).result()
    del faults.axes["X"]
    rig.go(40, 0)


def test_an_axis_that_refuses_answers_with_the_controllers_words(rig: Rig, faults: Faults) -> None:
    faults.axes["Y"] = AxisFault(refuses=":N-21")
    with pytest.raises(CoreError, match=":N-21"):
        rig.core.move_xy(XY, 10, 10, tolerance_um=1, timeout_s=5).result()
    assert rig.core.xy_position(XY) == (0, 0), "neither axis moves"


@pytest.mark.parametrize(("target_um", "found_um"), [(160, 163), (140, 137), (150, 150)])
def test_an_axis_that_overshoots_goes_on_the_way_it_went(
    rig: Rig, faults: Faults, target_um: float, found_um: float
) -> None:
    faults.axes["Z"] = AxisFault(overshoots_um=3)
    rig.core.move(FOCUS, target_um, tolerance_um=5, timeout_s=5).result()
    assert rig.core.position(FOCUS) == found_um


def test_an_axis_may_be_read_back_wrongly(rig: Rig, faults: Faults) -> None:
    faults.axes["P"] = AxisFault(reads_off_um=-2)
    rig.core.move(PIEZO, 10, tolerance_um=5, timeout_s=5).result()
    assert rig.core.position(PIEZO) == 8
    assert rig.hub.world.pose("A").piezo_um == 10


def test_a_property_may_be_read_back_wrongly(rig: Rig, faults: Faults) -> None:
    faults.read_backs["HamCam1", "SENSOR MODE"] = "AREA"
    rig.set(CAMERA, "SENSOR MODE", "PROGRESSIVE")
    assert rig.get(CAMERA, "SENSOR MODE") == "AREA"
    assert rig.get(CAMERA, "ReadoutTime") > 5, "it is what it was set to"


def test_a_gate_that_sticks_lets_light_through_and_says_so(rig: Rig, faults: Faults) -> None:
    rig.set(GATE, "OutputChannel", "output 6 only")
    rig.light(on=True)
    faults.gate_sticks = True
    rig.set(GATE, "OutputChannel", "none of outputs 5-8")
    with pytest.raises(CoreError, match="reads back the opposite"):
        rig.light(on=False)
    assert rig.get(GATE, "OutputChannel") == "output 6 only"
    lit_ms = rig.hub.world.light.count().lit_ms[488]
    time.sleep(0.01)
    assert rig.hub.world.light.count().lit_ms[488] >= lit_ms + 10
    faults.gate_sticks = False
    rig.light(on=False)


@pytest.mark.parametrize(
    ("fault", "arrived", "says"),
    [
        (CameraFault(drops=frozenset({1})), [0, 2, 3], "3 of 4 frames"),
        (CameraFault(dies_after=2), [0, 1], "2 of 4 frames"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_frames_that_a_camera_loses_never_arrive(
    rig: Rig, faults: Faults, fault: CameraFault, arrived: list[int], says: str
) -> None:
    faults.cameras[CAMERA] = fault
    rig.expose(1)
    frames = rig.core.frames(CAMERA, 4, exposure_ms=1, cancelled=threading.Event())
    numbers: list[int] = []
    with pytest.raises(AcquisitionError, match=says):
        numbers.extend(int(frame.tags["FrameNumber"]) for frame in frames)
    assert numbers == arrived
    faults.cameras.clear()
    assert len(rig.frames(4)) == 4


def test_a_camera_that_stalls_for_a_while_goes_on(rig: Rig, faults: Faults) -> None:
    faults.cameras[CAMERA] = CameraFault(stalls_after=2, stalls_for_s=0.05)
    began = time.monotonic()
    assert len(rig.frames(4)) == 4
    assert time.monotonic() - began >= 0.05


def test_an_exposure_may_be_read_back_wrongly(rig: Rig, faults: Faults) -> None:
    faults.cameras[CAMERA] = CameraFault(reads_exposure_ms=7)
    rig.expose(2)
    assert rig.core.exposure_ms(CAMERA) == 7
    faults.mend()
    assert rig.core.exposure_ms(CAMERA) == 2


def test_a_property_may_keep_what_it_has(rig: Rig, faults: Faults) -> None:
    power = "Laser 488-150C - PowerSetpoint (%)"
    faults.keeps.add((LASERS, power))
    rig.set(LASERS, power, 0)
    assert rig.get(LASERS, power) == 4
    faults.mend()
    rig.set(LASERS, power, 0)
    assert rig.get(LASERS, power) == 0


def test_a_lamp_that_sticks_says_so(rig: Rig, faults: Faults) -> None:
    rig.core.set_shutter("LED:X:31", is_open=True, timeout_s=1).result()
    faults.lamp_sticks = True
    with pytest.raises(CoreError, match="reads back the opposite"):
        rig.core.set_shutter("LED:X:31", is_open=False, timeout_s=1).result()
    assert rig.hub.world.lamp.is_on


def test_a_late_answer_is_late_once(rig: Rig, faults: Faults) -> None:
    faults.answer_late(0.05)
    began = time.monotonic()
    rig.core.xy_position(XY)
    assert time.monotonic() - began >= 0.05
    assert faults._late.empty()


def test_a_camera_that_stalls_can_still_be_stopped(rig: Rig, faults: Faults) -> None:
    faults.cameras[CAMERA] = CameraFault(stalls_after=1)
    frames = rig.core.frames(CAMERA, 3, exposure_ms=1, cancelled=threading.Event())
    next(frames)
    assert rig.core.ask(CAMERA, lambda mmc: mmc.isSequenceRunning(CAMERA))
    frames.close()
    assert not rig.core.ask(CAMERA, lambda mmc: mmc.isSequenceRunning(CAMERA))


def test_a_silent_controller_answers_later_what_it_was_asked(rig: Rig, faults: Faults) -> None:
    with faults.controller_silent(), pytest.raises(CoreTimeoutError, match="did not answer"):
        rig.core.ask(XY, lambda mmc: mmc.getXYPosition(XY), timeout_s=0.1)
    assert rig.core.xy_position(XY) == (0, 0)


def test_an_exchange_takes_the_latency_and_one_waits_for_the_other(rig: Rig) -> None:
    rig.set("TwinHub", "SerialLatencyMs", 20)
    began = time.monotonic()
    rig.core.xy_position(XY)  # an exchange for each axis
    rig.set("Scanner:AB:33", "SPIMNumSlices", 7)
    rig.get("Scanner:AB:33", "SPIMNumSlices")  # remembered by the adapter
    rig.get("Scanner:AB:33", "SPIMState")
    assert time.monotonic() - began >= 4 * 0.02
