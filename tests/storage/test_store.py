"""Everything is found again from the files alone, and nothing in the folder stops the rest."""

import logging
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storage import (
    BrokenVolumeError,
    VolumeNotFoundError,
    VolumeRecord,
    VolumeStore,
    new_uid,
)
from tests.storage.helpers import make_spec, names, write_volume


def test_an_unknown_uid_is_not_found(store: VolumeStore) -> None:
    for ask in (store.record, store.open, store.verify):
        with pytest.raises(VolumeNotFoundError, match="no volume"):
            ask(new_uid())


def test_a_record_says_all_that_was_asked_for(store: VolumeStore) -> None:
    spec = make_spec()
    record = write_volume(store, spec)
    assert VolumeStore(store.root).record(spec.uid) == record
    assert record.spec == spec
    assert record.path == store.volumes / f"{spec.uid}.tif"
    assert record.created.tzinfo is not None


def test_the_newest_volume_is_first_and_the_limit_holds(store: VolumeStore) -> None:
    records = [write_volume(store, make_spec(shape=(1, 4, 4))) for _ in range(4)]
    assert store.list() == records[::-1]
    assert store.list(limit=2) == records[:1:-1]


def test_a_store_may_be_moved(store: VolumeStore, tmp_path: Path) -> None:
    record = write_volume(store)
    moved = VolumeStore(Path(shutil.move(store.root, tmp_path / "elsewhere")))
    assert moved.verify(record.uid).path == moved.path(record.uid)
    assert moved.list() == [record.model_copy(update={"path": moved.path(record.uid)})]


def test_the_array_is_read_only_and_gone_after_closing(store: VolumeStore) -> None:
    record = write_volume(store)
    with store.open(record.uid) as volume:
        with pytest.raises(ValueError, match="read-only"):
            volume.array[0][0, 0] = 1
        view = volume.array[1]
    with pytest.raises(ValueError, match="is closed"):
        _ = volume.array
    assert view[0, 0] == 1  # what the caller took stays valid


def test_verify_finds_a_single_flipped_bit_and_names_its_slice(store: VolumeStore) -> None:
    record = write_volume(store)
    flip(record.path, pixels_at(record.path) + 3 * record.spec.frame_bytes + 77)
    assert store.record(record.uid) == record  # cheap: pixels are not read
    with pytest.raises(BrokenVolumeError, match="slices 3 are not what was written"):
        store.verify(record.uid)


def test_sweeping_removes_what_dead_writers_left_and_no_other_file(store: VolumeStore) -> None:
    record = write_volume(store)
    dead = store.volumes / f"{new_uid()}.tif.part"
    dead.write_bytes(b"half a volume")
    with store.create(make_spec()) as writer:
        assert store.sweep(record.uid) == []
        assert store.sweep(dead.name.partition(".")[0]) == [dead]
        dead.write_bytes(b"half a volume")
        assert store.sweep() == [dead]
        alive = f"{writer.spec.uid}.tif.part"
        assert names(store) == sorted([record.path.name, alive])
    assert store.sweep() == []


# --- hostile and broken files ---------------------------------------------------------------------


def renamed(path: Path, record: VolumeRecord) -> bytes:
    """Return a good file's bytes, fit for the name `path`."""
    return record.path.read_bytes().replace(record.uid.encode(), path.stem.encode())


def truncated(path: Path, record: VolumeRecord) -> None:
    path.write_bytes(renamed(path, record)[: pixels_at(record.path) + record.spec.volume_bytes - 1])


def wrong_magic(path: Path, record: VolumeRecord) -> None:
    path.write_bytes(b"\x89PNG" + record.path.read_bytes()[4:])


def empty(path: Path, _: VolumeRecord) -> None:
    path.touch()


def a_copy_under_another_name(path: Path, record: VolumeRecord) -> None:
    shutil.copy(record.path, path)


def more_slices_than_the_file_holds(path: Path, record: VolumeRecord) -> None:
    path.write_bytes(renamed(path, record).replace(b"[5, 32, 64]", b"[999,32,64]"))


def a_huge_page(path: Path, record: VolumeRecord) -> None:
    data = bytearray(renamed(path, record))
    with tifffile.TiffFile(record.path) as tiff:
        for name in ("ImageWidth", "ImageLength"):
            struct.pack_into("<I", data, tiff.pages.first.tags[name].valueoffset, 0xFFFFFFFF)
    path.write_bytes(data)


