"""Stacks that the scan card leads: what the cameras take of them, in its time and its light."""

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.errors import CoreError
from devices.twin import FrameStamp
from tests.devices.twin.rig import Rig

SCANNER, OTHER_SCANNER = "Scanner:AB:33", "Scanner:CD:33"
PIEZO_A, PIEZO_B = "PiezoStage:P:34", "PiezoStage:Q:35"
CAMERA_A, CAMERA_B, BOTH = "HamCam1", "HamCam2", "Multi Camera"
GATE, LASERS = "PLogic:E:36", "Coherent-Scientific Remote"

CAMERA_IS_READY = {
    "TRIGGER SOURCE": "EXTERNAL",
    "SENSOR MODE": "PROGRESSIVE",
    "TRIGGER ACTIVE": "EDGE",
    "FrameStamp": "On",
}
# The times of an exposure of 5 ms.
SCANNER_IS_READY = {
    "SPIMState": "Idle",
    "LaserOutputMode": "shutter + side",
    "BeamEnabled": "No",
    "SingleAxisXAmplitude(deg)": 2,
    "SingleAxisXOffset(deg)": 0,
    "SingleAxisXPattern": "1 - Triangle",
    "SingleAxisXMode": "3 - Enabled with axes synced",
    "SingleAxisYAmplitude(deg)": 0.18,
    "SingleAxisYOffset(deg)": 0.02,
    "SingleAxisYPattern": "1 - Triangle",
    "SingleAxisYMode": "3 - Enabled with axes synced",
    "SPIMDelayBeforeScan(ms)": 6.75,
    "SPIMScanDuration(ms)": 5.5,
    "SPIMDelayBeforeLaser(ms)": 8,
    "SPIMLaserDuration(ms)": 5,
    "SPIMDelayBeforeCamera(ms)": 8,
    "SPIMCameraDuration(ms)": 1,
    "SPIMNumSlices": 10,
    "SPIMNumSlicesPerPiezo": 1,
    "SPIMNumSides": 1,
    "SPIMFirstSide": "A",
}
PIEZO_IS_READY = {
    "SingleAxisAmplitude(um)": 18,
    "SingleAxisOffset(um)": 2,
    "SingleAxisPattern": "1 - Triangle",
    "SPIMNumSlices": 10,
    "SPIMState": "Armed",
}


class Bench:
    """A twin that is made ready for a stack of ten slices of both sides."""

    def __init__(self) -> None:
        self.rig = Rig.boot()
        for camera in (CAMERA_A, CAMERA_B):
            self.set(camera, CAMERA_IS_READY)
            self.core.set_exposure_ms(camera, 5).result()
        self.set(SCANNER, SCANNER_IS_READY)
        self.set(OTHER_SCANNER, {"SingleAxisYAmplitude(deg)": 0.18})
        for piezo in (PIEZO_A, PIEZO_B):
            self.set(piezo, PIEZO_IS_READY)

    @property
    def core(self) -> Any:
        return self.rig.core

    def set(self, label: str, settings: Mapping[str, Any]) -> None:
        for name, value in settings.items():
            self.rig.set(label, name, value)

    def state(self, label: str = SCANNER) -> str:
        return str(self.rig.get(label, "SPIMState"))

    def take(self, camera: str = CAMERA_A, *, most: int = 10, wait_s: float = 5) -> "Taken":
        """Start the camera for `most` frames, then the card; return what came."""
        self.core.buffer_frames(camera)
        mmc = self.core._mmc
        mmc.startSequenceAcquisition(camera, most, 0, True)
        self.rig.set(SCANNER, "SPIMState", "Running")
        until = time.monotonic() + wait_s
        while mmc.isSequenceRunning(camera) and time.monotonic() < until:
            time.sleep(0.005)
        mmc.stopSequenceAcquisition(camera)
        return [mmc.popNextImageAndMD() for _ in range(mmc.getRemainingImageCount())]


Taken = Sequence[tuple[NDArray[Any], Mapping[str, Any]]]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.core.close()


