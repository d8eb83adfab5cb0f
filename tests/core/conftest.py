"""What the core's tests share."""

from collections.abc import Iterator

import pytest

from tests.core.lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab()
    yield lab
    assert lab.runner.close(30)
