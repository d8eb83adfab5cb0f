"""Whatever happens to a store, in any order: it is what its files say, and what a model says."""

import os
import shutil
import sqlite3
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from storage import (
    BrokenVolumeError,
    TrashError,
    UidTakenError,
    VolumeNotFoundError,
    VolumeRecord,
    VolumeStore,
    VolumeWriter,
    new_uid,
)
from tests.storage.helpers import fill, make_pixels, make_spec, write_volume

SMALL = (1, 4, 4)
picks = st.integers(0, 1000)


class StoreMachine(RuleBasedStateMachine):
    """The model: what is in the store, in the trash, deleted, broken and being written."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.good: dict[str, VolumeRecord] = {}
        self.trashed: dict[str, VolumeRecord] = {}
        self.deleted: dict[str, VolumeRecord] = {}
        self.broken: set[Path] = set()
        self.writing: list[VolumeWriter] = []

    @initialize()
    def begin(self) -> None:
        self.store = VolumeStore(self.folder / "data")
        self.onlooker = VolumeStore(self.folder / "data")

    def teardown(self) -> None:
        for writer in self.writing:
            writer.discard("the end")
        for store in (self.store, self.onlooker):
            store.close()
        shutil.rmtree(self.folder)

    # what an acquisition does

    @precondition(lambda self: len(self.writing) < 3)
    @rule()
    def create(self) -> None:
        writer = self.store.create(make_spec(shape=SMALL))
        fill(writer, make_pixels(writer.spec))
        self.writing.append(writer)

    @precondition(lambda self: self.writing)
    @rule(pick=picks)
    def finish(self, pick: int) -> None:
        record = self.writing.pop(pick % len(self.writing)).finish()
        self.good[record.uid] = record

    @precondition(lambda self: self.writing)
    @rule(pick=picks)
    def discard(self, pick: int) -> None:
        self.writing.pop(pick % len(self.writing)).discard("not wanted")

    @rule(pick=picks)
    def take_a_uid_twice(self, pick: int) -> None:
        specs = [record.spec for record in {**self.good, **self.trashed, **self.deleted}.values()]
        specs += [writer.spec for writer in self.writing]
        if specs:
            with pytest.raises(UidTakenError):
                self.store.create(specs[pick % len(specs)])

    # what a person does

    @precondition(lambda self: self.good)
    @rule(pick=picks)
    def trash(self, pick: int) -> None:
        uid = picked(self.good, pick)
        self.store.trash(uid, reason="blurred", by="nils")
        self.trashed[uid] = self.good.pop(uid)
        with pytest.raises(VolumeNotFoundError):
            self.store.trash(uid, reason="blurred", by="nils")

    @precondition(lambda self: self.trashed)
    @rule(pick=picks)
    def restore(self, pick: int) -> None:
        uid = picked(self.trashed, pick)
        assert self.store.restore(uid) == self.trashed[uid].path
        self.good[uid] = self.trashed.pop(uid)
        with pytest.raises(UidTakenError):
            self.store.restore(uid)

    @rule()
    def empty_the_trash(self) -> None:
        emptied = self.store.empty_trash(timedelta(0))
        assert {note.uid for note in emptied} == set(self.trashed)
        self.deleted |= self.trashed
        self.trashed = {}
        for uid in self.deleted:
            with pytest.raises(TrashError):
                self.store.restore(uid)

    @rule()
    def rebuild(self) -> None:
        found = self.store.rebuild()
        assert {file.path for file in found.broken} == self.broken

    @rule()
    def start_again(self) -> None:
        """As after a crash: nobody closed the store, and what was being written is lost."""
        for writer in self.writing:
            writer.discard("the process ends")
        self.writing = []
        self.store = VolumeStore(self.store.root)
        self.store.sweep()
        self.store.refresh()

    @rule()
    def move(self) -> None:
        """The onlooker is closed meanwhile: Windows moves no open file."""
        for writer in self.writing:
            writer.discard("the process ends")
        self.writing = []
        for store in (self.store, self.onlooker):
            store.close()
        old, new = self.store.root, self.folder / new_uid()
        shutil.move(old, new)
        for records in (self.good, self.trashed):
            for uid, record in records.items():
                path = new / record.path.relative_to(old)
                records[uid] = record.model_copy(update={"path": path})
        self.broken = {new / path.relative_to(old) for path in self.broken}
        self.store, self.onlooker = VolumeStore(new), VolumeStore(new)

    # what goes wrong

    @rule(also_its_log=st.booleans())
    def delete_the_index(self, *, also_its_log: bool) -> None:
        self.close_for_windows()
        for end in ("", "-wal", "-shm") if also_its_log else ("",):
            Path(f"{self.store.root / 'index.sqlite'}{end}").unlink(missing_ok=True)

    @rule(how=st.sampled_from(["garbage", "cut", "sector", "foreign", "empty"]))
    def corrupt_the_index(self, how: str) -> None:
        for store in (self.store, self.onlooker):
            store.close()
        index = self.store.root / "index.sqlite"
        if index.exists():
            corrupt(index, how)
        self.store, self.onlooker = VolumeStore(self.store.root), VolumeStore(self.store.root)

    @precondition(lambda self: self.good)
    @rule(pick=picks, how=st.sampled_from(["delete", "cut", "overwrite"]))
    def kill_a_file(self, pick: int, how: str) -> None:
        uid = picked(self.good, pick)
        path = self.good.pop(uid).path
        if how == "delete":
            path.unlink()
        elif how == "cut":
            os.truncate(path, path.stat().st_size // 2)
        else:
            path.write_bytes(b"something else")
        if how != "delete":
            self.broken.add(path)
        with pytest.raises((VolumeNotFoundError, BrokenVolumeError)):
            self.store.record(uid)
        self.store.refresh()

    @rule(name=st.sampled_from(["notes.txt", "embryo.tif", ".DS_Store"]))
    def a_stranger_comes(self, name: str) -> None:
        (self.store.volumes / name).touch()
        self.broken.add(self.store.volumes / name)
        self.store.refresh()

    @rule()
    def a_volume_is_copied_in(self) -> None:
        with VolumeStore(self.folder / "other") as other:
            record = write_volume(other, make_spec(shape=SMALL))
        path = Path(shutil.move(record.path, self.store.volumes))
        self.good[record.uid] = record.model_copy(update={"path": path})
        self.store.refresh()

    # what holds at any time, for each process

    @invariant()
    def it_is_what_the_model_says(self) -> None:
        for store in (self.store, self.onlooker):
            listed = store.list()
            assert {record.uid: record for record in listed} == self.good
            assert [record.created for record in listed] == sorted(
                (record.created for record in listed), reverse=True
            )
            in_trash = {record.uid for record in store.query(status="trashed")}
            assert in_trash == {note.uid for note in store.trashed()} == set(self.trashed)
            assert {file.path for file in store.broken()} == self.broken
            stats = store.stats()
            assert (stats.volumes, stats.trashed) == (len(self.good), len(self.trashed))

    @invariant()
    def every_volume_is_found_by_its_uid(self) -> None:
        for uid, record in self.good.items():
            assert self.onlooker.record(uid) == record
        for uid in (*self.trashed, *self.deleted, *(writer.spec.uid for writer in self.writing)):
            with pytest.raises(VolumeNotFoundError):
                self.onlooker.record(uid)

    def close_for_windows(self) -> None:
        if os.name == "nt":
            for store in (self.store, self.onlooker):
                store.close()
            self.store, self.onlooker = VolumeStore(self.store.root), VolumeStore(self.store.root)


def picked(records: dict[str, VolumeRecord], pick: int) -> str:
    return list(records)[pick % len(records)]


def corrupt(index: Path, how: str) -> None:
    data = bytearray(index.read_bytes())
    if how == "garbage":
        data = bytearray(os.urandom(len(data)))
    elif how == "cut":
        del data[len(data) // 2 :]
    elif how == "sector":
        data[4096:8192] = os.urandom(4096)
    elif how == "empty":
        data.clear()
    index.unlink()
    if how == "foreign":
        connection = sqlite3.connect(index)
        connection.execute("CREATE TABLE address (name TEXT)")
        connection.close()
    else:
        index.write_bytes(data)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=6, stateful_step_count=25, deadline=None)