def sha256(taken: Taken) -> str:
    return hashlib.sha256(np.stack([pixels for pixels, _ in taken]).tobytes()).hexdigest()


def stamps(taken: Taken, camera: str = CAMERA_A) -> list[FrameStamp]:
    return [FrameStamp.read(pixels) for pixels, tags in taken if tags["Camera"] == camera]


def stack_sha256() -> str:
    """Of the stacks of both sides, of a twin that was just booted."""
    bench = Bench()
    try:
        bench.set(SCANNER, {"SPIMNumSides": 2})
        bench.rig.go(4, -3)
        taken = bench.take(BOTH)
        sides = [
            [frame for frame in taken if frame[1]["Camera"] == c] for c in (CAMERA_A, CAMERA_B)
        ]
        return sha256(sides[0] + sides[1])
    finally:
        bench.core.close()


def test_the_same_seed_gives_the_same_pixels_twice_and_in_another_process() -> None:
    code = "from tests.devices.twin.test_triggered import stack_sha256; print(stack_sha256())"
    elsewhere = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert stack_sha256() == stack_sha256() == elsewhere.stdout.strip()


def test_a_stack_has_a_frame_a_slice_where_the_amplitude_says_and_the_same_pixels_again(
    bench: Bench,
) -> None:
    first, second = bench.take(), bench.take()
    for taken in (first, second):
        assert [stamp.index for stamp in stamps(taken)] == list(range(10))
        # Peak to peak, both ends included.
        assert [stamp.piezo_um for stamp in stamps(taken)] == pytest.approx(
            [-7 + 2 * index for index in range(10)], abs=1e-3
        )
    assert sha256(first) == sha256(second)
    assert np.ptp([pixels.mean() for pixels, _ in first]) > 1, "the slices differ"


def test_the_card_is_idle_after_its_slices_and_the_piezo_armed_and_back(bench: Bench) -> None:
    bench.set(SCANNER, {"SPIMNumSlices": 60})
    bench.take(wait_s=0)
    assert bench.state() == bench.state(OTHER_SCANNER) == bench.state(PIEZO_A) == "Running"
    with pytest.raises(CoreError, match="Running already"):
        bench.set(SCANNER, {"SPIMState": "Running"})
    until = time.monotonic() + 5
    while bench.state() != "Idle" and time.monotonic() < until:
        time.sleep(0.02)
    assert (bench.state(), bench.state(PIEZO_A)) == ("Idle", "Armed")
    assert bench.core.position(PIEZO_A) == 0
    bench.set(PIEZO_A, {"SPIMState": "Idle"})
    assert bench.state(PIEZO_A) == "Idle"


def test_both_sides_are_taken_one_after_the_other_and_tagged(bench: Bench) -> None:
    bench.set(SCANNER, {"SPIMNumSides": 2, "SPIMFirstSide": "B"})
    taken = bench.take(BOTH)
    assert len(taken) == 20
    for channel, camera in enumerate((CAMERA_A, CAMERA_B)):
        own = [tags for _, tags in taken if tags["Camera"] == camera]
        assert {tags["Multi Camera-CameraChannelIndex"] for tags in own} == {str(channel)}
        assert [int(tags["FrameNumber"]) for tags in own] == list(range(10))
    assert stamps(taken, CAMERA_A)[3].piezo_um == stamps(taken, CAMERA_B)[3].piezo_um == -1
    assert (taken[0][1]["Camera"], taken[-1][1]["Camera"]) == (CAMERA_B, CAMERA_A)


def test_a_piezo_that_was_not_armed_stays(bench: Bench) -> None:
    bench.set(PIEZO_A, {"SPIMState": "Idle"})
    assert {stamp.piezo_um for stamp in stamps(bench.take())} == {0}


