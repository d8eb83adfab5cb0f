"""The lineage: what it registers, what it refuses, and that its graph tells the truth."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from gently.core.data_store import (
    DataStore,
    DataStoreError,
    LineageError,
    RegistrationError,
    UnknownRecordError,
)

SHAPE = (5, 16, 24)
UID = "5f0c3f8e-2b1d-4c57-9a63-7d1e8b42c90a"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DataStore]:
    with DataStore(tmp_path / "lineage.sqlite") as store:
        yield store


def write_volume(folder: Path, uid: str, shape: tuple[int, ...] = SHAPE) -> Path:
    path = folder / f"{uid}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.arange(np.prod(shape), dtype=np.uint16).reshape(shape), ome=True)
    return path


def metadata(**more: Any) -> dict[str, Any]:
    return {
        "shape": list(SHAPE),
        "dtype": "uint16",
        "session_id": "session-1",
        "item_uid": "item-1",
        "run_uid": "run-1",
        **more,
    }


def uids(records: list[Any]) -> list[str]:
    return [record.uid for record in records]


class TestRegisteringAFile:
    def test_links_session_to_item_to_run_to_volume(self, store: DataStore, tmp_path: Path) -> None:
        uid = uuid4().hex
        path = write_volume(tmp_path / "volumes", uid)

        record = store.register_external_file(uid, path, metadata())

        assert (record.uid, record.kind, record.path) == (uid, "volume", path)
        assert record.metadata["shape"] == list(SHAPE)
        assert uids(store.ancestors(uid)) == ["session-1", "item-1", "run-1"]
        assert [r.kind for r in store.ancestors(uid)] == ["session", "item", "run"]
        assert uids(store.parents(uid)) == ["run-1"]
        assert uids(store.children("session-1")) == ["item-1"]
        assert uids(store.find(kind="volume", session_id="session-1")) == [uid]

    def test_links_what_is_known_of_its_origin(self, store: DataStore, tmp_path: Path) -> None:
        uid = uuid4().hex
        store.register_external_file(
            uid, write_volume(tmp_path, uid), {"session_id": "s", "run_uid": "r"}
        )
        assert uids(store.ancestors(uid)) == ["s", "r"]

    def test_again_is_the_same_and_adds_metadata(self, store: DataStore, tmp_path: Path) -> None:
        uid = uuid4().hex
        path = write_volume(tmp_path, uid)
        first = store.register_external_file(uid, path, metadata())
        again = store.register_external_file(uid, path, metadata(note="bright"))

        assert again.created == first.created
        assert again.metadata == {**first.metadata, "note": "bright"}
        assert uids(store.find(kind="volume")) == [uid]
        assert uids(store.parents(uid)) == ["run-1"]

    def test_takes_the_time_of_creation_from_the_metadata(
        self, store: DataStore, tmp_path: Path
    ) -> None:
        uid = uuid4().hex
        record = store.register_external_file(
            uid, write_volume(tmp_path, uid), {"created": "2026-11-21T06:00:00+01:00"}
        )
        assert record.created == "2026-11-21T05:00:00.000000+00:00"

    def test_of_one_slice_agrees_with_a_picture(self, store: DataStore, tmp_path: Path) -> None:
        uid = uuid4().hex
        path = write_volume(tmp_path, uid, (16, 24))
        store.register_external_file(uid, path, {"shape": [1, 16, 24]})
        assert uid in store

    @pytest.mark.parametrize("uid", ["", "x", "../" * 10, "5F0C3F8E2B1D4C579A637D1E8B42C90A", UID])
    def test_refuses_a_malformed_uid(self, store: DataStore, tmp_path: Path, uid: str) -> None:
        path = write_volume(tmp_path, uuid4().hex)
        with pytest.raises(RegistrationError, match="32 lower-case hex digits"):
            store.register_external_file(uid, path)

    def test_refuses_a_missing_file(self, store: DataStore, tmp_path: Path) -> None:
        with pytest.raises(RegistrationError, match="there is no file"):
            store.register_external_file(uuid4().hex, tmp_path / "gone.tif")

    def test_refuses_what_is_no_tiff(self, store: DataStore, tmp_path: Path) -> None:
        path = tmp_path / "notes.tif"
        path.write_text("these are no pixels")
        with pytest.raises(RegistrationError, match="not a readable TIFF"):
            store.register_external_file(uuid4().hex, path)

    @pytest.mark.parametrize("ome", [True, False])
    def test_refuses_a_file_that_is_cut_off_anywhere_in_its_pixels(
        self, store: DataStore, tmp_path: Path, ome: bool
    ) -> None:
        pixels = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)
        path = tmp_path / "volume.tif"
        tifffile.imwrite(path, pixels, bigtiff=True, ome=ome, metadata={} if ome else None)
        content = path.read_bytes()
        refused = 0
        for length in range(0, len(content), 499):
            cut = tmp_path / f"{length}.tif"
            cut.write_bytes(content[:length])
            try:
                store.register_external_file(uuid4().hex, cut)
            except RegistrationError:
                refused += 1
            else:
                np.testing.assert_array_equal(tifffile.imread(cut), pixels)
        assert refused > pixels.nbytes / 499

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"shape": [5, 16, 25]}, r"shape \(5, 16, 24\), not \(5, 16, 25\)"),
            ({"shape": [16, 5, 24]}, "shape"),
            ({"dtype": "uint8"}, "holds uint16, not uint8"),
        ],
    )
    def test_refuses_metadata_that_contradict_the_file(
        self, store: DataStore, tmp_path: Path, wrong: dict[str, Any], sentence: str
    ) -> None:
        uid = uuid4().hex
        with pytest.raises(RegistrationError, match=sentence):
            store.register_external_file(uid, write_volume(tmp_path, uid), metadata(**wrong))
        assert store.find() == []

    def test_refuses_a_second_file_for_a_uid(self, store: DataStore, tmp_path: Path) -> None:
        uid = uuid4().hex
        first = store.register_external_file(uid, write_volume(tmp_path / "a", uid))
        with pytest.raises(RegistrationError, match=r"registered already, as .*a"):
            store.register_external_file(uid, write_volume(tmp_path / "b", uid))
        assert store.record(uid) == first

    def test_refuses_a_second_uid_for_a_file(self, store: DataStore, tmp_path: Path) -> None:
        uid = uuid4().hex
        path = write_volume(tmp_path, uid)
        store.register_external_file(uid, path)
        with pytest.raises(RegistrationError, match=uid):
            store.register_external_file(uuid4().hex, path)

    @pytest.mark.parametrize("created", ["yesterday", "2026-11-21T06:00:00", 5])
    def test_refuses_a_time_that_is_none_and_stores_nothing(
        self, store: DataStore, tmp_path: Path, created: Any
    ) -> None:
        uid = uuid4().hex
        with pytest.raises(DataStoreError, match="created"):
            store.register_external_file(
                uid, write_volume(tmp_path, uid), metadata(created=created)
            )
        assert store.find() == []


class TestTheIndex:
    def test_keeps_everything_over_a_restart(self, tmp_path: Path) -> None:
        uid = uuid4().hex
        path = write_volume(tmp_path, uid)
        with DataStore(tmp_path / "lineage.sqlite") as store:
            before = store.register_external_file(uid, path, metadata())
        with DataStore(tmp_path / "lineage.sqlite") as store:
            assert store.record(uid) == before
            assert uids(store.descendants("session-1")) == ["item-1", "run-1", uid]

    def test_moves_with_its_folder(self, tmp_path: Path) -> None:
        uid = uuid4().hex
        write_volume(tmp_path / "old" / "volumes", uid)
        with DataStore(tmp_path / "old" / "lineage.sqlite") as store:
            store.register_external_file(uid, tmp_path / "old" / "volumes" / f"{uid}.tif")
        (tmp_path / "old").rename(tmp_path / "new")
        with DataStore(tmp_path / "new" / "lineage.sqlite") as store:
            assert store.record(uid).path == tmp_path / "new" / "volumes" / f"{uid}.tif"

    def test_refuses_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        path = tmp_path / "lineage.sqlite"
        path.write_bytes(b"not a database at all" * 100)
        with pytest.raises(DataStoreError, match="move it away"):
            DataStore(path)

    def test_refuses_a_folder_that_cannot_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(DataStoreError, match="cannot be opened"):
            DataStore(tmp_path / "file" / "lineage.sqlite")
        (tmp_path / "lineage.sqlite").mkdir()
        with pytest.raises(DataStoreError, match="cannot be opened"):
            DataStore(tmp_path / "lineage.sqlite")

    def test_refuses_another_programs_database(self, tmp_path: Path) -> None:
        path = tmp_path / "lineage.sqlite"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE letters (a)")
        connection.close()
        with pytest.raises(DataStoreError, match="another program's database"):
            DataStore(path)

    def test_refuses_a_newer_version(self, tmp_path: Path) -> None:
        path = tmp_path / "lineage.sqlite"
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        with pytest.raises(DataStoreError, match="version 99"):
            DataStore(path)


class TestRecords:
    def test_of_another_kind_cannot_share_a_uid(self, store: DataStore) -> None:
        store.add("session", "a")
        with pytest.raises(LineageError, match="recorded as a session"):
            store.add("run", "a")

    def test_need_parents_that_are_there(self, store: DataStore) -> None:
        with pytest.raises(UnknownRecordError, match="'nobody'"):
            store.add("run", "a", parents=["nobody"])
        assert "a" not in store

    def test_cannot_descend_from_themselves(self, store: DataStore) -> None:
        store.add("run", "a")
        store.add("run", "b", parents=["a"])
        store.add("run", "c", parents=["b"])
        for parent in ("a", "b", "c"):
            with pytest.raises(LineageError, match="cannot be its origin"):
                store.add("run", "a", parents=[parent])
        assert store.parents("a") == []

    @pytest.mark.parametrize("uid", ["", "a b", "a/b", "é", "x" * 129, "-a"])
    def test_need_a_uid_that_can_be_one(self, store: DataStore, uid: str) -> None:
        with pytest.raises(LineageError, match="no uid"):
            store.add("run", uid)

    def test_refuse_metadata_that_are_no_json(self, store: DataStore) -> None:
        with pytest.raises(DataStoreError, match="no JSON"):
            store.add("run", "a", {"x": float("nan")})

    def test_that_are_unknown_have_no_relatives(self, store: DataStore) -> None:
        for ask in (store.record, store.parents, store.children):
            with pytest.raises(UnknownRecordError):
                ask("nobody")
        assert store.find(session_id="nobody") == []

    def test_are_found_newest_first(self, store: DataStore) -> None:
        store.add("run", "old", created="2026-01-01T00:00:00Z")
        store.add("run", "new", created="2026-03-01T00:00:00Z")
        store.add("run", "middle", created="2026-02-01T00:00:00Z")
        assert uids(store.find(kind="run")) == ["new", "middle", "old"]

    def test_can_be_a_thousand_generations_deep(self, store: DataStore) -> None:
        names = [f"n{i}" for i in range(1000)]
        store.add("run", names[0])
        for parent, child in pairwise(names):
            store.add("run", child, parents=[parent])
        assert uids(store.ancestors(names[-1])) == names[:-1]
        assert uids(store.descendants(names[0])) == names[1:]


@st.composite
def graphs(draw: st.DrawFn) -> list[tuple[str, set[str]]]:
    """Records in the order added, each with parents among those before it."""
    count = draw(st.integers(1, 12))
    names = [f"n{i}" for i in range(count)]
    parents = [
        draw(st.sets(st.sampled_from(names[:i]), max_size=4)) if i else set[str]()
        for i in range(count)
    ]
    return list(zip(names, parents, strict=True))


@settings(max_examples=40, deadline=None)
@given(graph=graphs())
def test_the_graph_is_the_transitive_closure_of_what_was_added(
    graph: list[tuple[str, set[str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    ancestors: dict[str, set[str]] = {}
    for name, parents in graph:
        ancestors[name] = parents.union(*(ancestors[parent] for parent in parents))
    with DataStore(tmp_path_factory.mktemp("graph") / "lineage.sqlite") as store:
        for name, parents in graph:
            store.add("node", name, parents=sorted(parents))
        for name, parents in graph:
            assert set(uids(store.parents(name))) == parents
            assert set(uids(store.ancestors(name))) == ancestors[name]
            assert set(uids(store.children(name))) == {n for n, p in graph if name in p}
            assert set(uids(store.descendants(name))) == {
                n for n, above in ancestors.items() if name in above
            }
            # Origins come before what came of them.
            order = uids(store.ancestors(name))
            assert all(order.index(p) < order.index(a) for a in order for p in ancestors[a])


def test_threads_take_turns(store: DataStore) -> None:
    store.add("session", "s")

    def work(number: int) -> None:
        for i in range(20):
            store.add("item", f"{number}-{i}", parents=["s"])
            store.find(session_id="s")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.children("s")) == 80


ADD_ITEMS = """
import sys
from pathlib import Path
from gently.core.data_store import DataStore
with DataStore(Path(sys.argv[1])) as store:
    store.add("session", "s")
    for i in range(20):
        store.add("item", f"{sys.argv[2]}-{i}", parents=["s"])
"""


def test_processes_may_open_and_write_one_index_at_once(tmp_path: Path) -> None:
    path = tmp_path / "lineage.sqlite"
    processes = [
        subprocess.Popen([sys.executable, "-c", ADD_ITEMS, str(path), str(number)])
        for number in range(3)
    ]
    assert [process.wait() for process in processes] == [0, 0, 0]
    with DataStore(path) as store:
        assert len(store.children("s")) == 60
