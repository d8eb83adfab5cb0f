"""A time-lapse outlives the device layer: killed, it goes on and takes nothing twice."""

from collections import Counter
from pathlib import Path
from typing import Any

import httpx2

from storage import VolumeStore, new_uid
from tests import AUTHORIZATION
from tests.devices.demo import wait_until
from tests.e2e.conftest import DeviceLayers, Script

EMBRYOS = [
    {"name": f"e{n}", "x_um": -650.0 + 40 * n, "y_um": -520.0, "z_um": 150.0} for n in range(3)
]
POINTS = 6


def get(layer: Script, path: str) -> dict[str, Any]:
    answer = httpx2.get(f"{layer.url}/api/{path}", headers=AUTHORIZATION, timeout=30)
    found: dict[str, Any] = answer.json()
    return found


def begin(layer: Script, acquisition_uid: str) -> str:
    kwargs = {"embryos": EMBRYOS, "num_points": POINTS, "interval_s": 0.0, "num_slices": 5}
    kwargs |= {"exposure_ms": 2.0, "acquisition_uid": acquisition_uid}
    answer = httpx2.post(
        f"{layer.url}/api/queue/item/execute",
        json={"item": {"item_type": "plan", "name": "time_lapse", "kwargs": kwargs}},
        headers=AUTHORIZATION,
        timeout=30,
    ).json()
    assert answer["success"], answer
    return str(answer["item"]["item_uid"])


def test_killed_twice_it_goes_on_and_every_volume_is_there_once_and_its_light_is_counted(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    storage, uid = tmp_path / "data", new_uid()
    for kill_at in (4, 11):
        layer = device_layer("twin", storage)
        begin(layer, uid)
        volumes = f"volumes?acquisition={uid}&limit=1000"
        wait_until(lambda: len(get(layer, volumes)["volumes"]) >= kill_at, 60)  # noqa: B023
        layer.kill()

    layer = device_layer("twin", storage)
    item = begin(layer, uid)
    wait_until(lambda: get(layer, f"items/{item}")["state"] == "completed", 60)
    result = get(layer, f"items/{item}")["result"]["return_value"]
    doses = {dose["embryo"]: dose for dose in _by_embryo(get(layer, "dose")["doses"])}
    assert layer.end() == 0

    with VolumeStore(storage) as store:
        records = store.query(acquisition=uid)
        taken = Counter((record.spec.embryo, record.spec.time_point) for record in records)
        assert taken == {(e["name"], point): 1 for e in EMBRYOS for point in range(POINTS)}
    assert 0 < result["num_taken"] <= len(taken) - 11
    assert sum(embryo["num_found"] for embryo in result["embryos"].values()) >= 11
    begun = sum(dose["volumes"] for dose in doses.values())
    assert len(taken) <= begun <= len(taken) + 2  # those that were killed are counted, too
    assert all(dose["light_ms"] >= POINTS * 5 * 2.0 for dose in doses.values())


def _by_embryo(doses: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add up the sessions, of which each start of the device layer is one."""
    found: dict[str, dict[str, Any]] = {}
    for dose in doses:
        one = found.setdefault(dose["embryo"], {**dose, "volumes": 0, "light_ms": 0.0})
        one["volumes"] += dose["volumes"]
        one["light_ms"] += dose["light_ms"]
    return list(found.values())
