"""Where a volume came from, over HTTP: as the data store tells it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from gently.core.data_store import DataStore, DataStoreError, Trace
from gently.visualization import Door, VolumeFeed, create_app
from storage import VolumeStore, new_uid
from tests import AUTHORIZATION
from tests.visualization.specimen import keep


@pytest.fixture
def data_store(tmp_path: Path) -> Iterator[DataStore]:
    with DataStore(tmp_path / "lineage.sqlite") as data_store:
        yield data_store


@pytest.fixture
def told(store: VolumeStore, feed: VolumeFeed, data_store: DataStore) -> Iterator[TestClient]:
    app = create_app(store, feed, Door(), lineage=data_store.trace)
    with TestClient(app, base_url="http://127.0.0.1", headers=AUTHORIZATION) as client:
        yield client


def test_a_volume_tells_its_lineage(
    told: TestClient, store: VolumeStore, data_store: DataStore
) -> None:
    volume = keep(store, np.zeros((2, 8, 8), np.uint16), session_id="s", item_uid="i", run_uid="r")
    data_store.register_external_file(volume.uid, volume.path, volume.metadata())
    data_store.derive("m", "mask", [volume.uid], metadata={"model": "sam"})
    answer = told.get(f"/api/volumes/{volume.uid}/lineage")
    assert answer.status_code == 200
    assert answer.json() == data_store.trace(volume.uid).to_json()
    assert [line["kind"] for line in answer.json()["lineage"]] == [
        "session",
        "item",
        "run",
        "volume",
        "mask",
    ]


def test_what_is_unknown_is_not_found_and_what_is_no_uid_is_refused(told: TestClient) -> None:
    unknown = told.get(f"/api/volumes/{new_uid()}/lineage")
    assert unknown.status_code == 404
    assert "nothing is recorded" in unknown.json()["detail"]
    for uid in ("x", "..%2F..%2Fetc"):
        refused = told.get(f"/api/volumes/{uid}/lineage")
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["field"] == "uid"
    assert told.get(f"/api/volumes/{new_uid()}/lineage?x=1").status_code == 422


def test_a_server_without_a_lineage_says_so(client: TestClient) -> None:
    answer = client.get(f"/api/volumes/{new_uid()}/lineage")
    assert answer.status_code == 404
    assert "keeps no lineage" in answer.json()["detail"]


def test_a_lineage_that_cannot_be_read_is_a_fault_with_its_reason(
    store: VolumeStore, feed: VolumeFeed
) -> None:
    def broken(uid: str) -> Trace:
        raise DataStoreError("the disk is gone")

    app = create_app(store, feed, Door(), lineage=broken)
    with TestClient(app, base_url="http://127.0.0.1", headers=AUTHORIZATION) as client:
        answer = client.get(f"/api/volumes/{new_uid()}/lineage")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "the disk is gone"}
