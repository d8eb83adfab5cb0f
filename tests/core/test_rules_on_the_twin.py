"""What a time-lapse sees on the way, on the twin: what is measured is true, and decides."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks.focus import run
from devices import Lasers, LightSheet
from devices.twin import Phantom, sheets
from gently.core.detection_values import SharpestFailedError
from gently.core.device_layer import DeviceLayer
from gently.settings import DeviceLayerSettings

SEED = 7
CENTRE_UM = Phantom(SEED).embryos[1].centre_um


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceLayer]:
    storage = tmp_path_factory.mktemp("twin")
    with DeviceLayer(DeviceLayerSettings(config="twin", storage=storage)) as layer:
        # The detectors' process lives as long as the device layer: no test is to have left it.
        run(layer, "find_embryos")
        yield layer


def embryo(name: str, x_um: float = 0.0, z_um: float = 0.0) -> dict[str, object]:
    """Return where the stage is sent: so far from where the embryo truly is."""
    x, y, z = CENTRE_UM
    return {"name": name, "x_um": x + x_um, "y_um": y, "z_um": z + z_um}


def test_how_far_an_embryo_is_from_the_middle_is_measured_and_may_end_it(
    layer: DeviceLayer,
) -> None:
    found = run(
        layer,
        "time_lapse",
        embryos=[embryo("beside", x_um=10), embryo("above", z_um=5), embryo("gone", z_um=60)],
        num_points=2,
        interval_s=0.0,
        num_slices=21,
        step_um=1.5,
        exposure_ms=2.0,
        rules=[
            {"measure": "off_xy_um", "at_least": 5.0, "is_last": True},
            {"measure": "num_objects", "below": 1.0, "is_last": True},
        ],
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


def test_a_sheet_that_has_drifted_is_followed_in_the_middle_of_a_time_lapse(
    layer: DeviceLayer,
) -> None:
    sheet = layer.instrument.devices["light_sheet"]
    assert isinstance(sheet, LightSheet)
    true = sheets(SEED)["A"]
    used = sheet.calibration("a")
    sheet.calibrate("a", replace(used, offset_um=used.offset_um + 2))
    asked = {"num_points": 3, "interval_s": 0.0, "num_slices": 3, "num_points_per_focus": 2}
    found = run(layer, "time_lapse", embryos=[embryo("here")], **asked)["embryos"]["here"]
    assert (found["focus"]["num_tried"], found["focus"]["num_refused"]) == (2, 0)
    assert found["num_taken"] == 3
    assert sheet.calibration("a").offset_um == pytest.approx(true.offset_um, abs=0.5)
    assert layer.doses.total("here").light_ms > 3 * 3 * 5.0  # that of the focus is the embryo's
    nobody = run(layer, "time_lapse", embryos=[embryo("nobody", x_um=90)], **asked)
    assert nobody["embryos"]["nobody"]["focus"]["num_refused"] == 2
    assert nobody["num_taken"] == 3


@pytest.mark.parametrize("unit", ["light_budget_ms", "energy_budget_mj"])
def test_an_embryo_is_left_alone_before_a_time_point_or_its_focus_would_exceed_its_budget(
    layer: DeviceLayer, unit: str
) -> None:
    line = layer.instrument.devices["lasers"]
    assert isinstance(line, Lasers)
    one = line.line("488")
    assert one.mw_per_percent is not None
    mj_per_ms = one.default_percent * one.mw_per_percent / 1000
    point_ms, focus_ms = 3 * 5.0, (7 + 13) * 5.0  # slices of a sweep by 5 µm, and by 0.5 µm

    def given_ms(name: str, budget_ms: float) -> float:
        """Take what a budget allows, and return what that came to."""
        budget = budget_ms * (mj_per_ms if unit == "energy_budget_mj" else 1)
        asked = {"num_points": 4, "interval_s": 0.0, "num_slices": 3, "num_points_per_focus": 2}
        found = run(layer, "time_lapse", embryos=[embryo(name)], **asked, **{unit: budget})
        assert found["embryos"][name]["ended_by"].startswith("budget: the next would make ")
        return layer.doses.total(name).light_ms

    first_ms, second_ms = focus_ms + point_ms, focus_ms + 2 * point_ms
    assert given_ms(f"none {unit}", first_ms - 1) == 0
    assert given_ms(f"first {unit}", first_ms + 1) == pytest.approx(first_ms)
    assert given_ms(f"second {unit}", second_ms + focus_ms) == pytest.approx(second_ms)
    assert given_ms(f"second {unit}", second_ms + point_ms) == pytest.approx(second_ms)


def test_a_focus_that_nobody_can_look_for_stops_nothing(
    layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(uid: str, _: str) -> None:
        raise SharpestFailedError(f"the focus of {uid} was not found: its process died")

    monkeypatch.setattr(layer.detections, "sharpest", die)
    asked = {"num_points": 2, "interval_s": 0.0, "num_slices": 3, "num_points_per_focus": 1}
    found = run(layer, "time_lapse", embryos=[embryo("here")], **asked)["embryos"]["here"]
    assert found["num_taken"] == 2
    assert found["focus"]["num_refused"] == 2
    assert "its process died" in found["focus"]["last"]["a"]["reason"]
