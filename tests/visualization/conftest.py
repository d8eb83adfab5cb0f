"""A store with one embryo, and the application that shows it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from gently.visualization import Door, VolumeFeed, create_app
from storage import VolumeStore
from tests import AUTHORIZATION


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VolumeStore]:
    with VolumeStore(tmp_path) as store:
        yield store


@pytest.fixture
def feed() -> VolumeFeed:
    return VolumeFeed()


@pytest.fixture
def client(store: VolumeStore, feed: VolumeFeed) -> Iterator[TestClient]:
    app = create_app(store, feed, Door())
    with TestClient(app, base_url="http://127.0.0.1", headers=AUTHORIZATION) as client:
        yield client
