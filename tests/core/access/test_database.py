"""The file of keys: its owner's alone, whole or not at all, and refused if it is none of ours."""

import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from gently.core.access import AccessDatabase, AccessStoreError


@pytest.mark.skipif(os.name != "posix", reason="only POSIX has these modes")
def test_only_its_owner_can_read_it_and_what_sqlite_puts_beside_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(AccessDatabase(tmp_path / "access.sqlite")) as database:
            database.write("INSERT INTO lock VALUES (1, '{}')")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}, modes
    assert "access.sqlite-wal" in modes


def test_the_hashes_of_two_files_have_nothing_in_common(tmp_path: Path) -> None:
    with (
        closing(AccessDatabase(tmp_path / "one.sqlite")) as one,
        closing(AccessDatabase(tmp_path / "two.sqlite")) as two,
    ):
        assert one.hashed("key") == one.hashed("key") != two.hashed("key")


def test_the_hash_stays_when_the_file_is_opened_again(tmp_path: Path) -> None:
    with closing(AccessDatabase(tmp_path / "access.sqlite")) as database:
        hashed = database.hashed("key")
    with closing(AccessDatabase(tmp_path / "access.sqlite")) as database:
        assert database.hashed("key") == hashed


def test_a_transaction_that_fails_leaves_nothing(database: AccessDatabase) -> None:
    def fail() -> None:
        with database.writing():
            database.write("INSERT INTO lock VALUES (1, '{}')")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert database.rows("SELECT * FROM lock") == []
    database.write("INSERT INTO lock VALUES (1, '{}')")
    assert len(database.rows("SELECT * FROM lock")) == 1


@pytest.mark.parametrize("content", [b"no database at all, but of some length" * 9, b"SQLite"])
def test_what_is_no_file_of_keys_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "access.sqlite"
    path.write_bytes(content)
    with pytest.raises(AccessStoreError, match=r"access\.sqlite cannot be used"):
        AccessDatabase(path)


def test_one_of_a_later_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "access.sqlite"
    AccessDatabase(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as later:
        later.execute("PRAGMA user_version = 99")
    with pytest.raises(AccessStoreError, match="later version"):
        AccessDatabase(path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AccessStoreError, match="cannot be used"):
        AccessDatabase(tmp_path / "nowhere" / "access.sqlite")
