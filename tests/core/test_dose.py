"""The ledger of light: it adds up, whatever became of the volumes, and is made again if lost."""

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices import Dose, DoseBudget, DoseError
from devices.twin import TwinHub
from gently.core.device_layer import DeviceLayer
from gently.core.dose import (
    DoseLedger,
    DoseLedgerError,
    EmbryoDose,
    PlannedLight,
)
from gently.core.queue import Item
from gently.settings import DeviceLayerSettings
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


def light(ms: float, mj: float | None = None, requested_mj: float | None = None) -> dict[str, Any]:
    return {
        "lit_ms": ms,
        "power_mw": None if mj is None else 1000 * mj / ms,
        "requested_mw": None if requested_mj is None else 1000 * requested_mj / ms,
    }


def test_light_adds_up_by_embryo_and_session(ledger: DoseLedger) -> None:
    for session, ms, mj in (("a", 10, 1), ("a", 20, 2), ("b", 40, 4)):
        with ledger.beginning(spec(light(ms, mj, 2 * mj), embryo="one", session_id=session)):
            pass
    with ledger.beginning(spec(light(5, 1), embryo="two", session_id="b")):
        pass
    assert ledger.total("one") == Dose(70, 7)
    assert ledger.doses(embryo="one", session="a") == [
        EmbryoDose("one", "a", 2, Dose(30, 3), requested_mj=6, planned_ms=30)
    ]
    assert [found.embryo for found in ledger.doses(session="b")] == ["one", "two"]
    assert ledger.total("three") == Dose()


def test_light_that_never_went_on_is_taken_back(ledger: DoseLedger) -> None:
    planned = spec(light(10, 1), embryo="one")
    with ledger.beginning(planned):
        pass
    ledger.given(planned.uid, 0.0)
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
        assert again.doses() == before == [EmbryoDose("one", "", 2, Dose(15, None), None, 15)]
    finally:
        again.close()


def test_a_volume_that_says_nothing_of_its_light_had_its_exposures() -> None:
    assert PlannedLight.of(spec(shape=(3, 8, 8))).dose == Dose(15, None)


@pytest.mark.parametrize(
    ("said", "lit_s", "ms"),
    [
        ({}, 0.02, 20),  # on all the time
        ({}, 9.0, 50),
        ({"slice_ms": 10}, 0.0201, 15),  # in the third slice of ten: three pulses of 5 ms
        ({"slice_ms": 10}, 9.0, 50),
        ({"slice_ms": 10, "view": "a"}, 0.121, 50),  # of two sides, a comes first
        ({"slice_ms": 10, "view": "b"}, 0.121, 15),
    ],
)
def test_a_volume_that_is_stopped_had_the_light_of_its_time_and_no_more_than_planned(
    said: dict[str, Any], lit_s: float, ms: float
) -> None:
    one = spec({"lit_ms": 50, "power_mw": 2, **said}, shape=(10, 8, 8))
    if "view" in said:
        one.metadata.update({"view": said["view"], "siblings": [new_uid()]})
    assert PlannedLight.of(one).given_ms(lit_s) == pytest.approx(ms)


def test_what_the_controller_takes_by_itself_is_counted_before_it_is_asked_for(
    ledger: DoseLedger,
) -> None:
    """Whatever dies in a row of ten, of which four at a time are the controller's own doing."""
    said = {"lit_ms": 50, "power_mw": 2, "requested_mw": 1, "slice_ms": 10, "row": 10, "round": 4}
    counted = []
    for number in range(10):
        one = spec(said, embryo="one", shape=(10, 8, 8))
        one.metadata["repeat"] = {"number": number}
        with ledger.beginning(one):
            pass
        counted.append(ledger.total("one").light_ms / 50)
    assert counted == pytest.approx([4] * 4 + [8] * 4 + [10] * 2)
    (found,) = ledger.doses()
    assert (found.dose.light_ms, found.dose.energy_mj) == pytest.approx((500, 1))
    assert (found.requested_mj, found.planned_ms) == pytest.approx((0.5, 500))


def test_no_volume_is_begun_that_would_be_more_than_its_embryo_may_have(
    store: VolumeStore,
) -> None:
    """The preflight refuses it before; this holds for what a plan does besides, as retries."""
    ledger = DoseLedger(store.root / "dose.sqlite", store, DoseBudget(light_ms=25))
    try:
        for _ in range(2):
            with ledger.beginning(spec(light(10, 1), embryo="one")):
                pass
        with (
            pytest.raises(DoseError, match="one would have had 30 ms of light, of 25 ms"),
            ledger.beginning(spec(light(10, 1), embryo="one")),
        ):
            pass
        with ledger.beginning(spec(light(30, 1))):  # of nobody knows whom
            pass
        assert ledger.total("one") == Dose(20, 2)
    finally:
        ledger.close()


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
    assert PlannedLight.of(record.spec).dose.light_ms == pytest.approx(light_ms)


