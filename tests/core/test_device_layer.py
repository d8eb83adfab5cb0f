"""The device layer: it introduces the parts to each other, and puts all of them away."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tifffile
from bluesky.utils import Msg, MsgGenerator

from devices import FocusDrive, Shutter
from gently.core.catalogue import Catalogue
from gently.core.device_layer import DeviceLayer
from gently.core.errors import DeviceNotFoundError, PlanRefusedError
from gently.core.queue import Item
from gently.core.runner import Order
from gently.settings import DeviceLayerSettings
from plans.parameters import inject
from storage import StoreLockedError, new_uid
from tests.core.lab import result
from tests.demo import begin, demo_layer, ended, put_back
from tests.devices.faults import Hold
from tests.waiting import until


@pytest.fixture(scope="module")
def shared_layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceLayer]:
    with demo_layer(tmp_path_factory.mktemp("storage")) as layer:
        yield layer


@pytest.fixture
def layer(shared_layer: DeviceLayer) -> Iterator[DeviceLayer]:
    yield shared_layer
    put_back(shared_layer)


def test_a_volume_is_published_under_its_uid_and_knows_where_it_came_from(
    layer: DeviceLayer,
) -> None:
    kwargs = {"num_slices": 4, "exposure_ms": 2, "step_um": 2}
    item = Item(name="acquire_volume", kwargs=kwargs, meta={"session_id": "tuesday"})
    layer.execute(item)

    value = result(ended(layer, item))["return_value"]

    record = layer.store.verify(value["uid"])
    assert record.path == layer.store.volumes / f"{value['uid']}.tif"
    assert tifffile.imread(record.path).shape == (4, 512, 512)
    spec = record.spec
    assert (spec.session_id, spec.item_uid, spec.plan_name) == (
        "tuesday",
        item.item_uid,
        "acquire_volume",
    )
    assert [spec.run_uid] == result(layer.queue.find(item.item_uid))["run_uids"]
    assert (spec.instrument, spec.camera) == ("demo", "camera")
    assert (spec.exposure_ms, spec.step_um, spec.pixel_size_um) == (2, 2, 1)
    assert set(spec.positions_um) == {"xy_stage.x", "xy_stage.y", "focus.z"}
    assert spec.metadata["plan_kwargs"] == kwargs


def test_what_the_items_meta_says_of_its_volumes_is_kept_with_them_and_finds_them(
    layer: DeviceLayer,
) -> None:
    labels = {
        "embryo": "e7",
        "tags": ["heat shock", "late"],
        "acquisition_uid": new_uid(),
        "time_point": 3,
        "channel": "488",
    }
    item = Item(name="snap", kwargs={"exposure_ms": 1}, meta={**labels, "sample": "only documents"})
    layer.execute(item)

    uid = result(ended(layer, item))["return_value"]["uid"]

    spec = layer.store.record(uid).spec
    kept = {key: getattr(spec, key) for key in labels}
    assert kept == {**labels, "tags": ("heat shock", "late")}
    assert [record.uid for record in layer.store.query(embryo="e7", tag="late")] == [uid]
    assert [record.uid for record in layer.store.query(acquisition=spec.acquisition_uid)] == [uid]


@pytest.mark.parametrize(
    ("meta", "field"),
    [
        ({"session_id": "a\nb"}, "meta.session_id"),
        ({"embryo": 7}, "meta.embryo"),
        ({"tags": "late"}, "meta.tags"),
        ({"tags": ["late", 3]}, "meta.tags.1"),
        ({"acquisition_uid": "monday"}, "meta.acquisition_uid"),
        ({"time_point": -1}, "meta.time_point"),
        ({"time_point": "3"}, "meta.time_point"),
    ],
)
def test_what_cannot_be_kept_with_a_volume_is_refused_by_its_name(
    layer: DeviceLayer, meta: dict[str, Any], field: str
) -> None:
    with pytest.raises(PlanRefusedError) as refused:
        layer.check(Item(name="snap", meta=meta))

    assert [error.field for error in refused.value.errors] == [field]


def test_a_volume_without_a_session_belongs_to_that_of_the_device_layer(
    layer: DeviceLayer,
) -> None:
    value = result(ended(layer, begin(layer, "snap", exposure_ms=1)))["return_value"]

    assert value["session_id"] == layer.session_id
    assert value["shape"] == [1, 512, 512]


def test_a_runs_start_document_says_what_was_asked_for_and_by_whom(layer: DeviceLayer) -> None:
    item = Item(name="snap", kwargs={"exposure_ms": 1}, meta={"sample": "embryo"})
    layer.execute(item)
    ended(layer, item)

    documents = [event.data for event in layer.events.after(0) if event.kind == "document"]
    (start,) = [
        data["doc"]
        for data in documents
        if data["name"] == "start" and data["item_uid"] == item.item_uid
    ]
    assert start["sample"] == "embryo"
    assert start["plan_name"] == "snap"
    assert start["plan_args"] == {"args": [], "kwargs": {"exposure_ms": 1}}
    assert start["session_id"] == layer.session_id
    assert start["instrument"] == "demo"


def test_an_item_that_is_refused_is_not_queued(layer: DeviceLayer) -> None:
    for refused in (Item(name="nonsense"), Item(name="snap", meta={"time": 0})):
        with pytest.raises(PlanRefusedError):
            layer.add(refused, len)
        with pytest.raises(PlanRefusedError):
            layer.execute(refused)

    assert layer.queue.snapshot().waiting == ()
    assert layer.queue.running is None


def test_a_volume_that_is_paused_is_taken_again_from_its_first_slice(layer: DeviceLayer) -> None:
    item = begin(layer, "acquire_volume", num_slices=40, exposure_ms=5, step_um=0)
    until(lambda: bool(layer.runner.progress))
    layer.runner.order(Order.PAUSE)
    until(lambda: layer.runner.state == "paused")
    assert layer.queue.find(item.item_uid).state == "paused"
    layer.runner.order(Order.RESUME)

    value = result(ended(layer, item))["return_value"]

    assert layer.queue.find(item.item_uid).state == "completed"
    assert layer.store.verify(value["uid"]).shape == (40, 512, 512)
    assert not list(layer.store.volumes.glob("*.part"))


def test_stop_is_told_as_an_event(layer: DeviceLayer) -> None:
    last = layer.events.last_seq

    layer.stop("just to see")

    (stop,) = [event for event in layer.events.after(last) if event.kind == "stop"]
    assert stop.data["success"] is True
    assert set(stop.data["devices"]) == set(layer.instrument.devices)


def test_an_unknown_device_is_refused(layer: DeviceLayer) -> None:
    with pytest.raises(DeviceNotFoundError, match=r"no device 'moon'.*xy_stage"):
        layer.read_device("moon")


# ---------------------------------------------------------------------- one at a time, to its end


def test_a_second_device_layer_on_the_same_storage_is_refused_before_it_touches_hardware(
    layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*_: object, **__: object) -> None:
        raise AssertionError("the hardware was touched")

    monkeypatch.setattr("gently.core.device_layer.Instrument", touched)

    with pytest.raises(StoreLockedError, match="pid"):
        DeviceLayer(DeviceLayerSettings(config="demo", storage=layer.store.root))


def test_it_starts_and_lists_volumes_where_the_index_cannot_be_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "index.sqlite").mkdir()
    with demo_layer(tmp_path) as layer:
        assert "this process uses one of its own" in caplog.text
        uid = result(ended(layer, begin(layer, "snap", exposure_ms=1)))["return_value"]["uid"]
        assert [record.uid for record in layer.store.list()] == [uid]


def test_closing_ends_the_plan_closes_the_shutter_and_frees_the_storage(tmp_path: Path) -> None:
    with demo_layer(tmp_path) as first:
        item = begin(first, "acquire_volume", num_slices=2000, exposure_ms=10, step_um=0)
        until(lambda: bool(first.runner.progress))
    assert first.queue.find(item.item_uid).state == "aborted"
    assert list(first.store.volumes.iterdir()) == []

    with demo_layer(tmp_path) as second:
        assert second.read_device("shutter")["readings"]["shutter"]["value"] == "closed"


def test_what_cannot_be_built_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no catalogue today")

    with monkeypatch.context() as patch:
        patch.setattr("gently.core.device_layer.Catalogue", broken)
        with pytest.raises(RuntimeError, match="no catalogue"):
            DeviceLayer(DeviceLayerSettings(config="demo", storage=tmp_path))

    with demo_layer(tmp_path) as layer:
        assert layer.stop("to see").success


class _StuckLog(logging.Handler):
    """A terminal that takes nothing more."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = Hold()

    def emit(self, _: logging.LogRecord) -> None:
        self.hold()


