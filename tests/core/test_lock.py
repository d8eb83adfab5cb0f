"""The lock: who has the key may act, and everybody is told who has it, never what it is."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gently.core.access import AccessDatabase
from gently.core.errors import WrongStateError
from gently.core.lock import ControlLock, LockedError


@pytest.fixture
def said() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def database(tmp_path: Path) -> Iterator[AccessDatabase]:
    with closing(AccessDatabase(tmp_path / "access.sqlite")) as database:
        yield database


@pytest.fixture
def lock(database: AccessDatabase, said: list[dict[str, Any]]) -> ControlLock:
    return ControlLock(database, "emergency", said.append)


def locked(lock: ControlLock, key: str = "key", *, environment: bool = False) -> None:
    lock.lock(key, environment=environment, queue=True, user="ada", note="beads")


def test_what_is_not_locked_needs_no_key(lock: ControlLock) -> None:
    lock.check(None, "environment", "queue")
    lock.check("any", "environment", "queue")

    locked(lock)
    lock.check(None, "environment")


def test_what_is_locked_needs_the_key_and_the_refusal_says_whom_to_ask(lock: ControlLock) -> None:
    locked(lock)

    lock.check("key", "queue")
    for key in (None, "", "wrong", "ключ"):
        with pytest.raises(LockedError, match=r"ada .*: beads") as caught:
            lock.check(key, "queue")
        assert "key'" not in str(caught.value)


def test_only_the_key_changes_the_lock_or_opens_it(lock: ControlLock) -> None:
    locked(lock)

    with pytest.raises(LockedError):
        locked(lock, "other")
    with pytest.raises(LockedError):
        lock.unlock("other")
    locked(lock, environment=True)
    assert lock.is_locked("environment")
    lock.unlock("key")
    assert not lock.is_locked("environment")
    lock.unlock("whatever is not locked opens with any key")


def test_the_emergency_key_unlocks_and_does_nothing_else(lock: ControlLock) -> None:
    assert lock.info()["emergency_lock_key_is_set"]
    locked(lock)

    with pytest.raises(LockedError):
        lock.check("emergency", "queue")
    with pytest.raises(LockedError):
        locked(lock, "emergency")
    lock.unlock("emergency")
    assert not lock.is_locked("queue")


def test_it_survives_a_restart_and_its_key_is_not_on_the_disk(
    lock: ControlLock, database: AccessDatabase, tmp_path: Path
) -> None:
    locked(lock, "the key of the lock")

    again = ControlLock(database, "emergency", lambda _: None)

    assert {**again.info(), "time_str": ""} == {**lock.info(), "time_str": ""}
    with pytest.raises(LockedError):
        again.check("wrong", "queue")
    again.check("the key of the lock", "queue")
    for file in tmp_path.iterdir():
        assert b"the key of the lock" not in file.read_bytes()


def test_locking_nothing_is_refused(lock: ControlLock) -> None:
    with pytest.raises(WrongStateError, match="what to lock"):
        lock.lock("key", environment=False, queue=False, user="ada", note=None)


def test_each_change_renews_the_uid_and_is_announced_without_the_key(
    lock: ControlLock, said: list[dict[str, Any]]
) -> None:
    uids = [lock.uid]
    locked(lock)
    uids.append(lock.uid)
    lock.unlock("key")
    uids.append(lock.uid)

    assert len(set(uids)) == 3
    assert [info["queue"] for info in said] == [True, False]
    assert (said[0]["user"], said[0]["note"]) == ("ada", "beads")
    assert "key" not in said[0]