@pytest.mark.parametrize(
    ("label", "settings", "frames"),
    [
        (CAMERA_A, {"SENSOR MODE": "AREA"}, 0),
        (SCANNER, {"SPIMCameraDuration(ms)": 0}, 0),
        # Still exposing when the next trigger comes: every other frame is lost.
        (SCANNER, {"SPIMDelayBeforeLaser(ms)": 0, "SPIMDelayBeforeScan(ms)": 0}, 5),
    ],
)
def test_what_the_rig_gets_wrong_without_an_error_is_short_here_too(
    bench: Bench, label: str, settings: Mapping[str, Any], frames: int
) -> None:
    bench.set(label, settings)
    assert len(bench.take(wait_s=1)) == frames


def test_the_exposure_is_capped_when_the_sensor_rolls_with_the_sheet(bench: Bench) -> None:
    bench.core.set_exposure_ms(CAMERA_A, 30).result()
    assert bench.core.exposure_ms(CAMERA_A) == 11
    bench.set(CAMERA_A, {"SENSOR MODE": "AREA"})
    assert bench.core.exposure_ms(CAMERA_A) == 30


def test_light_falls_on_the_sample_in_the_laser_pulses_and_all_of_it_is_counted(
    bench: Bench,
) -> None:
    lit = bench.take()
    counted = bench.rig.hub.world.light.count()
    assert counted.lit_ms[488] == pytest.approx(50)
    assert counted.energy_uj[488] == pytest.approx(300)
    assert counted.embryos[0][488] == pytest.approx(300)
    assert counted.open_ms == 0
    bench.set(GATE, {"OutputChannel": "none of outputs 5-8"})
    dark = bench.take()
    assert bench.rig.hub.world.light.count().lit_ms[488] == pytest.approx(50)
    assert lit[4][0].mean() > dark[4][0].mean() + 5


def test_idle_written_in_a_run_ends_it_and_its_light(bench: Bench) -> None:
    bench.set(SCANNER, {"SPIMNumSlices": 1000})
    bench.take(wait_s=0.05)
    bench.set(SCANNER, {"SPIMState": "Idle"})
    assert bench.state() == "Idle"
    lit_ms = bench.rig.hub.world.light.count().lit_ms[488]
    time.sleep(0.05)
    assert bench.rig.hub.world.light.count().lit_ms[488] == lit_ms < 5000


def test_a_camera_that_waits_for_a_trigger_can_be_stopped_and_cannot_snap(bench: Bench) -> None:
    with pytest.raises(CoreError, match="set it to INTERNAL"):
        bench.core.ask(CAMERA_A, lambda mmc: mmc.snap())
    mmc = bench.core._mmc
    mmc.setCameraDevice(CAMERA_A)
    mmc.startSequenceAcquisition(CAMERA_A, 3, 0, True)
    assert mmc.isSequenceRunning(CAMERA_A)
    mmc.stopSequenceAcquisition(CAMERA_A)
    assert not [thread for thread in threading.enumerate() if "Acquisition" in str(thread)]


@pytest.mark.parametrize(
    ("label", "name", "value"),
    [
        (SCANNER, "SingleAxisXPattern", "Triangle"),
        (SCANNER, "LaserOutputMode", "shutter"),
        (SCANNER, "SPIMNumSlices", 0),
        (SCANNER, "SPIMNumSides", 3),
        (SCANNER, "SPIMState", "Go"),
        (PIEZO_A, "SPIMState", "Running"),
        (GATE, "OutputChannel", "output 6"),
        (CAMERA_A, "TRIGGER SOURCE", "External"),
        (LASERS, "Laser 488-150C - PowerSetpoint (%)", 101),
    ],
)
def test_a_value_that_the_controller_does_not_know_is_refused(
    bench: Bench, label: str, name: str, value: object
) -> None:
    before = bench.rig.get(label, name)
    with pytest.raises(CoreError):
        bench.set(label, {name: value})
    assert bench.rig.get(label, name) == before


def test_times_are_held_in_quarters_of_a_millisecond(bench: Bench) -> None:
    bench.set(SCANNER, {"SPIMDelayBeforeScan(ms)": 6.8})
    assert bench.rig.get(OTHER_SCANNER, "SPIMDelayBeforeScan(ms)") == 6.75
