"""The demo instrument under a real RunEngine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.devices import demo
from tests.devices.demo import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with demo.booted(demo.demo_file(), tmp_path) as bench:
        yield bench


@pytest.fixture
def run_engine() -> Iterator[Any]:
    with demo.run_engine() as engine:
        yield engine
