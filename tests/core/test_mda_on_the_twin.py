"""Sequences of useq-schema, and tiles, with laser lines and from both sides, on the twin."""

from collections.abc import Iterator

import pytest

from benchmarks.focus import run
from gently.core.device_layer import DeviceLayer
from gently.core.errors import PlanRefusedError
from gently.settings import DeviceLayerSettings
from storage import VolumeRecord

SEQUENCE = {
    "stage_positions": [{"x": 0, "y": 0, "name": "here"}, {"x": 200, "y": 0, "name": "there"}],
    "z_plan": {"range": 4, "step": 2},
    "channels": [{"config": "561", "exposure": 2}, {"config": "488"}],
}


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceLayer]:
    storage = tmp_path_factory.mktemp("twin")
    with DeviceLayer(DeviceLayerSettings(config="twin", storage=storage)) as layer:
        yield layer


def volumes(layer: DeviceLayer, acquisition_uid: str) -> dict[tuple[str, str], VolumeRecord]:
    """Return what there is of an acquisition, by place and channel."""
    found = layer.store.query(acquisition=acquisition_uid)
    return {(one.spec.embryo, one.spec.channel): one for one in found}


def test_each_channel_has_its_exposure_and_its_power_on_both_sides(layer: DeviceLayer) -> None:
    asked = {"sequence": SEQUENCE, "exposure_ms": 5.0, "view": "dual", "powers_percent": [4, 3]}
    told = run(layer, "run_mda", **asked)
    assert told["num_taken"] == 8
    found = volumes(layer, told["acquisition_uid"])
    assert set(found) == {
        (place, f"{line} {side}")
        for place in ("here", "there")
        for line in ("488", "561")
        for side in ("a", "b")
    }
    for (place, channel), one in found.items():
        line, side = channel.split()
        light = one.spec.metadata["light"]
        assert isinstance(light, dict)
        assert one.spec.metadata["view"] == side
        assert (light["line"], light["percent"]) == (line, {"561": 4, "488": 3}[line])
        assert one.spec.exposure_ms == {"561": 2, "488": 5}[line]
        assert one.spec.positions_um["xy_stage.x"] == pytest.approx(
            {"here": 0, "there": 200}[place], abs=1
        )

    again = run(layer, "run_mda", **asked, acquisition_uid=told["acquisition_uid"])
    assert (again["num_taken"], again["num_found"]) == (0, 8)


def test_of_a_side_that_is_there_already_only_the_other_is_taken(layer: DeviceLayer) -> None:
    first = run(layer, "run_mda", sequence=SEQUENCE, exposure_ms=5.0, view="dual")
    uid = first["acquisition_uid"]
    lost = volumes(layer, uid)["there", "488 b"]
    layer.store.trash(lost.uid, reason="out of focus", by="test")
    again = run(layer, "run_mda", sequence=SEQUENCE, view="dual", acquisition_uid=uid)
    assert (again["num_taken"], again["num_found"]) == (1, 7)
    found = volumes(layer, uid)["there", "488 b"]
    assert found.uid != lost.uid
    assert found.spec.metadata["view"] == "b"


def test_tiles_are_taken_in_the_light_that_is_asked_for(layer: DeviceLayer) -> None:
    asked = {"line": "561", "power_percent": 5, "exposure_ms": 5.0}
    (tile,) = run(layer, "tile_scan", width_um=0, height_um=0, **asked)["tiles"]
    told = layer.store.record(tile["uid"]).spec.metadata
    light = told["light"]
    assert isinstance(light, dict)
    assert (light["line"], light["percent"]) == ("561", 5)


def test_a_grid_has_to_say_what_a_tile_of_side_b_shows(layer: DeviceLayer) -> None:
    grid = {"rows": 1, "columns": 2}
    with pytest.raises(PlanRefusedError, match="say with fov_width") as refused:
        run(layer, "run_mda", sequence={**SEQUENCE, "grid_plan": grid}, view="b")
    assert [error.field for error in refused.value.errors] == ["sequence"]


def test_powers_are_those_of_the_channels(layer: DeviceLayer) -> None:
    with pytest.raises(PlanRefusedError, match="1 powers do not fit 2 laser lines"):
        run(layer, "run_mda", sequence=SEQUENCE, powers_percent=[3])
