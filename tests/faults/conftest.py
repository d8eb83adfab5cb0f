"""A fresh device layer for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.bench import Bench, booted


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with booted(tmp_path, tmp_path / "data") as bench:
        yield bench


@pytest.fixture
def uncounted(tmp_path: Path) -> Iterator[Bench]:
    """A camera that does not count its frames: only the core, drive and pixels show a fault."""
    with booted(tmp_path, tmp_path / "data", counts=False) as bench:
        yield bench
