"""A store in a fresh folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import VolumeStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VolumeStore]:
    with VolumeStore(tmp_path / "data") as store:
        yield store
