"""Derived data, files of others, sessions and deletion: the lineage tells what became of all."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from gently.core.data_store import (
    DataStore,
    DataStoreError,
    FileChangedError,
    FileGoneError,
    LineageError,
    Record,
    RegistrationError,
    UnknownRecordError,
)
from gently.core.lineage import measure
from tests.core.lineage.samples import KNOWN, sample


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DataStore]:
    with DataStore(tmp_path / "storage" / "lineage.sqlite") as store:
        store.add("volume", "v")
        yield store


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return tmp_path / "outside"


def uids(records: list[Record]) -> list[str]:
    return [record.uid for record in records]


class TestDerivedData:
    def test_is_found_from_its_origin_and_leads_back_at_any_depth(self, store: DataStore) -> None:
        store.derive("mask", "mask", ["v"], metadata={"model": "sam"})
        store.derive("cells", "detection", ["mask", "v"])
        store.derive("counts", "table", ["cells"])
        assert uids(store.ancestors("counts")) == ["v", "mask", "cells"]
        assert uids(store.descendants("v", kinds=["table", "mask"])) == ["mask", "counts"]
        assert uids(store.descendants("v", depth=1)) == ["mask", "cells"]

    def test_may_be_a_file_of_its_own(self, store: DataStore, outside: Path) -> None:
        path, uid = sample(outside, "a.csv"), uuid4().hex
        record = store.derive(uid, "table", ["v"], path)
        assert (record.path, record.kind) == (path, "table")
        assert uids(store.parents(uid)) == ["v"]

    def test_again_is_the_same(self, store: DataStore) -> None:
        first = store.derive("mask", "mask", ["v"], metadata={"model": "sam"})
        assert store.derive("mask", "mask", ["v"], metadata={"model": "sam"}) == first
        assert uids(store.children("v")) == ["mask"]

    def test_is_made_of_something_that_is_there(self, store: DataStore, outside: Path) -> None:
        with pytest.raises(LineageError, match="made of something"):
            store.derive("mask", "mask", [])
        uid, path = uuid4().hex, sample(outside, "a.csv")
        with pytest.raises(UnknownRecordError, match="nobody"):
            store.derive(uid, "table", ["v", "nobody"], path)
        assert uid not in store

    def test_is_of_a_kind_that_can_be_one(self, store: DataStore) -> None:
        with pytest.raises(LineageError, match="is no kind"):
            store.derive("mask", "a mask!", ["v"])

    def test_of_what_is_deleted_since_is_still_recorded(self, store: DataStore) -> None:
        store.delete("v", "out of focus")
        store.derive("mask", "mask", ["v"])
        (origin,) = store.parents("mask")
        assert origin.reason == "out of focus"


class TestAReferencedFile:
    @pytest.mark.parametrize("name", KNOWN)
    def test_stays_where_it_is_with_its_checksum(
        self, store: DataStore, outside: Path, name: str
    ) -> None:
        path = sample(outside, name)
        record = store.register_external_file(uuid4().hex, path, kind="mask")
        assert (record.path, record.adopted, record.missing) == (path, False, False)
        assert record.checksum == measure(path).checksum
        assert store.verify(record.uid) == record

    def test_that_is_gone_is_told(self, store: DataStore, outside: Path) -> None:
        path = sample(outside, "a.csv")
        record = store.register_external_file(uuid4().hex, path, kind="table")
        path.unlink()
        assert record.missing
        with pytest.raises(FileGoneError, match=r"a\.csv.* is gone: bring it back"):
            store.verify(record.uid)

    def test_that_has_changed_is_told_and_never_taken_for_the_same(
        self, store: DataStore, outside: Path
    ) -> None:
        path = sample(outside, "a.csv")
        record = store.register_external_file(uuid4().hex, path, kind="table")
        path.write_text("z,y,x\n1,2,4\n")
        with pytest.raises(FileChangedError, match=r"12 bytes.*not .*12 bytes"):
            store.verify(record.uid)
        with pytest.raises(RegistrationError, match="is registered already with the content"):
            store.register_external_file(record.uid, path, kind="table")
        assert store.record(record.uid) == record

    def test_of_any_format_is_kept_as_a_file(self, store: DataStore, outside: Path) -> None:
        outside.mkdir()
        path = outside / "notes.docx"
        path.write_bytes(b"anything")
        with pytest.raises(RegistrationError, match="kind='file'"):
            store.register_external_file(uuid4().hex, path, kind="notes")
        record = store.register_external_file(uuid4().hex, path, kind="file")
        assert store.verify(record.uid) == record

    def test_that_its_store_vouches_for_is_not_read(self, store: DataStore, outside: Path) -> None:
        outside.mkdir()
        path = outside / "v.tif"
        path.write_bytes(b"no TIFF at all, but its store said that it is")
        uid = uuid4().hex
        record = store.register_external_file(uid, path, checksum="xxh3_64:1234")
        assert (record.checksum, record.bytes) == ("xxh3_64:1234", path.stat().st_size)
        assert store.register_external_file(uid, path, checksum="xxh3_64:1234") == record
        with pytest.raises(DataStoreError, match="verify it with the store that wrote it"):
            store.verify(uid)
        with pytest.raises(RegistrationError, match="it is xxh3_64:5678 now"):
            store.register_external_file(uid, path, checksum="xxh3_64:5678")

    def test_keeps_the_checksum_that_was_measured(self, store: DataStore, outside: Path) -> None:
        path, uid = sample(outside, "a.ome.tif"), uuid4().hex
        store.register_external_file(uid, path, checksum="xxh3_64:1234")
        measured = store.register_external_file(uid, path)
        assert store.register_external_file(uid, path, checksum="xxh3_64:1234") == measured
        assert store.verify(uid) == measured

    def test_that_cannot_be_read_is_refused(
        self, store: DataStore, outside: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def locked(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        path = sample(outside, "a.csv")
        monkeypatch.setattr(Path, "open", locked)
        with pytest.raises(RegistrationError, match="Permission denied"):
            store.register_external_file(uuid4().hex, path, kind="table")


class TestAnAdoptedFile:
    @pytest.mark.parametrize("name", KNOWN)
    def test_is_a_copy_that_outlives_its_source(
        self, store: DataStore, outside: Path, name: str
    ) -> None:
        path, uid = sample(outside, name), uuid4().hex
        content = measure(path)
        record = store.derive(uid, "mask", ["v"], path, custody="adopted")
        assert record.path == store.external / f"{uid}{path.name[1:]}"
        assert (record.adopted, record.checksum) == (True, content.checksum)
        path.rename(outside / "moved")
        assert store.verify(uid) == record

    def test_again_is_the_same(self, store: DataStore, outside: Path) -> None:
        path, uid = sample(outside, "a.csv"), uuid4().hex
        first = store.derive(uid, "table", ["v"], path, custody="adopted")
        assert store.derive(uid, "table", ["v"], path, custody="adopted") == first
        assert first.path is not None
        assert store.derive(uid, "table", ["v"], first.path, custody="adopted") == first
        path.write_text("another")
        with pytest.raises(RegistrationError, match="is registered already with the content"):
            store.derive(uid, "table", ["v"], path, custody="adopted")
        assert store.verify(uid) == first

    def test_that_is_refused_leaves_nothing(self, store: DataStore, outside: Path) -> None:
        path, uid = sample(outside, "a.csv"), uuid4().hex
        with pytest.raises(UnknownRecordError):
            store.derive(uid, "table", ["nobody"], path, custody="adopted")
        path.write_bytes(b"\0")
        with pytest.raises(RegistrationError, match="no text"):
            store.derive(uid, "table", ["v"], path, custody="adopted")
        assert [p.name for p in store.external.iterdir()] == [".lock"]
        assert uid not in store

    def test_of_a_process_killed_before_it_was_recorded_is_taken_up(
        self, store: DataStore, outside: Path
    ) -> None:
        path, uid = sample(outside, "a.csv"), uuid4().hex
        sample(store.external, "a.csv").rename(store.external / f"{uid}.csv")
        record = store.derive(uid, "table", ["v"], path, custody="adopted")
        assert store.verify(uid) == record

    def test_never_replaces_what_is_there(self, store: DataStore, outside: Path) -> None:
        path, uid = sample(outside, "a.csv"), uuid4().hex
        store.external.mkdir()
        (store.external / f"{uid}.csv").write_text("precious")
        with pytest.raises(RegistrationError, match="belongs to no record"):
            store.derive(uid, "table", ["v"], path, custody="adopted")
        assert (store.external / f"{uid}.csv").read_text() == "precious"
        assert uid not in store

    def test_that_does_not_fit_on_the_disk_is_refused_with_the_cause(
        self, store: DataStore, outside: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        path, uid = sample(outside, "a.csv"), uuid4().hex
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(RegistrationError, match="No space left"):
                store.derive(uid, "table", ["v"], path, custody="adopted")
        assert [p.name for p in store.external.iterdir()] == [".lock"]
        assert store.derive(uid, "table", ["v"], path, custody="adopted").adopted


ADOPT = """
import sys
from pathlib import Path
from gently.core.data_store import DataStore
storage, source, *uids = sys.argv[1:]
with DataStore(Path(storage)) as store:
    for uid in uids:
        record = store.register_external_file(uid, Path(source), custody="adopted")
        assert store.verify(uid) == record
