"""The camera's exposure: limited, set in ms, and told as the camera has really taken it."""

import math
from typing import Any

import numpy as np
import pytest

from devices import LimitError
from tests.devices.demo import CAMERA, Bench


@pytest.mark.parametrize("exposure_ms", [0.1, 5, 20.5, np.float32(8), 10_000])
def test_an_exposure_within_the_limits_is_taken_and_read_back(
    bench: Bench, exposure_ms: Any
) -> None:
    bench.camera.set(exposure_ms).wait(10)
    found = bench.camera.read()["camera_exposure"]["value"]
    assert found == pytest.approx(float(exposure_ms))


@pytest.mark.parametrize(
    "exposure_ms", [0, -5, 0.0999, 10_000.001, math.nan, math.inf, True, "5", None, (5,)], ids=repr
)
def test_an_exposure_outside_is_refused_by_name_and_changes_nothing(
    bench: Bench, exposure_ms: Any
) -> None:
    before = bench.core.exposure_ms(CAMERA)
    with pytest.raises(LimitError, match=r"camera\.exposure_ms") as refused:
        bench.camera.set(exposure_ms)
    assert refused.value.field == "exposure_ms"
    with pytest.raises(LimitError):
        bench.camera.check_value(exposure_ms)
    assert bench.core.exposure_ms(CAMERA) == before


def test_it_tells_the_format_of_its_frames(bench: Bench) -> None:
    assert bench.camera.frame_format() == (512, 512, np.dtype("uint16"))


def test_its_exposure_has_units(bench: Bench) -> None:
    assert bench.camera.describe()["camera_exposure"]["units"] == "ms"
    assert bench.camera.pixel_size_um == 1.0
