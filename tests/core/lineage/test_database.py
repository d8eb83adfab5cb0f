"""A lineage of an older version goes on; one of a newer is refused and left alone."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from gently.core.data_store import DataStore, DataStoreError

# As the first version of gently made it, to the letter.
FIRST_VERSION = """
CREATE TABLE record (
    number INTEGER PRIMARY KEY,
    uid TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created TEXT NOT NULL,
    metadata TEXT NOT NULL,
    path TEXT UNIQUE
);
CREATE INDEX record_by_kind ON record (kind, created);
CREATE TABLE edge (
    parent TEXT NOT NULL REFERENCES record (uid),
    child TEXT NOT NULL REFERENCES record (uid),
    PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE INDEX edge_by_child ON edge (child);
INSERT INTO record VALUES
    (1, 's', 'session', '2026-11-21T05:00:00.000000+00:00', '{}', NULL),
    (2, 'i', 'item', '2026-11-21T05:00:01.000000+00:00', '{}', NULL),
    (5, 'v', 'volume', '2026-11-21T05:00:02.000000+00:00', '{"shape": [1, 2]}', 'volumes/v.tif');
INSERT INTO edge VALUES ('s', 'i'), ('i', 'v');
PRAGMA user_version = 1;
"""


@pytest.fixture
def first_version(tmp_path: Path) -> Path:
    path = tmp_path / "lineage.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(FIRST_VERSION)
    return path


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def structure(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL")
        return {(name, sql.replace('"', "").strip()) for name, sql in rows}


class TestTheFirstVersion:
    def test_is_carried_over_with_everything_that_it_says(self, first_version: Path) -> None:
        with DataStore(first_version) as store:
            record = store.record("v")
            assert record.path == first_version.parent / "volumes" / "v.tif"
            assert record.metadata == {"shape": [1, 2]}
            assert record.created == "2026-11-21T05:00:02.000000+00:00"
            assert (record.checksum, record.adopted, record.deleted) == (None, False, None)
            assert [r.uid for r in store.ancestors("v")] == ["s", "i"]
            assert [s.uid for s in store.sessions()] == ["s"]

    def test_then_is_as_if_it_had_been_made_today(
        self, first_version: Path, tmp_path: Path
    ) -> None:
        DataStore(first_version).close()
        DataStore(tmp_path / "new.sqlite").close()
        assert structure(first_version) == structure(tmp_path / "new.sqlite")

    def test_then_takes_new_records_and_refuses_broken_edges(self, first_version: Path) -> None:
        with DataStore(first_version) as store:
            store.derive("mask", "mask", ["v"])
            store.delete("v", "out of focus")
            assert [r.uid for r in store.ancestors("mask")] == ["s", "i", "v"]
        with closing(sqlite3.connect(first_version)) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute("INSERT INTO edge VALUES ('nobody', 'mask')")

    def test_with_edges_to_nothing_stays_as_it_is(self, first_version: Path) -> None:
        with closing(sqlite3.connect(first_version)) as connection:
            connection.execute("INSERT INTO edge VALUES ('nobody', 'v')")
            connection.commit()
        before = dump(first_version)
        with pytest.raises(DataStoreError, match="1 edges to no record"):
            DataStore(first_version)
        assert dump(first_version) == before

    def test_may_be_opened_by_several_processes_at_once(self, first_version: Path) -> None:
        program = (
            "import sys; from pathlib import Path\n"
            "from gently.core.data_store import DataStore\n"
            "with DataStore(Path(sys.argv[1])) as store:\n"
            "    store.derive(sys.argv[2], 'mask', ['v'])\n"
        )
        processes = [
            subprocess.Popen([sys.executable, "-c", program, str(first_version), name])
            for name in ("a", "b")
        ]
        assert [process.wait() for process in processes] == [0, 0]
        with DataStore(first_version) as store:
            assert {r.uid for r in store.children("v")} == {"a", "b"}


def test_a_newer_version_or_another_program_s_database_is_not_touched(tmp_path: Path) -> None:
    for statement in ("PRAGMA user_version = 99", "CREATE TABLE letters (a)"):
        path = tmp_path / "lineage.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(statement)
        before = path.read_bytes()
        with pytest.raises(DataStoreError, match=r"use the newer gently|another program's"):
            DataStore(path)
        assert path.read_bytes() == before
        path.unlink()


def test_a_closed_lineage_says_so(tmp_path: Path) -> None:
    store = DataStore(tmp_path / "lineage.sqlite")
    store.close()
    with pytest.raises(DataStoreError, match="cannot be used"):
        store.find()