"""


def test_processes_may_adopt_the_same_and_different_files_at_once(
    store: DataStore, outside: Path
) -> None:
    source = sample(outside, "a.ome.tif")
    names = [uuid4().hex for _ in range(4)]
    command = [sys.executable, "-c", ADOPT, str(store.path), str(source)]
    processes = [subprocess.Popen([*command, *order]) for order in (names, names[::-1])]
    assert [process.wait() for process in processes] == [0, 0]
    for uid in names:
        assert store.verify(uid).adopted
    assert len(list(store.external.glob("*.ome.tif"))) == 4


class TestDeletion:
    def test_leaves_a_tombstone_between_origin_and_descendants(self, store: DataStore) -> None:
        store.derive("mask", "mask", ["v"])
        store.derive("cells", "detection", ["mask"])
        gone = store.delete("mask", "wrong threshold")
        assert gone.deleted is not None
        assert gone.reason == "wrong threshold"
        assert uids(store.ancestors("cells")) == ["v", "mask"]
        assert uids(store.find(kind="mask")) == []
        assert "mask" in store

    def test_removes_an_adopted_copy_and_no_file_of_others(
        self, store: DataStore, outside: Path
    ) -> None:
        copy, theirs = uuid4().hex, uuid4().hex
        source = sample(outside, "a.ome.zarr")
        store.derive(copy, "mask", ["v"], source, custody="adopted")
        store.derive(theirs, "mask", ["v"], source)
        kept = [store.delete(uid, "done").path for uid in (copy, theirs)]
        assert [path is not None and path.exists() for path in kept] == [False, True]
        for uid in (copy, theirs):
            with pytest.raises(FileGoneError, match="was deleted on"):
                store.verify(uid)

    def test_again_changes_nothing(self, store: DataStore) -> None:
        first = store.delete("v", "out of focus")
        assert store.delete("v", "another reason") == first

    def test_uses_a_uid_up_but_not_a_path(self, store: DataStore, outside: Path) -> None:
        path, uid = sample(outside, "a.csv"), uuid4().hex
        store.derive(uid, "table", ["v"], path)
        store.delete(uid, "wrong")
        with pytest.raises(RegistrationError, match=r"was deleted on .* \(wrong\)"):
            store.derive(uid, "table", ["v"], path)
        with pytest.raises(LineageError, match="another uid"):
            store.add("table", uid)
        assert store.derive(uuid4().hex, "table", ["v"], path).path == path

    def test_of_nothing_is_refused(self, store: DataStore) -> None:
        with pytest.raises(UnknownRecordError):
            store.delete("nobody", "why not")

    def test_of_a_copy_that_cannot_be_removed_is_told_and_done_the_next_time(
        self, store: DataStore, outside: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def in_use(*_: object, **__: object) -> None:
            raise PermissionError(13, "another process uses it")

        uid = uuid4().hex
        record = store.derive(uid, "table", ["v"], sample(outside, "a.csv"), custody="adopted")
        assert record.path is not None
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", in_use)
            with pytest.raises(DataStoreError, match="delete it again"):
                store.delete(uid, "wrong")
        assert record.path.exists()
        store.delete(uid, "wrong")
        assert not record.path.exists()


class TestASession:
    def test_has_a_title_a_person_a_beginning_and_an_end(self, store: DataStore) -> None:
        begun = store.begin_session("s", title="heat shock", who="ada")
        assert (begun.title, begun.who, begun.ended) == ("heat shock", "ada", None)
        ended = store.end_session("s")
        assert ended.ended is not None
        assert begun.begun <= ended.ended
        assert store.end_session("s") == ended
        assert store.sessions() == [ended]

    def test_that_is_begun_again_goes_on_as_it_was(self, store: DataStore) -> None:
        begun = store.begin_session("s", title="heat shock", who="ada")
        store.end_session("s")
        assert store.begin_session("s") == begun
        assert store.begin_session("s", title="cold shock").title == "cold shock"

    def test_that_only_a_file_tells_of_is_one_too(self, store: DataStore, outside: Path) -> None:
        told = {"session_id": "s1", "item_uid": "i", "run_uid": "r"}
        uid = uuid4().hex
        store.register_external_file(uid, sample(outside, "a.ome.tif"), told)
        (session,) = store.sessions()
        assert (session.uid, session.title, session.ended) == ("s1", "", None)
        assert uids(store.find(kind="volume", session_id="s1")) == [uid]

    def test_are_listed_newest_first(self, store: DataStore) -> None:
        for name in ("first", "second", "third"):
            store.begin_session(name)
        assert [s.uid for s in store.sessions()] == ["third", "second", "first"]

    def test_cannot_end_unless_it_is_one(self, store: DataStore) -> None:
        with pytest.raises(LineageError, match="v is a volume and no session"):
            store.end_session("v")
        with pytest.raises(UnknownRecordError):
            store.end_session("nobody")

    def test_of_an_item_is_told_once_by_way_of_its_prompt(
        self, store: DataStore, outside: Path
    ) -> None:
        store.begin_session("s")
        store.add("prompt", "p", parents=["s"])
        store.add("item", "i", parents=["p"])
        told = {"session_id": "s", "item_uid": "i", "run_uid": "r"}
        store.register_external_file(uuid4().hex, sample(outside, "a.ome.tif"), told)
        assert uids(store.parents("i")) == ["p"]
