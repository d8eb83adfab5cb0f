"""The ledger of light: it adds up, whatever became of the volumes, and is made again if lost."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices import Dose
from gently.core.device_layer import DeviceLayer
from gently.core.dose import DoseLedger, DoseLedgerError, EmbryoDose, light_of
from gently.core.queue import Item
from storage import FrameInfo, VolumeSpec, VolumeStore, new_uid
from tests.demo import demo_layer, ended


def spec(light: dict[str, Any] | None = None, **changes: Any) -> VolumeSpec:
    asked = {"shape": (1, 8, 8), "dtype": "uint16", "pixel_size_um": 1, "step_um": 0, **changes}
    metadata: dict[str, Any] = {} if light is None else {"light": light}
    return VolumeSpec(uid=new_uid(), exposure_ms=5, metadata=metadata, **asked)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VolumeStore]:
    with VolumeStore(tmp_path) as store:
        yield store


@pytest.fixture
def ledger(store: VolumeStore) -> Iterator[DoseLedger]:
    ledger = DoseLedger(store.root / "dose.sqlite", store)
    yield ledger
    ledger.close()


def light(ms: float, mj: float | None = None) -> dict[str, Any]:
    return {"lit_ms": ms, "power_mw": None if mj is None else 1000 * mj / ms}


def test_light_adds_up_by_embryo_and_session(ledger: DoseLedger) -> None:
    for session, ms, mj in (("a", 10, 1), ("a", 20, 2), ("b", 40, 4)):
        with ledger.beginning(spec(light(ms, mj), embryo="one", session_id=session)):
            pass
    with ledger.beginning(spec(light(5, 1), embryo="two", session_id="b")):
        pass
    assert ledger.total("one") == Dose(70, 7)
    assert ledger.doses(embryo="one", session="a") == [EmbryoDose("one", "a", 2, Dose(30, 3))]
    assert [found.embryo for found in ledger.doses(session="b")] == ["one", "two"]
    assert ledger.total("three") == Dose()


def test_light_that_never_went_on_is_taken_back(ledger: DoseLedger) -> None:
    planned = spec(light(10, 1), embryo="one")
    with ledger.beginning(planned):
        pass
    ledger.dark(planned.uid)
    assert ledger.total("one") == Dose()


def test_energy_is_unknown_as_soon_as_some_of_it_is(ledger: DoseLedger) -> None:
    for mj in (1.0, None):
        with ledger.beginning(spec(light(10, mj), embryo="one")):
            pass
    assert ledger.total("one") == Dose(20, None)


def test_a_volume_for_which_there_was_no_room_was_not_lit(ledger: DoseLedger) -> None:
    def begin() -> None:
        with ledger.beginning(spec(light(10, 1), embryo="one")):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        begin()
    assert ledger.total("one") == Dose()


def test_a_ledger_that_is_lost_is_made_again_from_the_volumes(
    store: VolumeStore, ledger: DoseLedger
) -> None:
    for one in (spec(light(10, 1), embryo="one"), spec(embryo="one")):
        with ledger.beginning(one), store.create(one) as writer:
            writer.write(np.zeros((8, 8), np.uint16), FrameInfo(index=0, delta_t_s=0, z_um=0))
            writer.finish()
    store.trash(store.list()[0].uid, reason="test", by="test")
    before = ledger.doses()
    ledger.close()
    for file in store.root.glob("dose.sqlite*"):
        file.unlink()
    again = DoseLedger(store.root / "dose.sqlite", store)
    try:
        assert again.doses() == before == [EmbryoDose("one", "", 2, Dose(15, None))]
    finally:
        again.close()


def test_a_volume_that_says_nothing_of_its_light_had_its_exposures() -> None:
    assert light_of(spec(shape=(3, 8, 8))) == Dose(15, None)


def test_a_ledger_that_is_none_is_refused_with_the_remedy(store: VolumeStore) -> None:
    path = store.root / "dose.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(DoseLedgerError, match="move it away"):
        DoseLedger(path, store)
    path.unlink()
    with sqlite3.connect(path) as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(DoseLedgerError, match="later version"):
        DoseLedger(path, store)


def test_the_device_layer_counts_the_light_of_what_it_takes(tmp_path: Path) -> None:
    with demo_layer(tmp_path) as layer:
        item = Item(name="snap", kwargs={"exposure_ms": 5}, meta={"embryo": "e7"})
        layer.execute(item)
        ended(layer, item)
        (found,) = layer.doses.doses(embryo="e7")
        assert (found.volumes, found.session_id) == (1, layer.session_id)
        assert found.dose.light_ms >= 5
        _volume_says_what_was_planned(layer, 5)


def _volume_says_what_was_planned(layer: DeviceLayer, light_ms: float) -> None:
    (record,) = layer.store.query(embryo="e7")
    assert light_of(record.spec).light_ms == pytest.approx(light_ms)
