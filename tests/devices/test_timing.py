"""The timing of a slice: the rig's numbers, and what no controller could do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices import LimitError
from devices.timing import CameraClock, Timing, slice_timing

RIG = CameraClock(readout_ms=8.0)


def test_five_milliseconds_give_the_numbers_of_the_rig() -> None:
    found = slice_timing(5.0, RIG, filter_khz=0.3)
    assert found == Timing(
        scan_delay_ms=6.75,
        scan_ms=5.5,
        laser_delay_ms=8.0,
        laser_ms=5.0,
        camera_delay_ms=8.0,
        camera_pulse_ms=1.0,
    )
    assert found.slice_ms == 13.0


QUARTERS = st.integers(1, 200).map(lambda quarters: quarters / 4)


@given(
    exposure_ms=QUARTERS,
    readout_ms=st.floats(1, 20),
    reset_ms=st.floats(0, 2),
    filter_khz=st.sampled_from([0.4, 0.8, 1.6]),
)
def test_light_is_on_for_the_exposure_while_all_rows_expose_and_the_sheet_scans(
    exposure_ms: float, readout_ms: float, reset_ms: float, filter_khz: float
) -> None:
    camera = CameraClock(readout_ms=readout_ms, reset_ms=reset_ms)
    found = slice_timing(exposure_ms, camera, filter_khz=filter_khz)
    assert found.laser_ms == exposure_ms
    assert found.camera_delay_ms >= readout_ms - 1e-6
    assert found.laser_delay_ms >= found.camera_delay_ms + reset_ms - 1e-6
    mirror_ms = found.scan_delay_ms + 0.39 / filter_khz - 0.25
    assert mirror_ms <= found.laser_delay_ms - 0.25 + 0.125
    assert mirror_ms + found.scan_ms >= found.laser_delay_ms + found.laser_ms + 0.25 - 0.125
    assert all(ms >= 0 and (4 * ms).is_integer() for ms in vars(found).values())


@pytest.mark.parametrize("exposure_ms", [0.0, -1.0, 0.1, 5.1])
def test_an_exposure_that_cannot_be_counted_is_refused_with_one_that_can(
    exposure_ms: float,
) -> None:
    with pytest.raises(LimitError, match=r"steps of 0\.25 ms.* Ask for") as refused:
        slice_timing(exposure_ms, RIG, filter_khz=0.3)
    assert refused.value.field == "exposure_ms"


def test_a_mirror_that_lags_more_than_the_camera_takes_is_refused() -> None:
    with pytest.raises(LimitError, match=r"0\.75 ms before its slice begins.*more rows") as refused:
        slice_timing(5.0, CameraClock(readout_ms=0.5), filter_khz=0.3)
    assert refused.value.field == "roi"
