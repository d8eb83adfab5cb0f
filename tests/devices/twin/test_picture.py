"""What optics and sensor make of the sample: true to it, and the same on every machine."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.twin import Phantom
from devices.twin.optics import PIXEL_UM, LightSheet, Window
from devices.twin.phantom import BOOT_FOCUS_UM
from devices.twin.sensor import COUNTS_PER_ELECTRON, OFFSET, READ_NOISE, Sensor
from tests.devices.twin.rig import SEED, centroid

PHANTOM = Phantom(SEED)
SHEET = LightSheet(PHANTOM)
FULL = Window(0, 0, 512, 512, 512)
# Between the cytoplasm and the medium, in the counts of 10 ms.
EDGE = 120.0
# Of four noisy frames of seed 7. Whoever changes the sample on purpose changes this.
SHA256 = "9324e4892b3e328afa630f702333332eef17c3aca7846baeeb2473b501b94105"

shifts = st.floats(-12, 12)


def test_the_pixels_are_those_of_every_other_machine() -> None:
    sensor, digest = Sensor(SEED), hashlib.sha256()
    for index, z in enumerate((BOOT_FOCUS_UM - 9.3, BOOT_FOCUS_UM, BOOT_FOCUS_UM + 4.75, 0)):
        frame = np.empty((512, 512), np.uint16)
        sensor.read(SHEET.look(3.3, -2.2, z, 10, FULL), (index,), frame)
        digest.update(frame.astype("<u2").tobytes())
    assert digest.hexdigest() == SHA256


@settings(max_examples=40, deadline=None)
@given(dx=shifts, dy=shifts)
def test_stage_plus_x_moves_the_sample_left_and_plus_y_moves_it_down(dx: float, dy: float) -> None:
    column, row = centroid(SHEET.look(0, 0, BOOT_FOCUS_UM, 10, FULL), EDGE)
    shifted = centroid(SHEET.look(dx, dy, BOOT_FOCUS_UM, 10, FULL), EDGE)
    assert shifted == pytest.approx((column - dx / PIXEL_UM, row + dy / PIXEL_UM), abs=0.6)


@pytest.mark.parametrize("index", range(len(PHANTOM.embryos)))
def test_an_embryo_is_in_the_middle_when_the_stage_is_at_its_centre(index: int) -> None:
    x, y, z = PHANTOM.embryos[index].centre_um
    assert centroid(SHEET.look(x, y, z, 10, FULL), EDGE) == pytest.approx((255.5, 255.5), abs=1)


def test_a_nucleus_is_bright_where_the_truth_says() -> None:
    for nucleus in PHANTOM.embryos[0].nuclei:
        picture = SHEET.look(*nucleus.centre_um, 10, FULL)
        assert picture[252:260, 252:260].mean() > 4 * np.median(picture[picture > EDGE])


def test_a_nucleus_is_sharpest_at_its_own_height() -> None:
    for nucleus in PHANTOM.embryos[0].nuclei:
        x, y, z = nucleus.centre_um
        light = [
            SHEET.look(x, y, z + away, 10, FULL)[246:266, 246:266].mean() for away in (-4, 0, 4)
        ]
        assert light[1] > 1.5 * min(light)


@settings(max_examples=20, deadline=None)
@given(lit_ms=st.floats(0, 30))
def test_the_signal_is_proportional_to_the_light(lit_ms: float) -> None:
    once = SHEET.look(0, 0, BOOT_FOCUS_UM, lit_ms, FULL)
    twice = SHEET.look(0, 0, BOOT_FOCUS_UM, 2 * lit_ms, FULL)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)


@pytest.mark.parametrize("place", [(5000, 0, BOOT_FOCUS_UM), (0, 0, BOOT_FOCUS_UM + 60)])
def test_beside_and_above_the_sample_there_is_only_medium(
    place: tuple[float, float, float],
) -> None:
    assert np.ptp(SHEET.look(*place, 10, FULL)) == 0


def test_a_window_sees_its_part_of_the_whole_picture() -> None:
    whole = SHEET.look(1, 2, BOOT_FOCUS_UM, 10, FULL)
    part = SHEET.look(1, 2, BOOT_FOCUS_UM, 10, Window(200, 130, 96, 250, 512))
    np.testing.assert_array_equal(part, whole[130:380, 200:296])


def test_noise_has_the_offset_the_spread_and_the_photons_of_the_camera() -> None:
    sensor = Sensor(SEED)
    frames = np.empty((2, 512, 512), np.uint16)
    sensor.read(np.zeros((512, 512), np.float32), (0,), frames[0])
    sensor.read(np.full((512, 512), 2000, np.float32), (0,), frames[1])
    dark, lit = frames.astype(float)
    assert dark.mean() == pytest.approx(OFFSET, abs=0.1)
    assert dark.std() == pytest.approx(READ_NOISE, rel=0.03)
    assert lit.mean() == pytest.approx(OFFSET + 2000, abs=1)
    assert lit.std() == pytest.approx(
        math.sqrt(2000 * COUNTS_PER_ELECTRON + READ_NOISE**2), rel=0.03
    )


def test_noise_is_new_in_each_frame_and_the_same_for_the_same_frame() -> None:
    sensor = Sensor(SEED)
    frames = np.empty((3, 64, 64), np.uint16)
    for frame, index in zip(frames, (0, 1, 0), strict=True):
        sensor.read(np.full((64, 64), 50, np.float32), (index,), frame)
    assert (frames[0] != frames[1]).mean() > 0.5
    np.testing.assert_array_equal(frames[0], frames[2])


def test_too_much_light_saturates() -> None:
    frame = np.empty((8, 8), np.uint16)
    Sensor(SEED).read(np.full((8, 8), 1e6, np.float32), (0,), frame)
    assert (frame == 65535).all()
