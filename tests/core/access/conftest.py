"""A file of keys, a clock that is set by hand, and people and agents to ask."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gently.core.access import AccessDatabase, KeyStore

LOCAL_KEY = "the-key-of-this-machine"


class Clock:
    """Seconds since the epoch, as long as nobody turns it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[AccessDatabase]:
    with closing(AccessDatabase(tmp_path / "access.sqlite")) as database:
        yield database


@pytest.fixture
def keys(database: AccessDatabase, clock: Clock) -> KeyStore:
    return KeyStore(database, LOCAL_KEY, "ada", clock)
