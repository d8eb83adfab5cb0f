"""A sound twin for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.check.rigs import Rig, booted


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with booted(tmp_path) as rig:
        yield rig
