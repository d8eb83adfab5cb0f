"""The documents of every plan, however it ends, are what event-model says they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from event_model import DocumentNames, schema_validators

from gently.core.device_layer import DeviceLayer
from gently.core.queue import Item
from gently.core.runner import Order
from plans import ALL_PLANS
from storage import Document
from tests.core.lab import result
from tests.demo import begin, demo_layer, ended, put_back
from tests.waiting import until

PLANS: dict[str, dict[str, Any]] = {
    "acquire_volume": {"num_slices": 4, "exposure_ms": 1, "step_um": 1},
    "snap": {"exposure_ms": 1},
    "move_stage": {"x_um": 10, "y_um": -10},
    "move_focus": {"z_um": 5},
    "read_position": {},
    "sleep": {"duration_s": 0.01},
    "time_lapse": {
        "embryos": [{"name": "one", "x_um": 10.0, "y_um": -10.0}],
        "num_points": 2,
        "interval_s": 0.0,
        "num_slices": 2,
        "exposure_ms": 1,
    },
    "burst": {"num_volumes": 2, "num_slices": 2, "exposure_ms": 1},
    "tile_scan": {"width_um": 600.0, "height_um": 400.0, "exposure_ms": 1},
    "run_mda": {"sequence": {"z_plan": {"range": 2, "step": 1}}, "exposure_ms": 1},
}
ON_THE_TWIN = {"acquire_embryo", "calibrate_piezo_galvo", "find_embryos", "focus"}
"""They need an embryo, and the detectors' process."""
VOLUMES = ("acquire_volume", "snap", "time_lapse", "burst", "tile_scan", "run_mda")


@pytest.fixture(scope="module")
def shared_layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceLayer]:
    with demo_layer(tmp_path_factory.mktemp("storage")) as layer:
        yield layer


@pytest.fixture
def layer(shared_layer: DeviceLayer) -> Iterator[DeviceLayer]:
    yield shared_layer
    put_back(shared_layer)


def documents(layer: DeviceLayer, item: Item) -> list[Document]:
    """Return what is kept of an item, once it has ended; all of it is valid."""
    kept = [
        document
        for run_uid in result(ended(layer, item))["run_uids"]
        for document in layer.documents.replay(run_uid)
    ]
    for name, document in kept:
        schema_validators[DocumentNames[name]].validate(document)
    return kept


def test_every_plan_is_tried_here() -> None:
    assert set(PLANS) | ON_THE_TWIN == {plan.__name__ for plan in ALL_PLANS}


@pytest.mark.parametrize("name", PLANS)
def test_the_documents_of_every_plan_are_valid_and_kept_as_they_went_out(
    layer: DeviceLayer, name: str
) -> None:
    item = begin(layer, name, **PLANS[name])
    kept = documents(layer, item)
    assert layer.queue.find(item.item_uid).state == "completed"
    events = [event.data for event in layer.events.after(0) if event.kind == "document"]
    sent = [(e["name"], e["doc"]) for e in events if e["item_uid"] == item.item_uid]
    assert [(name, normal(document)) for name, document in sent] == kept
    assert (name in VOLUMES) <= ("stream_datum" in dict(kept))


def normal(value: Any) -> Any:
    """Return what JSON makes of it: it knows no tuples."""
    if isinstance(value, dict):
        return {key: normal(held) for key, held in value.items()}
    return [normal(held) for held in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("order", [Order.ABORT, Order.STOP, Order.HALT])
def test_the_documents_of_a_volume_that_was_put_an_end_to_are_valid(
    layer: DeviceLayer, order: Order
) -> None:
    item = begin(layer, "acquire_volume", num_slices=2000, exposure_ms=5, step_um=0)
    until(lambda: layer.runner.progress is not None)
    layer.runner.order(Order.PAUSE)
    until(lambda: layer.runner.state == "paused")
    layer.runner.order(order)
    kept = documents(layer, item)
    assert [name for name, _ in kept] == ["start", "stop"]
    assert kept[0][1]["item_uid"] == item.item_uid


def test_the_documents_of_a_volume_that_was_paused_and_taken_again_are_those_of_one_volume(
    layer: DeviceLayer,
) -> None:
    item = begin(layer, "acquire_volume", num_slices=100, exposure_ms=5, step_um=0)
    until(lambda: layer.runner.progress is not None)
    layer.runner.order(Order.PAUSE)
    until(lambda: layer.runner.state == "paused")
    layer.runner.order(Order.RESUME)
    kept = documents(layer, item)
    assert [name for name, _ in kept] == [
        "start",
        "descriptor",
        "stream_resource",
        "stream_datum",
        "event",
        "stop",
    ]


def test_documents_are_found_again_by_another_device_layer(tmp_path: Path) -> None:
    with demo_layer(tmp_path) as layer:
        kept = documents(layer, begin(layer, "snap", exposure_ms=1))
    with demo_layer(tmp_path) as layer:
        (run,) = layer.documents.runs()
        assert list(layer.documents.replay(run.run_uid)) == kept
