"""What is removed can be brought back, with who, when and why; a UID is never given twice."""

import errno
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage import (
    TrashError,
    UidTakenError,
    VolumeNotFoundError,
    VolumeRecord,
    VolumeStore,
    VolumeTrashedError,
    new_uid,
)
from tests.storage.helpers import make_spec, names, write_volume

AT_ONCE = timedelta(0)


@pytest.fixture
def record(store: VolumeStore) -> VolumeRecord:
    return write_volume(store, make_spec(shape=(2, 4, 4)))


def trash(store: VolumeStore, record: VolumeRecord) -> None:
    store.trash(record.uid, reason="blurred", by="nils")


def test_a_trashed_volume_is_gone_from_the_store_and_kept_whole(
    store: VolumeStore, record: VolumeRecord
) -> None:
    data = record.path.read_bytes()
    trash(store, record)
    assert store.list() == []
    assert names(store) == []
    assert (store.root / "trash" / record.path.name).read_bytes() == data
    (listed,) = store.query(status="trashed")
    assert listed == record.model_copy(update={"path": store.root / "trash" / record.path.name})


def test_who_asks_for_a_trashed_volume_is_told_who_when_why_and_the_remedy(
    store: VolumeStore, record: VolumeRecord
) -> None:
    trash(store, record)
    said = f"{record.uid} was trashed by nils at {datetime.now(UTC):%Y-%m-%d}.*: blurred.*restore"
    for ask in (store.record, store.open, store.verify):
        with pytest.raises(VolumeTrashedError, match=said):
            ask(record.uid)


def test_the_note_beside_the_volume_is_plain_json(store: VolumeStore, record: VolumeRecord) -> None:
    trash(store, record)
    (note,) = store.trashed()
    written = json.loads((store.root / "trash" / f"{record.uid}.json").read_bytes())
    assert written == note.model_dump(mode="json")
    assert (written["uid"], written["reason"], written["by"]) == (record.uid, "blurred", "nils")


def test_a_restored_volume_is_as_it_was(store: VolumeStore, record: VolumeRecord) -> None:
    trash(store, record)
    assert store.restore(record.uid) == record.path
    assert store.verify(record.uid) == record
    assert store.list() == [record]
    assert store.query(status="trashed") == []
    assert store.trashed() == []
    assert list((store.root / "trash").iterdir()) == []


def test_the_trash_needs_no_index(store: VolumeStore, record: VolumeRecord) -> None:
    trash(store, record)
    for path in store.root.glob("index*"):
        path.unlink()
    with VolumeStore(store.root) as again:
        assert [note.uid for note in again.trashed()] == [record.uid]
        assert len(again.query(status="trashed")) == 1
        again.restore(record.uid)
        assert again.list() == [record]


def test_the_uid_of_a_trashed_or_deleted_volume_stays_taken(
    store: VolumeStore, record: VolumeRecord
) -> None:
    trash(store, record)
    with pytest.raises(UidTakenError, match=r"trash.*\.tif"):
        store.create(record.spec)
    store.empty_trash(AT_ONCE)
    with pytest.raises(UidTakenError, match=r"trash.*\.json"):
        store.create(record.spec)
    assert names(store) == []


def test_emptying_deletes_what_was_put_away_long_enough_ago(
    store: VolumeStore, record: VolumeRecord
) -> None:
    trash(store, record)
    assert store.empty_trash(timedelta(days=1)) == []
    (note,) = store.empty_trash(AT_ONCE)
    assert note.uid == record.uid
    assert note.emptied is not None
    assert note.emptied >= note.trashed
    assert store.trashed() == []
    assert store.query(status="trashed") == []
    assert store.stats().trashed == 0
    for ask in (store.record, store.restore):
        with pytest.raises((VolumeTrashedError, TrashError), match=r"nils.*deleted for good"):
            ask(record.uid)


def test_what_cannot_be_restored_says_so(store: VolumeStore, record: VolumeRecord) -> None:
    with pytest.raises(TrashError, match="is not in the trash"):
        store.restore(new_uid())
    trash(store, record)
    store.restore(record.uid)
    with pytest.raises(UidTakenError):
        store.restore(record.uid)
    assert names(store) == [record.path.name]


def test_an_unknown_volume_cannot_be_trashed(store: VolumeStore, record: VolumeRecord) -> None:
    with pytest.raises(VolumeNotFoundError):
        store.trash(new_uid(), reason="blurred", by="nils")
    trash(store, record)
    with pytest.raises(VolumeTrashedError):
        trash(store, record)


