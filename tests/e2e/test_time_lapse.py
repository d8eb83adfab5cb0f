"""The short form of `python -m tests.e2e.long_time_lapse`, which takes a hundred time points."""

from pathlib import Path

from tests.e2e.conftest import DeviceLayers
from tests.e2e.long_time_lapse import Asked, Lapse


def test_killed_twice_in_the_middle_of_a_volume_it_goes_on_and_every_frame_and_pulse_is_counted(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    asked = Asked(embryos=3, points=6, slices=5, kills=(0.25, 0.6), limit_s=120)
    found = Lapse(tmp_path, asked, device_layer).run()
    assert found.frames == 3 * 6 * 5
    assert sum(portion.ms for portion in found.died_under.values()) == 2 * 5 * 2.0
