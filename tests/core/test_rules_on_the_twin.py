"""Rules on what is seen, on the twin: what is measured is true, and what is measured decides."""

from pathlib import Path

import pytest

from benchmarks.focus import run
from devices.twin import Phantom
from gently.core.device_layer import DeviceLayer
from gently.settings import DeviceLayerSettings

SEED = 7
CENTRE_UM = Phantom(SEED).embryos[1].centre_um


def embryo(name: str, x_um: float, z_um: float) -> dict[str, object]:
    """Return where the stage is sent: so far from where the embryo truly is."""
    x, y, z = CENTRE_UM
    return {"name": name, "x_um": x + x_um, "y_um": y, "z_um": z + z_um}


def test_how_far_an_embryo_is_from_the_middle_is_measured_and_may_end_it(
    tmp_path: Path,
) -> None:
    rules = [
        {"measure": "off_xy_um", "at_least": 5.0, "is_last": True},
        {"measure": "num_objects", "below": 1.0, "is_last": True},
    ]
    embryos = [embryo("beside", 10, 0), embryo("above", 0, 5), embryo("gone", 0, 60)]
    with DeviceLayer(DeviceLayerSettings(config="twin", storage=tmp_path / "data")) as layer:
        found = run(
            layer,
            "time_lapse",
            embryos=embryos,
            num_points=2,
            interval_s=0.0,
            num_slices=21,
            step_um=1.5,
            exposure_ms=2.0,
            rules=rules,
        )["embryos"]
    beside, above, gone = (found[one] for one in ("beside", "above", "gone"))
    assert beside["ended_by"] == gone["ended_by"] == "rule"
    assert above["ended_by"] == "num_points"
    assert beside["seen"]["off_xy_um"] == pytest.approx(10, abs=1)
    assert beside["seen"]["off_z_um"] == pytest.approx(0, abs=1)
    assert above["seen"]["off_z_um"] == pytest.approx(5, abs=1)
    assert above["seen"]["off_xy_um"] == pytest.approx(0, abs=1)
    assert gone["seen"]["num_objects"] == 0
    assert gone["seen"]["off_xy_um"] is None
    assert {one["num_unseen"] for one in found.values()} == {0}
