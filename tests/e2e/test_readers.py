"""Whoever reads a volume takes nothing from the one that is being written."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gently.client import DeviceLayerClient
from gently.wire import Volume
from storage import VolumeStore
from tests.e2e.conftest import DeviceLayers

_READERS = 10
_FRAMES = {"num_slices": 200, "exposure_ms": 0.25, "step_um": 0.1}
_REST_S = 0.002


class Readers:
    """Ten threads that read one volume by slices, rows and regions, and verify it."""

    def __init__(self, storage: Path, uid: str) -> None:
        self.reads = [0] * _READERS
        self.errors: list[Exception] = []
        self._stop = threading.Event()
        self._store = VolumeStore(storage)
        self._threads = [
            threading.Thread(target=self._run, args=(uid, n), name=f"reader-{n}")
            for n in range(_READERS)
        ]

    @contextmanager
    def running(self) -> Iterator["Readers"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()
            self._store.close()

    def _run(self, uid: str, number: int) -> None:
        chance = random.Random(number)
        try:
            while not self._stop.wait(_REST_S):
                self._read(uid, chance)
                self.reads[number] += 1
        except Exception as error:  # noqa: BLE001 - told to the test
            self.errors.append(error)

    def _read(self, uid: str, chance: random.Random) -> None:
        with self._store.open(uid) as volume:
            slices, rows, columns = volume.record.shape
            z, y, x = (chance.randrange(size) for size in (slices, rows, columns))
            volume.array[z].max()
            volume.array[:, y].max()
            volume.array[z : z + 4, y : y + 64, x : x + 64].copy()
        if chance.random() < 0.02:
            self._store.verify(uid)


def acquire(client: DeviceLayerClient) -> Volume:
    ended = client.wait(client.execute(client.plans().acquire_volume(**_FRAMES)).item_uid)
    assert ended.result is not None
    assert ended.state == "completed", ended.result.msg
    return client.volumes(limit=1)[0]


@pytest.fixture
def client(device_layer: DeviceLayers, tmp_path: Path) -> Iterator[DeviceLayerClient]:
    with device_layer(storage=tmp_path / "data").client() as client:
        yield client


def drops(volume: Volume) -> object:
    assert volume.model_extra is not None
    return volume.model_extra["dropped"]


def test_ten_readers_of_one_volume_change_the_drops_of_the_next_by_nothing(
    client: DeviceLayerClient, tmp_path: Path
) -> None:
    alone = acquire(client)
    with Readers(tmp_path / "data", alone.uid).running() as readers:
        time.sleep(0.2)  # until all are at it
        before = list(readers.reads)
        beside = [acquire(client) for _ in range(2)]
        after = list(readers.reads)
    assert readers.errors == []
    assert all(was < now for was, now in zip(before, after, strict=True)), "all were reading"
    assert [drops(volume) for volume in (alone, *beside)] == [0, 0, 0]
    with VolumeStore(tmp_path / "data") as store:
        for volume in beside:
            record = store.verify(volume.uid)
            assert (record.status, record.missing) == ("complete", ())
