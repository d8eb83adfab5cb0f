"""The sample is what its seed says."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.twin import Embryo, Phantom
from devices.twin.phantom import BOOT_FOCUS_UM


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_seed_stands_for_several_embryos_apart_from_each_other_the_first_in_view(
    seed: int,
) -> None:
    embryos = Phantom(seed).embryos
    assert Phantom(seed).embryos == embryos
    assert len(embryos) >= 5
    assert list(embryos[0].centre_um) == [0, 0, BOOT_FOCUS_UM]
    for one, other in itertools.combinations(embryos, 2):
        longest = one.semi_axes_um[0] + other.semi_axes_um[0]
        assert math.dist(one.centre_um[:2], other.centre_um[:2]) > longest


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_embryo_is_an_oval_of_50_by_30_um_with_its_nuclei_inside(seed: int) -> None:
    for embryo in Phantom(seed).embryos:
        assert 2 * embryo.semi_axes_um[0] == pytest.approx(50, rel=0.1)
        assert 2 * embryo.semi_axes_um[1] == pytest.approx(30, rel=0.1)
        assert math.hypot(*embryo.long_axis) == pytest.approx(1)
        assert len(embryo.nuclei) >= 10
        assert all(_is_inside(embryo, nucleus.centre_um) for nucleus in embryo.nuclei)


def _is_inside(embryo: Embryo, point_um: tuple[float, float, float]) -> bool:
    x, y, z = (p - c for p, c in zip(point_um, embryo.centre_um, strict=True))
    cos, sin = embryo.long_axis
    a, b, c = embryo.semi_axes_um
    return ((x * cos + y * sin) / a) ** 2 + ((y * cos - x * sin) / b) ** 2 + (z / c) ** 2 < 1


def test_another_seed_is_another_sample() -> None:
    assert Phantom(1).embryos != Phantom(2).embryos