def test_a_log_that_takes_nothing_more_keeps_no_light_on(layer: DeviceLayer) -> None:
    shutter = layer.instrument.devices["shutter"]
    assert isinstance(shutter, Shutter)
    shutter.set("open").wait(30)
    stuck = _StuckLog()
    logging.getLogger("gently").addHandler(stuck)
    stopping = threading.Thread(target=layer.stop, args=("the terminal hangs",))
    try:
        stopping.start()
        stuck.hold.wait_until_entered()

        assert shutter.readback()["shutter"]["value"] == "closed"
    finally:
        logging.getLogger("gently").removeHandler(stuck)
        stuck.hold.let_go()
        stopping.join()


# ---------------------------------------------------------------- preflight


def test_a_plan_that_passes_is_estimated_better_once_it_has_run(layer: DeviceLayer) -> None:
    item = Item(name="read_position")
    layer.execute(item)
    ended(layer, item)

    found = layer.preflight(item)

    assert "learned" in found.sources["plan"]
    assert found.seconds > 0


def test_what_a_plan_would_do_is_foretold_from_where_the_last_one_has_left_the_microscope(
    layer: DeviceLayer,
) -> None:
    for x_um in (40.0, -10.0):
        ended(layer, begin(layer, "move_stage", x_um=x_um, y_um=0.0))

    found = layer.preflight(Item(name="move_stage", kwargs={"x_um": 0.0, "y_um": 0.0}))

    assert found.travel_um == pytest.approx({"xy_stage.x": 10}, abs=0.1)


def test_an_item_is_accepted_after_a_quick_look_and_followed_to_its_end_before_it_runs(
    layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def march(drive: FocusDrive = inject("focus")) -> MsgGenerator[None]:
        """Go too far, after a long time."""
        for _ in range(30_000):
            yield Msg("null")
        yield Msg("set", drive, 1e6)

    monkeypatch.setattr(layer, "catalogue", Catalogue([march], layer.instrument.devices))
    item = Item(name="march")

    layer.execute(item)

    found = result(ended(layer, item))
    assert found["exit_status"] == "failed"
    assert "limits -200 to 200 µm" in found["msg"]
    assert "(step 30001)" in found["msg"]
    assert not layer.preflight(item).ok