def a_huge_description(path: Path, record: VolumeRecord) -> None:
    data = bytearray(renamed(path, record))
    with tifffile.TiffFile(record.path) as tiff:
        count_at = tiff.pages.first.tags["ImageDescription"].offset + 4
    struct.pack_into("<Q", data, count_at, 1 << 50)
    path.write_bytes(data)


def a_huge_json_nesting(path: Path, record: VolumeRecord) -> None:
    spec = make_spec(uid=path.stem, metadata={"deep": " " * 200_000})
    written = write_volume(VolumeStore(path.parent.parent / "other"), spec).path
    path.write_bytes(written.read_bytes().replace(b'" ' + b" " * 199_998, b"[" * 200_000))


def a_foreign_tiff(path: Path, _: VolumeRecord) -> None:
    tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint16), photometric="minisblack")


def a_foreign_ome_tiff(path: Path, _: VolumeRecord) -> None:
    tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint16), ome=True, photometric="minisblack")


def a_folder(path: Path, _: VolumeRecord) -> None:
    path.mkdir()


def a_link_out_of_the_store(path: Path, record: VolumeRecord) -> None:
    outside = path.parent.parent / path.name
    shutil.copy(record.path, outside)
    path.symlink_to(outside)


def a_dangling_link(path: Path, _: VolumeRecord) -> None:
    path.symlink_to(path.parent / "nowhere")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (truncated, "it ends before its pixels do"),
        (wrong_magic, "not a TIFF file"),
        (empty, "not a TIFF file"),
        (a_copy_under_another_name, "not the one of its name"),
        (more_slices_than_the_file_holds, "it ends before its pixels do"),
        (a_huge_page, "its first page is"),
        (a_huge_description, "no annotations"),
        (a_huge_json_nesting, "recursion"),
        (a_foreign_tiff, "no annotations"),
        (a_foreign_ome_tiff, "no annotations"),
        (a_folder, "not a file of this store"),
        (a_link_out_of_the_store, "a link"),
        (a_dangling_link, "a link"),
    ],
)
def test_a_hostile_file_is_reported_and_skipped(
    make: Callable[[Path, VolumeRecord], None],
    reason: str,
    store: VolumeStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record = write_volume(store)
    bad = store.path(new_uid())
    make(bad, record)
    with caplog.at_level(logging.WARNING, logger="storage"):
        store.refresh()
    assert store.list() == [record]
    (found,) = store.broken()
    assert found.path == bad
    assert bad.name in caplog.text
    with pytest.raises(BrokenVolumeError, match=reason):
        store.record(bad.stem)
    for ask in (store.open, store.verify):
        with pytest.raises(BrokenVolumeError):
            ask(bad.stem)


@pytest.mark.parametrize("name", ["notes.txt", "embryo.tif", "A" * 32 + ".tif", ".tif"])
def test_a_name_that_is_no_uid_is_reported_and_skipped(name: str, store: VolumeStore) -> None:
    record = write_volume(store)
    shutil.copy(record.path, store.volumes / name)
    assert store.list() == [record]
    assert [file.path.name for file in store.broken()] == [name]


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    cut=st.none() | st.floats(0, 1),
    changes=st.lists(
        st.tuples(st.integers(0, 330) | st.integers(0, 4000), st.integers(0, 255)), max_size=4
    ),
)
@example(cut=0.0, changes=[])
def test_no_change_of_bytes_makes_a_file_more_than_broken(
    cut: float | None, changes: list[tuple[int, int]], store: VolumeStore
) -> None:
    """Whatever is in the file: a record whose pixels can be mapped, or BrokenVolumeError."""
    uid = "0123456789abcdef" * 2
    path = store.path(uid)
    original = store.root / "original.tif"
    if not original.exists():
        write_volume(store, make_spec(uid=uid, shape=(3, 8, 8)))
        path.rename(original)
    data = bytearray(original.read_bytes())
    for position, value in changes:
        data[position % len(data)] = value
    path.write_bytes(data if cut is None else data[: int(cut * len(data))])
    try:
        with store.open(uid) as volume:
            assert volume.array.shape == volume.record.shape
            np.asarray(volume.array).sum()
    except BrokenVolumeError:
        pass


def flip(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def pixels_at(path: Path) -> int:
    with tifffile.TiffFile(path) as tiff:
        return int(tiff.pages.first.dataoffsets[0])
