"""Focus, calibration and survey on the twin, which knows the truth; 20 seeds are a benchmark."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.focus import EMPTY_UM, POWER_PERCENT, middle_um, run, survey, twin
from devices import LightSheet
from devices.twin import Phantom, sheets
from gently.core.calibrations import Calibrations
from gently.core.device_layer import DeviceLayer
from gently.core.items import Item

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


def test_a_calibration_outlives_the_device_layer_and_does_not_get_truer_by_its_end(
    layer: DeviceLayer, tmp_path: Path
) -> None:
    sheet = sheet_of(layer)
    told = {"slope_um_per_deg": 99.0, "offset_um": 1.0, "residual_um": 0.1, "quality": "good"}
    told["drift_um"] = 0.0
    used = sheet.calibration("b")
    path = tmp_path / "kept.json"
    for valid_s, refuses in ((60, False), (-1, True)):
        uid = Calibrations(path, "twin").keep(sheet, "b", told, valid_s)
        sheet.calibrate("b", used)
        Calibrations(path, "twin").apply(layer.instrument.devices)
        assert sheet.calibration("b").uid == uid
        item = Item(name="acquire_volume", kwargs={"num_slices": 3, "view": "b"})
        report = layer.preflight(item)
        assert report.ok != refuses
        assert ("Calibrate again" in str(report.refusals)) == refuses
        assert layer.preflight(Item(name="calibrate_piezo_galvo", kwargs={"view": "b"})).ok
    sheet.calibrate("b", used)


def test_a_plan_that_lasts_longer_than_its_calibration_may_be_used_says_so(
    layer: DeviceLayer,
) -> None:
    sheet = sheet_of(layer)
    used = sheet.calibration("a")
    sheet.calibrate("a", replace(used, valid_until_s=time.time() + 3600))
    embryo = {"name": "slow", "x_um": 0.0, "y_um": 0.0}
    kwargs = {"embryos": [embryo], "num_points": 50, "interval_s": 600.0, "num_slices": 3}
    report = layer.preflight(Item(name="time_lapse", kwargs=kwargs))
    sheet.calibrate("a", used)
    assert report.ok
    assert "lasts longer than it may" in str(report.warnings)
    assert "longer" not in str(layer.preflight(Item(name="time_lapse", kwargs=kwargs)).warnings)


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


def test_a_volume_is_taken_around_the_middle_of_an_embryo_of_unknown_height(
    layer: DeviceLayer,
) -> None:
    x_um, y_um, z_um = Phantom(SEED).embryos[2].centre_um
    run(layer, "move_focus", z_um=150.0)
    embryo = {"name": "high", "x_um": x_um, "y_um": y_um}
    found = run(layer, "acquire_embryo", embryo=embryo, power_percent=POWER_PERCENT, num_slices=5)
    assert found["middle"]["quality"] == "good"
    assert middle_um(layer, found["volume"]["uid"]) == pytest.approx((x_um, y_um, z_um), abs=2)


def test_a_sheet_that_has_drifted_is_followed_by_its_calibration(layer: DeviceLayer) -> None:
    sheet = sheet_of(layer)
    true = sheet.calibration("a")
    sheet.calibrate("a", replace(true, offset_um=true.offset_um + 4))
    found = run(layer, "acquire_embryo", embryo=third(), power_percent=POWER_PERCENT, num_slices=5)
    used = sheet.calibration("a")
    assert found["focus"]["offset_um"] == pytest.approx(-4, abs=0.5)
    assert used.uid == found["focus"]["calibration_uid"]
    assert used.offset_um == pytest.approx(TRUTH.offset_um, abs=0.5)
    assert used.slope_um_per_deg == true.slope_um_per_deg
    taken = layer.store.record(found["volume"]["uid"]).spec.metadata["calibration"]
    assert isinstance(taken, dict)
    assert taken["uid"] == used.uid
    (*_, kept) = json.loads((layer.store.root / "calibrations.json").read_text(encoding="utf-8"))
    assert (kept["uid"], kept["source"]) == (used.uid, "focus")
    assert kept["drift_um"] == pytest.approx(4, abs=0.5)
    # Its slope is no newer for that.
    assert (kept["slope_uid"], kept["valid_until"]) == (true.uid, true.valid_until_s)

    again = run(layer, "focus", power_percent=POWER_PERCENT)
    assert again["calibration_uid"] == ""
    assert abs(again["offset_um"]) < 0.1


def test_no_volume_is_taken_where_the_sheet_is_further_away_than_it_drifts(
    layer: DeviceLayer,
) -> None:
    sheet = sheet_of(layer)
    true = sheet.calibration("a")
    sheet.calibrate("a", replace(true, offset_um=true.offset_um + 7))
    found = run(layer, "acquire_embryo", embryo=third(), power_percent=POWER_PERCENT, num_slices=5)
    assert sheet.calibration("a").uid == true.uid
    sheet.calibrate("a", true)
    assert found["volume"] is None
    assert found["focus"]["calibration_uid"] == ""
    assert found["focus"]["offset_um"] == pytest.approx(-7, abs=0.5)
    assert found["focus"]["at_um"] == pytest.approx(found["focus"]["best_um"] + 7, abs=0.5)
    assert "Calibrate again" in found["focus"]["reason"]


def third() -> dict[str, Any]:
    x_um, y_um, z_um = Phantom(SEED).embryos[1].centre_um
    return {"name": "third", "x_um": x_um, "y_um": y_um, "z_um": z_um}


def sheet_of(layer: DeviceLayer) -> LightSheet:
    sheet = layer.instrument.devices["light_sheet"]
    assert isinstance(sheet, LightSheet)
    return sheet


def test_an_empty_field_is_refused_and_nothing_is_changed(layer: DeviceLayer) -> None:
    run(layer, "move_stage", x_um=EMPTY_UM[0], y_um=EMPTY_UM[1])
    for name in ("focus", "calibrate_piezo_galvo"):
        found = run(layer, name, power_percent=POWER_PERCENT)
        assert found["quality"] == "refused"
        assert "nothing in the field" in found["reason"]
    embryo = {"name": "nobody", "x_um": EMPTY_UM[0], "y_um": EMPTY_UM[1]}
    found = run(layer, "acquire_embryo", embryo=embryo, power_percent=POWER_PERCENT)
    assert found["volume"] is None
