"""The plan in the guide is offered, refused and run by a real device layer on the twin."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gently.core import device_layer
from gently.core.device_layer import DeviceLayer
from gently.core.errors import PlanRefusedError
from gently.core.queue import Item
from gently.settings import DeviceLayerSettings
from plans import ALL_PLANS
from tests.docs.markdown import DOCS, blocks
from tests.docs.reader import free_port


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceLayer]:
    (code,) = (b for b in blocks(DOCS / "how-to" / "write-a-plan.md") if b.language == "python")
    module: dict[str, Any] = {"__name__": "plans.row"}
    exec(compile(code.text, str(code), "exec"), module)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_layer, "ALL_PLANS", (*ALL_PLANS, module["row"]))
        storage: Path = tmp_path_factory.mktemp("storage")
        with DeviceLayer(DeviceLayerSettings(storage=storage, port=free_port())) as layer:
            yield layer


def test_its_signature_is_its_schema(layer: DeviceLayer) -> None:
    schema = layer.catalogue["row"].json_schema
    assert schema["required"] == ["count"]
    count, exposure = schema["properties"]["count"], schema["properties"]["exposure_ms"]
    assert (count["minimum"], count["maximum"]) == (1, 100)
    assert exposure["x-limits"] == {"light_sheet": [0.25, 10.0], "bottom": [0.1, 1000.0]}
    assert schema["properties"]["stage"]["enum"] == ["xy_stage"]


def test_it_is_refused_before_anything_moves(layer: DeviceLayer) -> None:
    with pytest.raises(PlanRefusedError, match=r"count: input should be less than or equal to"):
        layer.check(Item(name="row", kwargs={"count": 1000}))
    far = Item(name="row", kwargs={"count": 3, "pitch_um": 900.0})
    with pytest.raises(PlanRefusedError, match=r"xy_stage\.x .*limits"):
        layer.preflight(far).raise_refusals()  # to the end, however busy the machine is
    assert layer.read_device("xy_stage")["readings"]["xy_stage_x"]["value"] == 0


def test_it_takes_its_volumes_side_by_side(layer: DeviceLayer) -> None:
    item = Item(name="row", kwargs={"count": 2, "pitch_um": 20.0})
    layer.execute(item)
    while not (result := layer.queue.find(item.item_uid).result):
        time.sleep(0.02)
    assert result.exit_status == "completed", result.msg
    volumes = [layer.store.record(v["uid"]).spec for v in result.return_value["volumes"]]
    assert [spec.positions_um["xy_stage.x"] for spec in volumes] == pytest.approx([0, 20], abs=1)
    assert len(result.run_uids) == 2
