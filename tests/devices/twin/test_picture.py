"""What optics and sensor make of the sample: true to it, and the same on every machine."""

import hashlib
import itertools
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from devices.twin import VIEWS, Phantom, SheetGeometry, Side, sheets
from devices.twin.optics import PIXEL_UM, LightSheet, Sight, Window
from devices.twin.phantom import BOOT_FOCUS_UM
from devices.twin.sensor import COUNTS_PER_ELECTRON, OFFSET, READ_NOISE, Sensor
from tests.devices.twin.rig import SEED, centroid

PHANTOM = Phantom(SEED)
EVEN = SheetGeometry(slope_um_per_deg=100, offset_um=0, tilt=0, waist_um=0, length_um=1e6)
SHEET = LightSheet(PHANTOM, "A", EVEN)
TRUE = sheets(SEED)
FULL = Window(0, 0, 512, 512, 512)
# Between the cytoplasm and the medium, in the counts of 10 ms.
EDGE = 120.0
# Of eight noisy frames of seed 7. Whoever changes the sample on purpose changes this.
SHA256 = "72a156b4ed1c3af073a97340837f99e35e4e142bf2b49953432a4349c5cd7c80"

shifts = st.floats(-12, 12)


def test_the_pixels_are_those_of_every_other_machine() -> None:
    sensor, digest = Sensor(SEED), hashlib.sha256()
    sights = [
        (side, Sight(3.3, -2.2, BOOT_FOCUS_UM, focal_um, sheet_um))
        for side in VIEWS
        for focal_um, sheet_um in ((-9.3, -9.3), (0, 0.4), (7, 4.75), (0, 60))
    ]
    for index, (side, sight) in enumerate(sights):
        frame = np.empty((512, 512), np.uint16)
        sensor.read(looks(side, sight, TRUE[side]), (index,), frame)
        digest.update(frame.astype("<u2").tobytes())
    assert digest.hexdigest() == SHA256


@settings(max_examples=40, deadline=None)
@given(dx=shifts, dy=shifts)
def test_stage_plus_x_moves_the_sample_left_and_plus_y_moves_it_down(dx: float, dy: float) -> None:
    column, row = centroid(SHEET.look(Sight(0, 0, BOOT_FOCUS_UM), 10, FULL), EDGE)
    shifted = centroid(SHEET.look(Sight(dx, dy, BOOT_FOCUS_UM), 10, FULL), EDGE)
    assert shifted == pytest.approx((column - dx / PIXEL_UM, row + dy / PIXEL_UM), abs=0.6)


@pytest.mark.parametrize("index", range(len(PHANTOM.embryos)))
def test_an_embryo_is_in_the_middle_when_the_stage_is_at_its_centre(index: int) -> None:
    x, y, z = PHANTOM.embryos[index].centre_um
    assert centroid(SHEET.look(Sight(x, y, z), 10, FULL), EDGE) == pytest.approx(
        (255.5, 255.5), abs=1
    )


def test_a_nucleus_is_bright_where_the_truth_says() -> None:
    for nucleus in PHANTOM.embryos[0].nuclei:
        picture = SHEET.look(Sight(*nucleus.centre_um), 10, FULL)
        assert picture[252:260, 252:260].mean() > 4 * np.median(picture[picture > EDGE])


def test_a_nucleus_is_sharpest_at_its_own_height() -> None:
    for nucleus in PHANTOM.embryos[0].nuclei:
        x, y, z = nucleus.centre_um
        light = [
            SHEET.look(Sight(x, y, z + away), 10, FULL)[246:266, 246:266].mean()
            for away in (-4, 0, 4)
        ]
        assert light[1] > 1.5 * min(light)


@settings(max_examples=20, deadline=None)
@given(lit_ms=st.floats(0, 30))
def test_the_signal_is_proportional_to_the_light(lit_ms: float) -> None:
    once = SHEET.look(Sight(0, 0, BOOT_FOCUS_UM), lit_ms, FULL)
    twice = SHEET.look(Sight(0, 0, BOOT_FOCUS_UM), 2 * lit_ms, FULL)
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("place", [(5000, 0, BOOT_FOCUS_UM), (0, 0, BOOT_FOCUS_UM + 60)])
def test_beside_and_above_the_sample_there_is_only_medium(
    place: tuple[float, float, float],
) -> None:
    assert np.ptp(SHEET.look(Sight(*place), 10, FULL)) == 0


def test_a_window_sees_its_part_of_the_whole_picture() -> None:
    whole = SHEET.look(Sight(1, 2, BOOT_FOCUS_UM), 10, FULL)
    part = SHEET.look(Sight(1, 2, BOOT_FOCUS_UM), 10, Window(200, 130, 96, 250, 512))
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


# ---------------------------------------------------------------------- sheet and focal plane


@cache
def sheet_of(side: Side, geometry: SheetGeometry) -> LightSheet:
    return LightSheet(PHANTOM, side, geometry)


def looks(side: Side, sight: Sight, geometry: SheetGeometry = EVEN) -> NDArray[np.float32]:
    return sheet_of(side, geometry).look(sight, 10, FULL)


def sharpness(picture: NDArray[np.float32]) -> float:
    return float(np.square(np.diff(picture, axis=1)).mean())