def test_a_budget_holds_over_plans_that_wait_and_over_sessions(tmp_path: Path) -> None:
    settings = DeviceLayerSettings(config="demo", storage=tmp_path, light_budget_ms=300)

    def snap() -> Item:
        return Item(name="snap", kwargs={"exposure_ms": 200}, meta={"embryo": "e7"})

    with DeviceLayer(settings) as layer:
        items = [snap(), snap()]
        for item in items:
            layer.add(item, len)  # each of them alone is within the budget
        layer.queue.start()
        found = [ended(layer, item) for item in items]
        assert [str(item.state) for item in found] == ["completed", "failed"]
        assert found[1].result is not None
        assert "e7 would have had" in found[1].result.msg
    with DeviceLayer(settings) as layer:
        report = layer.preflight(snap())
        assert not report.ok
        assert report.doses["e7"].spent_light_ms >= 200
        assert len(layer.store.list()) == 1


@dataclass(frozen=True)
class Fate:
    """A volume, and what becomes of it."""

    embryo: str
    planned_ms: int
    power_mw: int | None
    ends: Literal["published", "stopped", "given up", "killed"]
    lit: float

    @property
    def given_ms(self) -> float:
        part = {"stopped": self.lit, "given up": 0.0}.get(self.ends, 1.0)
        return self.planned_ms * part

    @property
    def dose(self) -> Dose:
        return Dose.of(self.given_ms / 1000, self.power_mw if self.given_ms else 0.0)


FATES = st.builds(
    Fate,
    embryo=st.sampled_from(["", "one", "two"]),
    planned_ms=st.integers(1, 1000),
    power_mw=st.none() | st.integers(0, 10),
    ends=st.sampled_from(["published", "stopped", "given up", "killed"]),
    lit=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)


@settings(max_examples=25, deadline=None)
@given(before=st.lists(FATES, max_size=5), after=st.lists(FATES, max_size=5), is_lost=st.booleans())
def test_embryos_and_what_is_of_none_add_up_to_all_light_whatever_becomes_of_the_volumes(
    before: list[Fate], after: list[Fate], is_lost: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, VolumeStore(Path(folder)) as store:
        _happen(store, before)
        if is_lost:
            for file in store.root.glob("dose.sqlite*"):
                file.unlink()
            before = [fate for fate in before if fate.ends == "published"]
        _happen(store, after)
        _add_up(store, before + after)


def _happen(store: VolumeStore, fates: list[Fate]) -> None:
    """Let volumes have their fates; one that is killed is not heard of again."""
    ledger = DoseLedger(store.root / "dose.sqlite", store)
    for fate in fates:
        said = {"lit_ms": fate.planned_ms, "power_mw": fate.power_mw}
        one = spec(said, embryo=fate.embryo)
        with ledger.beginning(one):
            pass
        if fate.ends == "published":
            with store.create(one) as writer:
                writer.write(np.zeros((8, 8), np.uint16), FrameInfo(index=0, delta_t_s=0, z_um=0))
                writer.finish()
        elif fate.ends == "stopped":
            ledger.given(one.uid, PlannedLight.of(one).given_ms(fate.given_ms / 1000))
        elif fate.ends == "given up":
            ledger.given(one.uid, 0.0)
    ledger.close()


def _add_up(store: VolumeStore, fates: list[Fate]) -> None:
    ledger = DoseLedger(store.root / "dose.sqlite", store)
    doses, total = ledger.account()
    ledger.close()
    for name in ("", "one", "two"):
        mine = sum((one.dose for one in doses if one.embryo == name), Dose())
        true = sum((fate.dose for fate in fates if fate.embryo == name), Dose())
        assert _amounts(mine) == pytest.approx(_amounts(true))
    whole = sum((one.dose for one in doses), Dose())
    assert _amounts(whole) == pytest.approx(_amounts(total.dose))
    assert sum(one.volumes for one in doses) == total.volumes == len(fates)
    assert total.planned_ms == sum(fate.planned_ms for fate in fates) >= total.dose.light_ms - 1e-6


def _amounts(dose: Dose) -> tuple[float, float]:
    return dose.light_ms, -1.0 if dose.energy_mj is None else dose.energy_mj


@pytest.mark.parametrize(
    ("name", "asked", "all_ms"),
    [
        ("acquire_volume", {"num_slices": 400, "step_um": 0.1}, 2000),
        ("burst", {"num_slices": 10, "num_volumes": 40}, 2000),
    ],
)
def test_what_a_stop_cuts_off_is_not_counted_and_what_was_given_is(
    tmp_path: Path, name: str, asked: dict[str, Any], all_ms: float
) -> None:
    with DeviceLayer(DeviceLayerSettings(config="twin", storage=tmp_path / "data")) as layer:
        item = Item(name=name, kwargs={"exposure_ms": 5, **asked}, meta={"embryo": "e7"})
        layer.execute(item)
        hub: TwinHub = layer.instrument.core.ask("TwinHub", lambda mmc: mmc._pydevices["TwinHub"])
        while hub.world.light.count().lit_ms[488] < 100:
            time.sleep(0.005)
        layer.stop("test")
        ended(layer, item)
        true_ms = hub.world.light.count().lit_ms[488]
        (found,) = layer.doses.doses(embryo="e7")
    # At most what the controller can have done until it was known to have stopped.
    assert true_ms <= found.dose.light_ms < all_ms
    assert found.dose.energy_mj == pytest.approx(found.dose.light_ms * 6 / 1000)
    assert found.requested_mj == pytest.approx(found.dose.energy_mj)
