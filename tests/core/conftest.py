"""What the core's tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import DocumentStore
from tests.core.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with DocumentStore(tmp_path).writer() as documents:
        lab = Lab(documents)
        yield lab
        assert lab.runner.close(30)