@pytest.mark.parametrize("side", ["A", "B"])
@pytest.mark.parametrize("galvo_deg", [-0.05, 0.03])
def test_a_plane_is_bright_and_sharp_only_where_the_piezo_is_at_slope_times_mirror_plus_offset(
    side: Side, galvo_deg: float
) -> None:
    geometry = replace(TRUE[side], offset_um=2.5)
    met_um = geometry.slope_um_per_deg * galvo_deg + geometry.offset_um
    sheet = LightSheet(PHANTOM, side, geometry)
    away_um = np.arange(-4, 4.5, 0.5)
    pictures = [
        sheet.look(Sight(0, 0, BOOT_FOCUS_UM, met_um + away, met_um), 10, FULL) for away in away_um
    ]
    measured = [sharpness(picture) for picture in pictures]
    assert away_um[int(np.argmax(measured))] == 0
    assert measured == pytest.approx(measured[::-1], rel=1e-3), "to either side alike"
    means = [float(picture.mean()) for picture in pictures]
    assert means[8] == max(means)
    # Nowhere does it get sharper on the way out.
    assert all(near > far for near, far in itertools.pairwise(measured[8:]))


@pytest.mark.parametrize("side", ["A", "B"])
def test_a_tilted_sheet_lies_deeper_on_one_side_of_the_image(side: Side) -> None:
    tilted = replace(EVEN, tilt=0.02)
    at = Sight(0, 0, BOOT_FOCUS_UM, 1.0, 1.0)
    whole = looks(side, at, tilted)
    for left in (128, 192, 256, 320):
        strip = slice(left, left + 64)
        deeper_um = 0.02 * (left + 32 - 256) * PIXEL_UM
        there = looks(side, at._replace(sheet_um=1.0 + deeper_um))
        assert np.corrcoef(whole[:, strip].ravel(), there[:, strip].ravel())[0, 1] > 0.999


def test_away_from_its_waist_the_sheet_is_fainter() -> None:
    narrow = replace(EVEN, waist_um=10, length_um=20)
    empty = looks("A", Sight(5000, 0, BOOT_FOCUS_UM), narrow)[0]
    assert (np.argmax(empty) - 255.5) * PIXEL_UM == pytest.approx(10, abs=0.2)
    assert empty[round(255.5 + 30 / PIXEL_UM)] == pytest.approx(
        empty.max() / math.sqrt(2), rel=0.01
    )


def test_the_sheet_is_as_high_as_the_beam_is_drawn() -> None:
    low = Sight(5000, 0, BOOT_FOCUS_UM, height_um=20, height_at_um=15)
    rows = looks("A", low)[:, 256]
    lit = np.flatnonzero(rows > rows.max() / 2)
    assert len(lit) * PIXEL_UM == pytest.approx(20, abs=0.5)
    assert (255.5 - lit.mean()) * PIXEL_UM == pytest.approx(15, abs=0.2), "towards +y"


# ---------------------------------------------------------------------- both sides


@pytest.mark.parametrize("side", ["A", "B"])
def test_each_side_sees_a_nucleus_where_its_view_says(side: Side) -> None:
    view = VIEWS[side]
    for nucleus in PHANTOM.embryos[0].nuclei:
        x, y, z = nucleus.centre_um
        column_um, row_um, depth_um = view.seen((x, y, z - BOOT_FOCUS_UM))
        picture = looks(side, Sight(0, 0, BOOT_FOCUS_UM, depth_um, depth_um))
        row, column = (round(255.5 + um / PIXEL_UM) for um in (row_um, column_um))
        near = picture[row - 4 : row + 5, column - 4 : column + 5]
        assert near.mean() > 4 * np.median(picture[picture > EDGE])


@given(point=st.tuples(shifts, shifts, shifts))
def test_a_view_can_be_turned_back_and_is_no_mirror_image(
    point: tuple[float, float, float],
) -> None:
    for view in VIEWS.values():
        assert view.away(view.seen(point)) == pytest.approx(point)
        # Columns, rows and depth are right-handed in both, or one would show a mirrored sample.
        assert np.linalg.det(view.axes) == pytest.approx(-1)


def test_the_stacks_of_both_sides_register_through_the_known_geometry() -> None:
    """Read B's stack at where A's voxels are: the same nuclei."""
    step_um = 1.0
    depths = np.arange(-12, 13) * step_um
    stacks = {
        side: np.stack([looks(side, Sight(0, 0, BOOT_FOCUS_UM, depth, depth)) for depth in depths])
        for side in VIEWS
    }
    samples = {}
    for side, stack in stacks.items():
        grid = np.stack(np.meshgrid(depths, depths, depths, indexing="ij"), axis=-1)  # x, y, z
        seen = grid.reshape(-1, 3) @ np.array(VIEWS[side].axes).T
        column, row = (np.rint(255.5 + seen[:, k] / PIXEL_UM).astype(int) for k in (0, 1))
        plane = np.rint(seen[:, 2] / step_um - depths[0] / step_um).astype(int)
        samples[side] = stack[plane, row, column]
    assert np.corrcoef(samples["A"], samples["B"])[0, 1] > 0.8
    mirrored = samples["B"].reshape(25, 25, 25)[::-1].ravel()
    assert np.corrcoef(samples["A"], mirrored)[0, 1] < 0.5
