"""The classical detector on phantoms, on the twin, and on what is no sample at all."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.detection import judge
from benchmarks.phantoms import EMPTY, FAINT, LOW, ORDINARY, TOUCHING, Phantom, Scene
from devices.twin import Phantom as Sample
from devices.twin import SheetGeometry
from devices.twin.optics import PIXEL_UM, LightSheet, Sight, Window
from devices.twin.sensor import Sensor
from gently.detection import Detection, DetectionError, Detectors, Picture

DETECTORS = Detectors()
# A sixteenth of the benchmark's pixels, each as noisy: quicker to make, and harder.
QUICK = ((512, 512), 0.65)


def detect(picture: Picture, **given: float) -> Detection:
    return DETECTORS.detect("classical", picture, given)


def seen(scene: Scene, seed: int) -> tuple[Phantom, Detection]:
    phantom = Phantom(scene.resized(*QUICK), seed)
    return phantom, detect(
        Picture(pixels=phantom.pixels, pixel_size_um=phantom.scene.pixel_size_um)
    )


def test_at_ordinary_contrast_every_embryo_is_found_and_nothing_else() -> None:
    verdicts = [judge(*seen(ORDINARY, seed)) for seed in range(20)]
    ious = [iou for verdict in verdicts for iou in verdict.ious]
    assert sum(verdict.found for verdict in verdicts) >= 0.95 * len(ious)
    assert np.mean(ious) >= 0.85
    assert sum(verdict.false for verdict in verdicts) == 0
    assert all(verdict.certain == verdict.objects for verdict in verdicts)


# With fewer pixels to an embryo it has to be brighter to be as faint.
@pytest.mark.parametrize("scene", [LOW, replace(FAINT, contrast=30)], ids=lambda scene: scene.name)
def test_at_low_contrast_the_middles_are_found_and_marked_as_uncertain(scene: Scene) -> None:
    verdicts = [judge(*seen(scene, seed)) for seed in range(4)]
    off_um = [um for verdict in verdicts for um in verdict.off_um]
    assert np.mean(np.array(off_um) <= 5) >= 0.95
    assert all(verdict.certain == 0 for verdict in verdicts)
    assert sum(verdict.false for verdict in verdicts) == 0


def test_an_empty_field_gives_nothing() -> None:
    for seed in range(6):
        _, detection = seen(EMPTY, seed)
        assert detection.objects == ()
        assert not detection.labels.any()


def test_embryos_that_touch_are_told_apart() -> None:
    for seed in range(6):
        phantom, detection = seen(TOUCHING, seed)
        verdict = judge(phantom, detection)
        assert verdict.objects == len(phantom.ovals)
        assert min(verdict.ious) >= 0.85


def test_a_crowd_does_not_hide_the_background() -> None:
    phantom, detection = seen(replace(ORDINARY, embryos=12, pairs=3), 1)
    verdict = judge(phantom, detection)
    assert verdict.objects == len(phantom.ovals) == 18
    assert min(verdict.ious) >= 0.85


def test_grains_of_dust_are_no_embryos_and_hide_none() -> None:
    phantom = Phantom(ORDINARY.resized(*QUICK), 0)
    pixels = phantom.pixels.copy()
    chance = np.random.default_rng(0)
    for row, column in chance.integers(5, 507, (30, 2)):
        pixels[row - 2 : row + 3, column - 2 : column + 3] += 3000
    verdict = judge(phantom, detect(Picture(pixels=pixels, pixel_size_um=0.65)))
    assert (verdict.found, verdict.false) == (len(phantom.ovals), 0)


def test_a_dim_embryo_is_found_beside_bright_ones_and_is_the_uncertain_one() -> None:
    phantom = Phantom(ORDINARY.resized(*QUICK), 0)
    dim = phantom.truth == 1
    pixels = np.where(dim, phantom.pixels - 0.8 * 300, phantom.pixels).astype(np.uint16)
    detection = detect(Picture(pixels=pixels, pixel_size_um=0.65))
    verdict = judge(phantom, detection)
    assert (verdict.found, verdict.false) == (len(phantom.ovals), 0)
    (uncertain,) = (found for found in detection.objects if not found.certain)
    assert dim[round(uncertain.row_px), round(uncertain.column_px)]


def test_labels_are_those_of_the_objects_at_the_resolution_of_the_picture() -> None:
    _, detection = seen(ORDINARY, 3)
    labels = detection.labels
    assert labels.shape == (512, 512)
    assert labels.dtype == np.uint16
    assert set(np.unique(labels)) - {0} == {found.label for found in detection.objects}
    for found in detection.objects:
        top, left, bottom, right = found.box_px
        rows, columns = np.nonzero(labels == found.label)
        assert (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1) == found.box_px
        assert found.row_px == pytest.approx(rows.mean())
        assert found.column_px == pytest.approx(columns.mean())
        assert found.area_um2 == pytest.approx(rows.size * 0.65**2)
        assert top <= found.row_px < bottom
        assert left <= found.column_px < right
        assert 25 < found.width_um < found.length_um < 60
        assert found.solidity > 0.9


def test_an_embryo_that_the_border_cuts_is_uncertain() -> None:
    phantom = Phantom(ORDINARY.resized(*QUICK), 2)
    oval = phantom.ovals[0]
    at = round(oval.x_um / 0.65 + 255.5)
    pixels = phantom.pixels[:, : at + 6]
    detection = detect(Picture(pixels=pixels, pixel_size_um=0.65))
    cut = [found for found in detection.objects if found.box_px[3] == pixels.shape[1]]
    assert len(cut) == 1
    assert not cut[0].certain


def test_embryos_are_found_whatever_the_size_of_the_pixels() -> None:
    for shape, pixel_size_um in (((1023, 1025), 0.325), ((260, 270), 1.3)):
        phantom = Phantom(ORDINARY.resized(shape, pixel_size_um), 5)
        detection = detect(Picture(pixels=phantom.pixels, pixel_size_um=pixel_size_um))
        verdict = judge(phantom, detection)
        assert verdict.objects == len(phantom.ovals)
        assert min(verdict.ious) >= 0.85
        assert detection.labels.shape == shape


def test_the_nuclei_in_an_embryo_of_the_twin_do_not_hide_it() -> None:
    sample = Sample(7)
    x, y, z = sample.embryos[0].centre_um
    at = (x + 8, y - 12)
    frame = np.empty((512, 512), np.uint16)
    window = Window(0, 0, 512, 512, 512)
    even = SheetGeometry(100, 0, 0, 0, 1e6)
    seen = LightSheet(sample, "A", even).look(Sight(*at, z), 10, window)
    Sensor(7).read(seen, (0,), frame)
    (found,) = detect(Picture(pixels=frame, pixel_size_um=PIXEL_UM, centre_um=at)).objects
    assert np.hypot(found.x_um - x, found.y_um - y) < 1
    assert found.certain


def test_objects_of_another_size_are_found_when_it_is_said() -> None:
    # The same pixels, said to be of half the size: then the embryos are half as long.
    phantom = Phantom(ORDINARY.resized(*QUICK), 4)
    picture = Picture(pixels=phantom.pixels, pixel_size_um=0.65 / 2)
    assert len(detect(picture, length_um=25, width_um=15).objects) == len(phantom.ovals)


@settings(max_examples=20, deadline=None)
@given(
    x=st.floats(-50_000, 50_000),
    y=st.floats(-50_000, 50_000),
    dx=st.floats(-120, 120),
    dy=st.floats(-120, 120),
    x_sign=st.sampled_from([1, -1]),
    y_sign=st.sampled_from([1, -1]),
    odd=st.booleans(),
)
def test_an_object_is_reported_where_it_was_put(
    x: float, y: float, dx: float, dy: float, x_sign: int, y_sign: int, odd: bool
) -> None:
    """Draw an oval at a place on the stage, by the convention written out once more."""
    size, pixel_um = 512 + odd, 0.65
    rows, columns = np.indices((size, size))
    stage_x = x + x_sign * (columns - (size - 1) / 2) * pixel_um
    stage_y = y + y_sign * (rows - (size - 1) / 2) * pixel_um
    inside = ((stage_x - x - dx) / 25) ** 2 + ((stage_y - y - dy) / 15) ** 2 <= 1
    noise = np.random.default_rng(1).normal(0, 20, inside.shape)
    pixels = (400 + 300 * inside + noise).astype(np.uint16)
    detection = detect(
        Picture(
            pixels=pixels,
            pixel_size_um=pixel_um,
            centre_um=(x, y),
            x_sign=x_sign,  # type: ignore[arg-type]
            y_sign=y_sign,  # type: ignore[arg-type]
        )
    )
    (found,) = detection.objects
    assert np.hypot(found.x_um - (x + dx), found.y_um - (y + dy)) <= 2


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    pixel_size_um=st.floats(0.01, 100),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int32, np.float32, np.float64]),
    seed=st.integers(0, 99),
)
def test_no_picture_is_too_small_or_too_odd(
    rows: int, columns: int, pixel_size_um: float, dtype: type, seed: int
) -> None:
    chance = np.random.default_rng(seed)
    pixels: NDArray[Any] = chance.integers(0, 200, (rows, columns)).astype(dtype)
    detection = detect(Picture(pixels=pixels, pixel_size_um=pixel_size_um))
    assert detection.labels.shape == (rows, columns)
    assert len(np.unique(detection.labels[detection.labels > 0])) == len(detection.objects)


@pytest.mark.parametrize("value", [0, 100, 65535])
def test_a_picture_of_one_value_has_nothing_in_it(value: int) -> None:
    pixels = np.full((600, 700), value, np.uint16)
    assert detect(Picture(pixels=pixels, pixel_size_um=0.5)).objects == ()


def test_pixels_that_are_not_finite_are_refused() -> None:
    pixels = np.zeros((64, 64), np.float32)
    pixels[3, 4] = np.nan
    with pytest.raises(DetectionError, match="not finite"):
        detect(Picture(pixels=pixels, pixel_size_um=0.5))


def test_the_pixels_may_be_mapped_and_are_not_written_to() -> None:
    phantom = Phantom(ORDINARY.resized((512, 512), 0.65), 1)
    pixels = phantom.pixels.copy()
    pixels.flags.writeable = False
    assert detect(Picture(pixels=pixels, pixel_size_um=0.65)).objects


def test_the_same_picture_gives_the_same_detection() -> None:
    (_, once), (_, again) = seen(LOW, 1), seen(LOW, 1)
    assert once.objects == again.objects
    assert np.array_equal(once.labels, again.labels)