def test_a_volume_that_is_being_written_cannot_be_trashed(store: VolumeStore) -> None:
    with store.create(make_spec()) as writer, pytest.raises(VolumeNotFoundError):
        store.trash(writer.spec.uid, reason="blurred", by="nils")


def test_nothing_is_overwritten_in_the_trash_or_by_restoring(
    store: VolumeStore, record: VolumeRecord
) -> None:
    data = record.path.read_bytes()
    trash(store, record)
    trashed = store.root / "trash" / record.path.name
    record.path.write_bytes(b"copied here by hand")
    with pytest.raises(TrashError, match="lies in the trash already"):
        store.trash(record.uid, reason="blurred", by="nils")
    with pytest.raises(UidTakenError):
        store.restore(record.uid)
    assert trashed.read_bytes() == data
    assert record.path.read_bytes() == b"copied here by hand"


def test_a_broken_file_can_be_trashed_and_restored(store: VolumeStore) -> None:
    path = store.path(new_uid())
    path.write_bytes(b"no volume")
    store.refresh()
    assert len(store.broken()) == 1
    store.trash(path.stem, reason="broken", by="nils")
    assert store.broken() == []
    assert store.restore(path.stem) == path
    assert [file.path for file in store.broken()] == [path]


def test_a_mapped_volume_stays_readable_while_it_is_trashed_and_deleted(
    store: VolumeStore, record: VolumeRecord
) -> None:
    if os.name == "nt":
        pytest.skip("Windows moves no mapped file: the volume stays and TrashError says why")
    with store.open(record.uid) as volume:
        trash(store, record)
        store.empty_trash(AT_ONCE)
        assert volume.array[1, 0, 0] == 1


def test_a_file_that_another_program_holds_stays_where_it_is(
    store: VolumeStore, record: VolumeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(_path: Path, _target: Path) -> None:
        raise PermissionError(errno.EACCES, "used by another process")

    with monkeypatch.context() as windows:
        windows.setattr(Path, "rename", held)
        with pytest.raises(TrashError, match=r"used by another process.*End the programs"):
            trash(store, record)
    assert store.record(record.uid) == record
    assert store.list() == [record]
    assert store.trashed() == []
    trash(store, record)
    assert len(store.trashed()) == 1


def test_a_note_that_a_dying_process_left_means_nothing(
    store: VolumeStore, record: VolumeRecord
) -> None:
    """The note is written before the file moves, so that no file is without one."""
    trash(store, record)
    note = (store.root / "trash" / f"{record.uid}.json").read_bytes()
    store.restore(record.uid)
    (store.root / "trash" / f"{record.uid}.json").write_bytes(note)
    assert store.record(record.uid) == record
    assert store.trashed() == []
    assert store.empty_trash(AT_ONCE) == []
    record.path.unlink()
    with pytest.raises(VolumeNotFoundError, match="no volume"):
        store.record(record.uid)


def test_a_deletion_that_was_cut_short_is_done_by_the_next(
    store: VolumeStore, record: VolumeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_path: Path, *, missing_ok: bool = False) -> None:
        raise OSError(errno.EIO, "Input/output error")

    trash(store, record)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", failing)
        assert store.empty_trash(AT_ONCE) == []
    assert [note.uid for note in store.trashed()] == [record.uid]
    assert [note.uid for note in store.empty_trash(AT_ONCE)] == [record.uid]


@pytest.mark.parametrize(
    "hostile",
    [b"", b"[]", b"\xff", b'{"uid": "../../volumes/x", "reason": "", "by": "", "trashed": 0}'],
)
def test_a_note_that_is_none_is_skipped_and_its_volume_never_deleted(
    hostile: bytes, store: VolumeStore, record: VolumeRecord
) -> None:
    other = write_volume(store)
    for one in (record, other):
        trash(store, one)
    (store.root / "trash" / f"{record.uid}.json").write_bytes(hostile)
    (store.root / "trash" / "no uid.json").write_bytes(hostile)
    assert [note.uid for note in store.trashed()] == [other.uid]
    assert [note.uid for note in store.empty_trash(AT_ONCE)] == [other.uid]
    assert [one.uid for one in store.query(status="trashed")] == [record.uid]
    assert store.restore(record.uid) == record.path
