"""A store in a fresh folder."""

from pathlib import Path

import pytest

from storage import VolumeStore


@pytest.fixture
def store(tmp_path: Path) -> VolumeStore:
    return VolumeStore(tmp_path / "data")
