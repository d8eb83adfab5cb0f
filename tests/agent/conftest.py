"""A scripted device layer that knows the catalogue, and a storage folder with real volumes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gently.agent.image_manager import ImageManager
from gently.agent.journal import Journal
from gently.client import DeviceLayerClient
from gently.core.data_store import DataStore
from storage import FrameInfo, VolumeRecord, VolumeSpec, VolumeStore, new_uid
from tests.agent.catalogue import DEVICES, PLANS
from tests.scripted_device_layer import ScriptedDeviceLayer, scripted_device_layer

SHAPE = (3, 16, 24)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def server(storage: Path) -> Iterator[ScriptedDeviceLayer]:
    with scripted_device_layer() as server:
        server.answers |= {
            "GET plans/allowed": {
                "plans_allowed": {n: p.model_dump(by_alias=True) for n, p in PLANS.items()}
            },
            "GET devices/allowed": {"devices_allowed": {name: {} for name in DEVICES}},
            "GET settings": {
                "storage": str(storage),
                "instrument": "twin",
                "session_id": "session-1",
            },
        }
        yield server


@pytest.fixture
def device_layer(server: ScriptedDeviceLayer) -> Iterator[DeviceLayerClient]:
    with DeviceLayerClient(server.url) as client:
        yield client


@pytest.fixture
def store(storage: Path) -> Iterator[VolumeStore]:
    with VolumeStore(storage) as store:
        yield store


@pytest.fixture
def data_store(storage: Path) -> Iterator[DataStore]:
    with DataStore(storage / "lineage.sqlite") as data_store:
        yield data_store


@pytest.fixture
def images(store: VolumeStore, data_store: DataStore) -> ImageManager:
    return ImageManager(store, data_store)


@pytest.fixture
def journal(data_store: DataStore) -> Journal:
    return Journal(data_store, "session-1", "ada")


@pytest.fixture
def acquire(store: VolumeStore) -> Callable[[], VolumeRecord]:
    """Write a volume as the device layer does."""

    def write() -> VolumeRecord:
        spec = VolumeSpec(
            uid=new_uid(),
            shape=SHAPE,
            dtype="uint16",
            pixel_size_um=0.1625,
            step_um=0.5,
            exposure_ms=5,
            session_id="session-1",
            item_uid="i1",
            run_uid="run-1",
        )
        with store.create(spec) as writer:
            for index in range(SHAPE[0]):
                frame = np.full(SHAPE[1:], index, dtype=np.uint16)
                writer.write(
                    frame, FrameInfo(index=index, delta_t_s=0.01 * index, z_um=0.5 * index)
                )
            return writer.finish()

    return write


def returned(record: VolumeRecord) -> dict[str, Any]:
    """Return the value of a plan that acquired this volume."""
    keys = ("uid", "path", "shape", "dtype", "session_id")
    return {key: value for key, value in record.metadata().items() if key in keys}
