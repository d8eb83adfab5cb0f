"""A booted twin, as the device layer boots it."""

from collections.abc import Iterator

import pytest

from tests.devices.twin.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig.boot()
    yield rig
    rig.core.close()
