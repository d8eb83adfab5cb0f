"""Focus, calibration and survey on the twin, which knows the truth; 20 seeds are a benchmark."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.focus import EMPTY_UM, POWER_PERCENT, run, survey, twin
from devices import LightSheet
from devices.triggered import TriggeredSlicer
from devices.twin import Phantom, sheets
from gently.core.calibrations import Calibrations
from gently.core.device_layer import DeviceLayer

SEED = 5
TRUTH = sheets(SEED)["A"]


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceLayer]:
    """Give a twin of which the instrument file knows the calibration wrongly."""
    with twin(SEED, tmp_path_factory.mktemp("twin")) as layer:
        # The detectors' process lives as long as the device layer: no test is to have left it.
        run(layer, "find_embryos", light_sheet="bottom")
        yield layer


def test_every_embryo_is_found_once_by_the_camera_below_and_where_it_is(
    layer: DeviceLayer,
) -> None:
    found = survey(layer, SEED)
    assert (found["recall"], found["false"]) == (1, 0)
    assert found["place_off_um"] <= 2


def test_the_focus_is_found_and_gone_to(layer: DeviceLayer) -> None:
    found = run(layer, "focus", power_percent=POWER_PERCENT, step_um=2.5)
    assert found["quality"] == "good"
    assert found["at_um"] == pytest.approx(TRUTH.sheet_um(0.0), abs=0.5)
    run(layer, "move_focus", z_um=0.0, drive="piezo_a")


def test_a_calibration_is_found_kept_used_and_named_by_each_volume(layer: DeviceLayer) -> None:
    found = run(layer, "calibrate_piezo_galvo", power_percent=POWER_PERCENT)
    assert found["slope_um_per_deg"] == pytest.approx(TRUTH.slope_um_per_deg, rel=0.01)
    assert found["offset_um"] == pytest.approx(TRUTH.offset_um, abs=0.5)

    checked = run(layer, "calibrate_piezo_galvo", power_percent=POWER_PERCENT, purpose="check")
    assert checked["drift_um"] < 0.5
    assert checked["uid"] == ""

    uid = run(layer, "acquire_volume", num_slices=3)["uid"]
    used = layer.store.record(uid).spec.metadata["calibration"]
    assert isinstance(used, dict)
    assert used["uid"] == found["uid"]


def test_a_calibration_outlives_the_device_layer_until_it_is_no_longer_valid(
    layer: DeviceLayer, tmp_path: Path
) -> None:
    sheet = layer.instrument.devices["light_sheet"]
    assert isinstance(sheet, LightSheet)
    told = {"slope_um_per_deg": 99.0, "offset_um": 1.0, "residual_um": 0.1, "quality": "good"}
    for valid_s, deg in ((60, 1.0), (-1, 1.5)):
        path = tmp_path / f"{deg}.json"
        Calibrations(path, "twin").keep(sheet, "b", told, valid_s)
        Calibrations(tmp_path / "none.json", "twin").keep(
            sheet, "b", {**told, "slope_um_per_deg": 66.0}, 60
        )
        Calibrations(path, "twin").apply(layer.instrument.devices)
        assert sheet.galvo_deg("b", 100.0) == pytest.approx(deg)


def test_an_embryo_is_acquired_in_focus_and_its_light_is_its_own(layer: DeviceLayer) -> None:
    x_um, y_um, z_um = Phantom(SEED).embryos[1].centre_um
    embryo = {"name": "second", "x_um": x_um, "y_um": y_um, "z_um": z_um}
    found = run(layer, "acquire_embryo", embryo=embryo, power_percent=POWER_PERCENT, num_slices=5)
    record = layer.store.record(found["volume"]["uid"])
    assert record.spec.embryo == "second"
    assert record.spec.start_um("x") == pytest.approx(x_um, abs=2)
    (dose,) = layer.doses.doses(embryo="second")
    assert dose.volumes == 3
    assert dose.dose.energy_mj is not None


def test_no_volume_is_taken_where_the_sheet_is_not_where_its_calibration_has_it(
    layer: DeviceLayer,
) -> None:
    sheet = layer.instrument.devices["light_sheet"]
    assert isinstance(sheet, LightSheet)
    slicer = sheet.slicer
    assert isinstance(slicer, TriggeredSlicer)
    true = slicer.views["a"].calibration
    x_um, y_um, z_um = Phantom(SEED).embryos[1].centre_um
    embryo = {"name": "third", "x_um": x_um, "y_um": y_um, "z_um": z_um}
    sheet.calibrate("a", replace(true, offset_um=true.offset_um + 4))
    found = run(layer, "acquire_embryo", embryo=embryo, power_percent=POWER_PERCENT, num_slices=5)
    sheet.calibrate("a", true)
    assert found["volume"] is None
    assert found["focus"]["offset_um"] == pytest.approx(-4, abs=0.5)
    assert found["focus"]["at_um"] == pytest.approx(found["focus"]["best_um"] + 4, abs=0.5)
    assert "Calibrate again" in found["focus"]["reason"]


def test_an_empty_field_is_refused_and_nothing_is_changed(layer: DeviceLayer) -> None:
    run(layer, "move_stage", x_um=EMPTY_UM[0], y_um=EMPTY_UM[1])
    for name in ("focus", "calibrate_piezo_galvo"):
        found = run(layer, name, power_percent=POWER_PERCENT)
        assert found["quality"] == "refused"
        assert "nothing in the field" in found["reason"]
    embryo = {"name": "nobody", "x_um": EMPTY_UM[0], "y_um": EMPTY_UM[1]}
    found = run(layer, "acquire_embryo", embryo=embryo, power_percent=POWER_PERCENT)
    assert found["volume"] is None
