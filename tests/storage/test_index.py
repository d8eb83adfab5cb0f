"""The index answers as the files would, and is never needed to read one."""

import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from storage import (
    BrokenVolumeError,
    IndexUnavailableError,
    VolumeNotFoundError,
    VolumeRecord,
    VolumeStore,
    formats,
    new_uid,
)
from tests.storage.helpers import make_spec, write_volume

SMALL = (1, 4, 4)


def write(store: VolumeStore, **changes: Any) -> VolumeRecord:
    return write_volume(store, make_spec(**{"shape": SMALL, **changes}))


def copied(record: VolumeRecord) -> Path:
    """Copy a volume by hand, as another one."""
    uid = new_uid()
    path = record.path.with_name(f"{uid}.tif")
    path.write_bytes(record.path.read_bytes().replace(record.uid.encode(), uid.encode()))
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tell which files are read."""
    seen: list[str] = []
    read = formats.read

    def counted(path: Path) -> VolumeRecord:
        seen.append(path.stem)
        return read(path)

    monkeypatch.setattr(formats, "read", counted)
    return seen


# --- asking ---------------------------------------------------------------------------------------


def test_volumes_are_found_by_what_they_are(store: VolumeStore) -> None:
    first = write(store, session_id="a", embryo="e1", tags=["good", "late"])
    second = write(store, session_id="b", embryo="e1")
    third = write(store, session_id="b", plan_name="snap", acquisition_uid=new_uid())
    assert store.query() == [third, second, first]
    assert store.query(session="b") == [third, second]
    assert store.query(embryo="e1") == [second, first]
    assert store.query(acquisition=third.spec.acquisition_uid) == [third]
    assert store.query(plan="snap") == [third]
    assert store.query(tag="good") == [first]
    assert store.query(session="b", embryo="e1") == [second]
    assert store.query(tag="late", session="b") == []
    assert store.query(since=second.created) == [third, second]
    assert store.query(until=second.created) == [first]
    assert store.query(since=second.created, until=third.created) == [second]


def test_a_time_in_any_zone_is_the_same_time(store: VolumeStore) -> None:
    record = write(store)
    tokyo = record.created.astimezone(timezone(timedelta(hours=9)))
    assert store.query(since=tokyo) == [record]
    assert store.query(until=tokyo) == []


def test_a_time_without_a_zone_is_refused(store: VolumeStore) -> None:
    with pytest.raises(ValueError, match="since has no time zone"):
        store.query(since=datetime(2026, 1, 1))


def test_pages_follow_each_other_without_gap_or_overlap(store: VolumeStore) -> None:
    records = [write(store, tags=["good"]) for _ in range(7)][::-1]
    conditions: list[dict[str, Any]] = [{}, {"tag": "good"}, {"session": "morning"}]
    for condition in conditions:
        pages, after = [], None
        while page := store.query(limit=3, after=after, **condition):
            pages.append(page)
            after = page[-1].uid
        assert [len(page) for page in pages] == [3, 3, 1]
        assert [record for page in pages for record in page] == records


def test_a_page_goes_on_where_a_volume_was_put_into_the_trash(store: VolumeStore) -> None:
    oldest, middle, _ = (write(store) for _ in range(3))
    store.trash(middle.uid, reason="blurred", by="nils")
    assert store.query(after=middle.uid) == [oldest]


def test_a_page_after_nothing_known_is_refused(store: VolumeStore) -> None:
    with pytest.raises(VolumeNotFoundError):
        store.query(after=new_uid())


def test_the_sums_are_those_of_the_files(store: VolumeStore) -> None:
    empty = store.stats()
    assert (empty.volumes, empty.bytes, empty.oldest, empty.newest) == (0, 0, None, None)
    records = [write(store, session_id=session) for session in "aab"]
    store.trash(records[0].uid, reason="blurred", by="nils")
    (store.volumes / "notes.txt").touch()
    store.refresh()
    stats = store.stats()
    assert (stats.volumes, stats.bytes) == (2, 2 * 4 * 4 * 2)
    assert (stats.trashed, stats.trashed_bytes) == (1, 4 * 4 * 2)
    assert (stats.broken, stats.sessions) == (1, 2)
    assert (stats.oldest, stats.newest) == (records[1].created, records[2].created)


def test_whoever_knows_sql_may_ask_the_index_as_documented(store: VolumeStore) -> None:
    record = write(store)
    sql = "SELECT path, uid, status, shape, checksum, size FROM volume JOIN file USING (path)"
    connection = sqlite3.connect(store.root / "index.sqlite")
    (row,) = connection.execute(sql).fetchall()
    connection.close()
    name, size = f"volumes/{record.uid}.tif", record.path.stat().st_size
    shape = json.dumps(record.shape)
    assert row == (name, record.uid, "complete", shape, record.checksum, size)


# --- knowing what the files say -------------------------------------------------------------------


def test_a_known_volume_is_listed_and_told_without_reading_its_file(
    store: VolumeStore, reads: list[str]
) -> None:
    record = write(store)
    assert store.list() == [record]
    assert store.record(record.uid) == record
    with VolumeStore(store.root) as another:
        assert another.list() == [record]
        assert another.record(record.uid) == record
    assert reads == []


def test_a_file_copied_in_by_hand_is_found_by_its_uid_at_once_and_listed_after_a_look(
    store: VolumeStore, reads: list[str]
) -> None:
    record = write(store)
    assert store.list() == [record]
    one, two = copied(record), copied(record)
    assert store.record(one.stem).path == one
    found = store.refresh()
    assert (found.files, found.read, found.gone) == (3, 1, 0)
    assert {known.uid for known in store.list()} == {record.uid, one.stem, two.stem}
    assert reads == [one.stem, two.stem]


def test_a_file_that_was_removed_by_hand_is_forgotten(store: VolumeStore) -> None:
    kept, removed = write(store), write(store)
    removed.path.unlink()
    with pytest.raises(VolumeNotFoundError):
        store.record(removed.uid)
    assert store.refresh().gone == 1
    assert store.list() == [kept]


def test_a_file_that_was_overwritten_is_noticed(store: VolumeStore) -> None:
    kept, overwritten = write(store), write(store)
    overwritten.path.write_bytes(b"something else")
    with pytest.raises(BrokenVolumeError, match="not a TIFF file"):
        store.record(overwritten.uid)
    assert store.list() == [kept]
    assert [file.path for file in store.broken()] == [overwritten.path]


def test_a_broken_file_that_is_mended_is_a_volume_again(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its size and time stay: a disk or a permission may have come back."""
    record = write(store)

    def failing(path: Path) -> VolumeRecord:
        raise BrokenVolumeError(path, "[Errno 5] Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(formats, "read", failing)
        store.rebuild()
        assert store.list() == []
        assert [file.reason for file in store.broken()] == ["[Errno 5] Input/output error"]
    store.refresh()
    assert store.list() == [record]
    assert store.broken() == []


def test_a_moved_store_needs_to_read_nothing(
    store: VolumeStore, tmp_path: Path, reads: list[str]
) -> None:
    record = write(store)
    store.trash(write(store).uid, reason="blurred", by="nils")
    store.close()
    reads.clear()
    with VolumeStore(Path(shutil.move(store.root, tmp_path / "elsewhere"))) as moved:
        path = tmp_path / "elsewhere" / "volumes" / record.path.name
        assert moved.list() == [record.model_copy(update={"path": path})]
        assert len(moved.trashed()) == 1
    assert reads == []


def test_a_rebuild_reads_every_file_and_tells_how_far_it_is(store: VolumeStore) -> None:
    record = write(store)
    uids = {record.uid} | {copied(record).stem for _ in range(1200)}
    told: list[tuple[int, int]] = []
    found = store.rebuild(lambda done, total: told.append((done, total)))
    assert (found.files, found.read, found.broken) == (1201, 1201, [])
    assert told == [(500, 1201), (1000, 1201), (1201, 1201)]
    assert {known.uid for known in store.list()} == uids
    assert store.refresh(lambda *_: pytest.fail("nothing is to be read")).read == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps names as text")
def test_a_name_that_is_no_text_is_reported_and_stops_nothing(store: VolumeStore) -> None:
    record = write(store)
    shutil.copy(os.fsencode(record.path), os.fsencode(store.volumes) + b"/\xff\xfe.tif")
    for _ in range(2):
        (broken,) = store.refresh().broken
        assert "is not a UID" in broken.reason
        assert [file.path.name for file in store.broken()] == ["\\udcff\\udcfe.tif"]
        assert store.list() == [record]


def test_the_deepest_metadata_that_a_volume_may_have_can_be_listed(store: VolumeStore) -> None:
    def deep(levels: int) -> Any:
        return "x" if levels == 0 else [deep(levels - 1)]

    def refused(levels: int) -> bool:
        try:
            make_spec(metadata={"deep": deep(levels)})
        except ValueError:
            return True
        return False

    most = next(levels for levels in range(50, 400) if refused(levels + 1))
    record = write(store, metadata={"deep": deep(most)})
    assert store.list() == [record]
    store.rebuild()
    assert store.list() == [record]


# --- an index that is lost ------------------------------------------------------------------------


def deleted(index: Path) -> None:
    index.unlink()


def emptied(index: Path) -> None:
    index.write_bytes(b"")


def garbage(index: Path) -> None:
    index.write_bytes(os.urandom(20_000))


def cut(index: Path) -> None:
    os.truncate(index, index.stat().st_size // 2)


def with_a_bad_sector(index: Path) -> None:
    data = bytearray(index.read_bytes())
    data[4096:8192] = os.urandom(4096)
    index.write_bytes(data)


def with_a_changed_letter(index: Path) -> None:
    index.write_bytes(index.read_bytes().replace(b"morning", b"evening"))


def foreign(index: Path) -> None:
    index.unlink()
    connection = sqlite3.connect(index)
    connection.execute("CREATE TABLE address (name TEXT)")
    connection.execute("INSERT INTO address VALUES ('Nils')")
    connection.commit()
    connection.close()


def of_another_version(index: Path) -> None:
    connection = sqlite3.connect(index)
    connection.execute("PRAGMA user_version = 1")
    connection.close()


def of_another_record(index: Path) -> None:
    """A row that a program with other records wrote, and wrote properly."""
    import xxhash

    connection = sqlite3.connect(index)
    sql = "SELECT volume.*, size, mtime_ns FROM volume JOIN file USING (path)"
    *values, record, _, size, time = connection.execute(sql).fetchone()
    record = json.dumps(json.loads(record) | {"colour": "blue"})
    text = "\0".join(map(str, (*values, record, size, time)))
    digest = xxhash.xxh3_64_hexdigest(text.encode())
    connection.execute("UPDATE volume SET record = ?, digest = ?", (record, digest))
    connection.commit()
    connection.close()


def that_does_not_know_what_it_knows(index: Path) -> None:
    _run(index, "DELETE FROM fill")


def that_says_twice_what_it_knows(index: Path) -> None:
    _run(index, "INSERT INTO fill VALUES (1, 0)")


def that_says_nonsense_of_what_it_knows(index: Path) -> None:
    _run(index, "UPDATE fill SET generation = x'00ff', complete = 'perhaps'")


def _run(index: Path, sql: str) -> None:
    connection = sqlite3.connect(index)
    connection.execute(sql)
    connection.commit()
    connection.close()


LOSSES = [
    *(deleted, emptied, garbage, cut, with_a_bad_sector, with_a_changed_letter),
    *(that_does_not_know_what_it_knows, that_says_twice_what_it_knows),
    that_says_nonsense_of_what_it_knows,
    *(foreign, of_another_version, of_another_record),
]


@pytest.mark.parametrize("lose", LOSSES)
def test_an_index_that_is_lost_is_made_again_from_the_files(
    lose: Callable[[Path], None], store: VolumeStore
) -> None:
    record, trashed = write(store), write(store)
    store.trash(trashed.uid, reason="blurred", by="nils")
    (store.volumes / "notes.txt").touch()
    store.refresh()
    store.close()
    lose(store.root / "index.sqlite")
    with VolumeStore(store.root) as again:
        assert again.list() == [record]
        assert [one.uid for one in again.query(status="trashed")] == [trashed.uid]
        assert [file.path.name for file in again.broken()] == ["notes.txt"]
        assert again.query(session="morning") == [record]
        assert again.record(record.uid) == record


@pytest.mark.parametrize("lose", [deleted, garbage, foreign])
def test_a_loss_is_noticed_by_a_store_in_use(
    lose: Callable[[Path], None], store: VolumeStore, caplog: pytest.LogCaptureFixture
) -> None:
    records = [write(store) for _ in range(2)]
    assert store.list() == records[::-1]
    connection = sqlite3.connect(store.root / "index.sqlite")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with caplog.at_level(logging.WARNING, logger="storage"):
        lose(store.root / "index.sqlite")
        records.append(write(store))
        assert store.list() == records[::-1]
    assert store.stats().volumes == 3


def test_what_was_in_the_way_is_kept_aside(store: VolumeStore) -> None:
    foreign_bytes = b"SQLite would not know this" * 100
    (store.root / "index.sqlite").write_bytes(foreign_bytes)
    record = write(store)
    assert store.list() == [record]
    assert (store.root / "index.sqlite.broken").read_bytes() == foreign_bytes


def a_folder(_monkeypatch: pytest.MonkeyPatch, index: Path) -> None:
    index.mkdir()


def read_only(monkeypatch: pytest.MonkeyPatch, index: Path) -> None:
    connect = sqlite3.connect

    def read_only(path: str, **options: Any) -> sqlite3.Connection:
        here = str(path).startswith(index.as_uri())
        opened = path.replace("mode=rw", "mode=ro") if here else path
        connection: sqlite3.Connection = connect(opened, **options)
        return connection

    monkeypatch.setattr(sqlite3, "connect", read_only)


@pytest.mark.parametrize("make_unusable", [a_folder, read_only])
def test_where_the_index_is_of_no_use_everything_works_without_it_and_the_reason_is_told(
    store: VolumeStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make_unusable: Callable[[pytest.MonkeyPatch, Path], None],
) -> None:
    make_unusable(monkeypatch, store.root / "index.sqlite")
    with caplog.at_level(logging.WARNING, logger="storage"):
        record = write(store)
    assert "delete it: it is made again" in caplog.text
    assert store.record(record.uid) == record
    assert store.verify(record.uid) == record
    with store.open(record.uid) as volume:
        assert volume.array.shape == SMALL
    caplog.clear()
    assert store.list() == [record]
    assert "Until then this process uses one of its own" in caplog.text
    with VolumeStore(store.root) as other:  # what it writes is seen, too
        second = write(other)
    assert store.list() == [second, record]
    assert store.rebuild().files == 2
    assert store.stats().volumes == 2


def test_an_index_that_becomes_unusable_while_it_is_used_keeps_nobody_from_listing(
    store: VolumeStore,
) -> None:
    record = write(store)
    assert store.list() == [record]
    for path in store.root.glob("index.sqlite*"):
        path.unlink()
    (store.root / "index.sqlite").mkdir()
    assert store.list() == [record]


def test_a_closed_store_still_reads_and_writes_by_uid(store: VolumeStore) -> None:
    first = write(store)
    store.close()
    store.close()
    second = write(store)
    assert store.record(second.uid) == second
    with pytest.raises(IndexUnavailableError, match="its store was closed"):
        store.list()
    with VolumeStore(store.root) as again:
        assert again.list() == [second, first]


def test_an_archive_that_cannot_be_written_has_an_index_of_its_own(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write(store)
    store.close()
    for path in store.root.glob("index*"):
        path.unlink()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with VolumeStore(store.root) as archive:
        assert archive.list() == [first]
        assert list(archive.root.glob("index*")) == []
        second = write(VolumeStore(store.root))
        assert archive.list() == [second, first]
