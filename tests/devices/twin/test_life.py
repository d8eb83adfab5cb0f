"""What becomes of the sample: it divides, drifts and bleaches, each only when it is told to."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.twin import Phantom
from devices.twin.phantom import Embryo
from tests.devices.twin.rig import CAMERA, GATE, HUB, LASERS, Rig, centroid
from tests.devices.twin.test_devices import EDGE

LATE_S = 4 * 3600.0


def q2(embryo: Embryo, point: tuple[float, float, float]) -> float:
    x, y, z = (p - c for p, c in zip(point, embryo.centre_um, strict=True))
    cos, sin = embryo.long_axis
    a, b, c = embryo.semi_axes_um
    return ((x * cos + y * sin) / a) ** 2 + ((y * cos - x * sin) / b) ** 2 + (z / c) ** 2


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_nucleus_divides_once_into_two_that_part_and_stay_in_the_embryo(seed: int) -> None:
    for young in Phantom(seed).embryos:
        assert young.at(0) == young
        old = young.at(LATE_S)
        assert len(old.nuclei) == 2 * len(young.nuclei)
        assert old == young.at(10 * LATE_S)
        for mother, (one, other) in zip(
            young.nuclei, zip(old.nuclei[::2], old.nuclei[1::2], strict=True), strict=True
        ):
            assert math.dist(one.centre_um, other.centre_um) == pytest.approx(4.6)
            middle = np.mean([one.centre_um, other.centre_um], axis=0)
            assert middle == pytest.approx(mother.centre_um)
            assert one.radius_um < mother.radius_um
            assert max(q2(young, one.centre_um), q2(young, other.centre_um)) < 1.05
            begun = mother.at(mother.divides_s)
            assert math.dist(begun[0].centre_um, begun[1].centre_um) == 0
    counts = [len(young.at(hours * 3600).nuclei) for hours in (0, 1, 2, 3)]
    assert counts == sorted(counts)


def test_the_picture_follows_the_samples_own_time_which_stands_still(rig: Rig) -> None:
    rig.light(on=True)
    first, again = rig.frames(1, 5)[0], rig.frames(1, 5)[0]
    assert np.array_equal(first, again)
    rig.set(HUB, "SampleTimeS", LATE_S)
    late = rig.frames(1, 5)[0]
    assert np.corrcoef(first.ravel(), late.ravel())[0, 1] < 0.97
    rig.set(HUB, "SampleTimeS", 0)
    assert np.array_equal(rig.frames(1, 5)[0], first)
    rig.set(HUB, "SampleSpeed", 3600)
    rig.frames(3, 5)
    assert rig.get(HUB, "SampleTimeS") > 3600 * 0.015


def test_a_sample_that_drifts_is_seen_where_the_truth_says(rig: Rig) -> None:
    rig.light(on=True)
    rig.set(HUB, "DriftUmPerHour", 6)
    before = centroid(rig.frames(1, 5)[0], EDGE)
    rig.set(HUB, "SampleTimeS", 300)  # before anything divides
    world = rig.hub.world
    x_um, y_um, _ = world.embryos[0].centre_um
    assert math.hypot(x_um, y_um) > 0.05
    rig.set(HUB, "DriftUmPerHour", 60)
    x_um, y_um, _ = world.embryos[0].centre_um
    after = centroid(rig.frames(1, 5)[0], EDGE)
    moved = (before[0] + x_um / 0.1625, before[1] - y_um / 0.1625)
    assert after == pytest.approx(moved, abs=1.5)


def test_light_bleaches_the_embryos_it_falls_on(rig: Rig) -> None:
    rig.light(on=True)
    fresh = rig.frames(1, 5)[0].astype(float)
    rig.set(LASERS, "Laser 637-140C - PowerSetpoint (%)", 100)
    rig.set(LASERS, "Laser 637-140C - State", "On")
    rig.set(HUB, "Bleaching", "On")
    rig.set(GATE, "OutputChannel", "outputs 5-8")
    rig.frames(20, 50)  # 146 mW
    rig.set(LASERS, "Laser 637-140C - PowerSetpoint (%)", 0)
    counted = rig.hub.world.light.count().embryos[0]
    left = 1 / (1 + sum(counted.values()) / 500_000)
    pale = rig.frames(1, 5)[0].astype(float)
    bright = fresh > 300
    expected = (fresh[bright].mean() - 100) * left + 100
    assert left < 0.85
    assert pale[bright].mean() == pytest.approx(expected, rel=0.03)


def test_hot_pixels_are_where_the_sensor_has_them(rig: Rig) -> None:
    whole = rig.frames(1, 5)[0]
    hot = whole > 180
    assert 1 <= hot.sum() <= 20
    rig.core.ask(CAMERA, lambda mmc: mmc.setROI(CAMERA, 896 + 64, 896 + 32, 256, 256))
    part = rig.frames(1, 5)[0]
    np.testing.assert_array_equal(part > 180, hot[32 : 32 + 256, 64 : 64 + 256])
