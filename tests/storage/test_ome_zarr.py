"""A volume as OME-Zarr keeps every promise of one as OME-TIFF, and other readers agree."""

import errno
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import tensorstore
import yaozarrs
import zarr
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from storage import (
    BrokenVolumeError,
    FrameInfo,
    IncompleteVolumeError,
    StorageFullError,
    UidTakenError,
    VolumeRecord,
    VolumeSpec,
    VolumeStore,
    WriteFailedError,
    WriterClosedError,
    disk,
    ome_zarr,
    pump,
    shard,
)
from tests.storage.helpers import fill, info, make_pixels, make_spec, names, write_volume
from tests.storage.test_writer import FailingFile, StuckFile, use_disk
from tests.zarr_threads import start_the_threads_of_zarr

KINDS = ["none", "blosc-lz4", "blosc-zstd"]
finite = st.floats(allow_nan=False, allow_infinity=False)


def zarr_spec(**changes: Any) -> VolumeSpec:
    return make_spec(**{"format": "ome-zarr", **changes})


@pytest.fixture(scope="module", autouse=True)
def readers_threads() -> None:
    start_the_threads_of_zarr()


def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let even small slices have several chunks, the last of which reaches beyond them."""
    monkeypatch.setattr(shard, "_CHUNK_BYTES", 1000)


def shard_of(record: VolumeRecord) -> Path:
    return record.path / "0/c/0/0/0"


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 64), st.integers(1, 64)),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    compression=st.sampled_from(KINDS),
    data=st.data(),
)
def test_any_volume_written_in_any_order_is_what_independent_readers_find(
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, int, int],
    dtype: str,
    compression: str,
    data: st.DataObject,
) -> None:
    small_chunks(monkeypatch)
    spec = zarr_spec(shape=shape, dtype=dtype, compression=compression)
    pixels = make_pixels(spec)
    frames = [
        FrameInfo(index=index, delta_t_s=data.draw(finite), z_um=data.draw(finite))
        for index in range(shape[0])
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = VolumeStore(Path(folder))
        with store.create(spec) as writer:
            for frame in data.draw(st.permutations(frames)):
                writer.write(pixels[frame.index], frame)
            record = writer.finish()
        assert store.record(spec.uid) == record
        assert store.verify(spec.uid) == record
        with store.open(spec.uid) as volume:
            assert volume.array.dtype == dtype
            np.testing.assert_array_equal(volume.array, pixels)
        group = zarr.open_group(record.path, mode="r")
        array = group["0"]
        assert isinstance(array, zarr.Array)
        assert array.dtype == dtype
        np.testing.assert_array_equal(array[:], pixels)
        with_tensorstore = tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{record.path}/0/"}}
        ).result()
        np.testing.assert_array_equal(with_tensorstore.read().result(), pixels)
        yaozarrs.validate_zarr_store(record.path)
        ours: Any = group.attrs["gently"]
    assert ours["frames"]["delta_t_s"] == [frame.delta_t_s for frame in frames]
    assert ours["frames"]["z_um"] == [frame.z_um for frame in frames]


PART = st.integers(-4, 3) | st.slices(4)
ROWS = st.integers(-30, 29) | st.slices(30)


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(key=st.tuples(PART, ROWS, st.integers(-20, 19) | st.slices(20)), compression=...)
@example(key=(slice(None), slice(9, 3), slice(None)), compression=True)
def test_every_part_is_the_one_that_numpy_takes(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch, key: Any, compression: bool
) -> None:
    small_chunks(monkeypatch)
    uid = ("0" if compression else "1") * 32
    kind = "blosc-lz4" if compression else "none"
    spec = zarr_spec(uid=uid, shape=(4, 30, 20), compression=kind)
    pixels = make_pixels(spec)
    if not store.path(uid).is_dir():
        write_volume(store, spec)
    with store.open(uid) as volume:
        found, expected = volume.array[key], pixels[key]
        assert np.shape(found) == np.shape(expected)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("compression", KINDS)
class TestBothWays:
    def test_a_part_may_be_left_open(self, compression: str, store: VolumeStore) -> None:
        spec = zarr_spec(compression=compression)
        pixels = make_pixels(spec)
        with store.open(write_volume(store, spec).uid) as volume:
            array = volume.array
            for key in (2, -1, np.int64(3), slice(1, 3), ..., (..., 4), (1, ...), (slice(0), 2)):
                np.testing.assert_array_equal(array[key], pixels[key])
            np.testing.assert_array_equal(np.stack(list(array)), pixels)
            np.testing.assert_array_equal(np.asarray(array, np.float64), pixels)
            assert (len(array), array.shape) == (5, spec.shape)
            assert array.dtype == "uint16"
            for beyond in (5, (0, 32), (0, 0, 0, 0)):
                with pytest.raises(IndexError):
                    array[beyond]

    def test_the_folder_has_no_final_name_before_finish(
        self, compression: str, store: VolumeStore
    ) -> None:
        spec = zarr_spec(compression=compression)
        with store.create(spec) as writer:
            fill(writer, make_pixels(spec))
            assert names(store) == [f"{spec.uid}.ome.zarr.part"]
            assert store.list() == []
            record = writer.finish()
        assert names(store) == [f"{spec.uid}.ome.zarr"]
        assert store.list() == [record]
        assert VolumeStore(store.root).record(spec.uid) == record
        files = [file for file in record.path.rglob("*") if file.is_file()]
        inside = {file.relative_to(record.path).as_posix() for file in files}
        assert inside == {"zarr.json", "0/zarr.json", "0/c/0/0/0"}

    def test_verify_finds_a_single_flipped_bit_and_names_its_slice(
        self, compression: str, store: VolumeStore
    ) -> None:
        record = write_volume(store, zarr_spec(compression=compression, shape=(5, 64, 64)))
        path = shard_of(record)
        where = path.stat().st_size * 7 // 10
        data = bytearray(path.read_bytes())
        data[where] ^= 1
        path.write_bytes(data)
        assert store.record(record.uid) == record  # cheap: pixels are not read
        with pytest.raises(BrokenVolumeError, match="slice"):
            store.verify(record.uid)

    def test_a_short_stack_is_discarded(self, compression: str, store: VolumeStore) -> None:
        spec = zarr_spec(compression=compression)
        with store.create(spec) as writer:
            fill(writer, make_pixels(spec), [0, 1, 4])
            with pytest.raises(IncompleteVolumeError, match="2–3"):
                writer.finish()
        assert names(store) == []
        write_volume(store, spec)

    @pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
    def test_a_failing_disk_is_told_by_its_cause_and_the_next_volume_works(
        self, code: int, compression: str, store: VolumeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = zarr_spec(compression=compression, shape=(40, 8, 8))
        error = OSError(code, os.strerror(code))
        with monkeypatch.context() as patch:
            use_disk(patch, FailingFile, good_writes=3, error=error)
            with pytest.raises(WriteFailedError) as failed, store.create(spec) as writer:
                fill(writer, make_pixels(spec))
        assert failed.value.__cause__ is error
        assert names(store) == []
        write_volume(store, spec)

    def test_a_full_disk_is_known_before_the_first_frame_and_leaves_nothing(
        self, compression: str, store: VolumeStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
        with pytest.raises(StorageFullError, match="10000 bytes free"):
            store.create(zarr_spec(compression=compression))
        assert names(store) == []

    @pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no fallocate here")
    def test_its_space_is_owned_before_the_first_frame_and_what_is_left_over_is_given_back(
        self, compression: str, store: VolumeStore
    ) -> None:
        spec = zarr_spec(compression=compression, shape=(30, 100, 100))
        with store.create(spec) as writer:
            part = store.volumes / f"{spec.uid}.ome.zarr.part/0/c/0/0/0"
            assert part.stat().st_blocks * 512 >= spec.volume_bytes
            fill(writer, np.ones(spec.shape, np.uint16))
            record = writer.finish()
        index_bytes = 30 * 16 + 4
        used = shard_of(record).stat().st_size
        if compression == "none":
            assert used == spec.volume_bytes + index_bytes
        else:
            assert used < spec.volume_bytes / 10

    def test_memory_does_not_grow_with_the_number_of_slices(
        self, compression: str, store: VolumeStore
    ) -> None:
        process = psutil.Process()
        frame = np.ones((1024, 1024), np.uint16)
        write_volume(store, zarr_spec(compression=compression))  # what is loaded once is loaded
        spec = zarr_spec(compression=compression, shape=(100, 1024, 1024))
        before = peak = process.memory_info().rss
        with store.create(spec) as writer:
            for index in range(100):
                writer.write(frame, info(index))
                peak = max(peak, process.memory_info().rss)
            record = writer.finish()
        store.verify(record.uid)
        peak = max(peak, process.memory_info().rss)
        assert peak - before < (pump.DEPTH + 10) * frame.nbytes < spec.volume_bytes / 5


@pytest.mark.parametrize("compression", KINDS)
def test_what_came_of_a_short_stack_is_kept_where_it_is_asked_for(
    compression: str, store: VolumeStore
) -> None:
    spec = zarr_spec(compression=compression)
    pixels = make_pixels(spec)
    with store.create(spec) as writer:
        fill(writer, pixels, [0, 3, 4])
        record = writer.keep("the camera stopped")
    assert (record.missing, record.status) == ((1, 2), "incomplete")
    assert store.verify(spec.uid) == record
    pixels[1:3] = 0
    with store.open(spec.uid) as volume:
        np.testing.assert_array_equal(volume.array, pixels)
    group = zarr.open_group(record.path, mode="r")
    array = group["0"]
    assert isinstance(array, zarr.Array)
    np.testing.assert_array_equal(array[:], pixels)
    ours: Any = group.attrs["gently"]
    assert ours["frames"]["index"] == [0, 3, 4]


def test_aligned_frames_in_slots_that_are_not_are_written_too(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard, "_CHUNK_BYTES", 10_000)
    spec = zarr_spec(shape=(3, 68, 512))
    layout = shard.Layout.of(spec)
    assert (spec.frame_bytes % 4096, layout.slot_bytes % 4096) == (0, 2048)
    record = write_volume(store, spec)
    assert store.verify(record.uid) == record


@pytest.mark.parametrize(
    ("height", "width", "rows"),
    [(2048, 2048, 256), (2304, 2304, 192), (512, 512, 512), (2039, 2048, 255), (3, 10**6, 1)],
)
def test_chunks_are_about_a_mebibyte_and_fill_a_slice_where_they_can(
    height: int, width: int, rows: int
) -> None:
    assert shard.Layout.of(zarr_spec(shape=(5, height, width))).rows == rows


def test_pixels_that_cannot_be_packed_have_room(store: VolumeStore) -> None:
    spec = zarr_spec(compression="blosc-zstd", shape=(20, 64, 64), dtype="uint8")
    noise = np.random.default_rng(3).integers(0, 256, spec.shape, np.uint8)
    with store.create(spec) as writer:
        fill(writer, noise)
        record = writer.finish()
    assert shard_of(record).stat().st_size > spec.volume_bytes
    store.verify(spec.uid)


def test_an_ome_tiff_is_not_compressed() -> None:
    with pytest.raises(ValueError, match="blosc-lz4 needs ome-zarr"):
        make_spec(compression="blosc-lz4")


@pytest.mark.parametrize("first", ["ome-tiff", "ome-zarr"])
@pytest.mark.parametrize("second", ["ome-tiff", "ome-zarr"])
def test_a_uid_is_never_written_twice_in_whatever_format(
    first: str, second: str, store: VolumeStore
) -> None:
    spec = make_spec(format=first)
    again = make_spec(format=second, uid=spec.uid)
    with store.create(spec) as writer:
        with pytest.raises(UidTakenError, match=r"taken by .*\.part"):
            store.create(again)
        fill(writer, make_pixels(spec))
        record = writer.finish()
    with pytest.raises(UidTakenError, match="taken by"):
        store.create(again)
    assert store.verify(spec.uid) == record
    assert names(store) == [record.path.name]


def test_both_formats_lie_side_by_side_and_have_the_same_checksum(store: VolumeStore) -> None:
    records = [
        write_volume(store, spec)
        for spec in (make_spec(), *(zarr_spec(compression=kind) for kind in KINDS))
    ]
    assert store.list() == records[::-1]
    assert len({record.checksum for record in records}) == 1


def test_sweeping_removes_a_folder_that_a_dead_writer_left(store: VolumeStore) -> None:
    dead = store.volumes / ("0" * 32 + ".ome.zarr.part")
    shutil.copytree(write_volume(store, zarr_spec()).path, dead)
    with store.create(zarr_spec()) as writer:
        assert store.sweep() == [dead]
        fill(writer, make_pixels(writer.spec))
        writer.finish()
    assert store.broken() == []
    assert len(names(store)) == 2


@pytest.mark.parametrize("call", ["write", "finish"])
def test_discarding_ends_a_blocked_call_of_another_thread(
    call: str, store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = use_disk(monkeypatch, StuckFile)
    slices = pump.DEPTH + 1 if call == "write" else pump.DEPTH
    spec = zarr_spec(compression="blosc-lz4", shape=(slices, 8, 8))
    raised: list[Exception] = []

    def block() -> None:
        try:
            fill(writer, make_pixels(spec))
            writer.finish()
        except WriterClosedError as error:
            raised.append(error)

    with store.create(spec) as writer:
        thread = threading.Thread(target=block)
        thread.start()
        thread.join(timeout=0.1)
        assert thread.is_alive()
        threading.Timer(0.1, made[0].released.set).start()
        writer.discard("the operator pressed stop")
        thread.join()
    assert len(raised) == 1
    assert names(store) == []


def test_a_folder_that_does_not_read_back_as_asked_is_not_published(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ome_zarr._write

    def write_another(path: Path, document: dict[str, Any]) -> None:
        if path.parent.name != "0":
            document["attributes"]["gently"]["volume"]["spec"]["exposure_ms"] = 6.0
        write(path, document)

    monkeypatch.setattr(ome_zarr, "_write", write_another)
    spec = zarr_spec()
    with store.create(spec) as writer:
        fill(writer, make_pixels(spec))
        with pytest.raises(BrokenVolumeError, match="reads back as"):
            writer.finish()
    assert names(store) == []


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders cannot be synced here")
def test_every_folder_is_on_the_disk_before_the_volume_has_its_name(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(disk, "sync_folder", synced.append)
    record = write_volume(store, zarr_spec())
    part = store.volumes / f"{record.uid}.ome.zarr.part"
    inside = [part / "0/c/0/0", part / "0/c/0", part / "0/c", part / "0", part]
    assert synced == [*inside, store.volumes]


# --- hostile and broken folders -------------------------------------------------------------------


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def change_it(path: Path) -> None:
        document = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps(change(document) or document))

    return change_it


def ours(**changes: Any) -> Callable[[Path], None]:
    return gently(lambda kept: kept["volume"]["spec"].update(changes))


def gently(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return changed("zarr.json", lambda document: change(document["attributes"]["gently"]))


def cut(path: Path) -> None:
    file = path / "0/c/0/0/0"
    file.write_bytes(file.read_bytes()[:-1])


def emptied(path: Path) -> None:
    (path / "0/c/0/0/0").write_bytes(b"")


def moved_frames(path: Path) -> None:
    """Swap two chunks in the index, with a right check sum."""
    file = path / "0/c/0/0/0"
    data = file.read_bytes()
    places = np.frombuffer(data[-84:-4], "<u8").reshape(5, 1, 2)
    file.write_bytes(data[:-84] + shard.encode_index(places[::-1]))


def pointing_out(path: Path) -> None:
    file = path / "0/c/0/0/0"
    data = file.read_bytes()
    places = np.frombuffer(data[-84:-4], "<u8").reshape(5, 1, 2).copy()
    places[3] = (2**64 - 8, 16)
    file.write_bytes(data[:-84] + shard.encode_index(places))


def linked(name: str) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        outside = path.parent.parent / "outside"
        shutil.move(path / name, outside)
        (path / name).symlink_to(outside)

    return link


def overwritten(data: bytes) -> Callable[[Path], None]:
    def overwrite(path: Path) -> None:
        (path / "zarr.json").write_bytes(data)

    return overwrite


def a_folder_for_a_document(path: Path) -> None:
    (path / "zarr.json").unlink()
    (path / "zarr.json").mkdir()


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "cut off": (cut, "index at its end is damaged"),
    "empty shard": (emptied, "ends before its pixels do"),
    "no shard": (lambda p: (p / "0/c/0/0/0").unlink(), "0/c/0/0/0 is missing"),
    "no metadata": (lambda p: (p / "zarr.json").unlink(), "No such file"),
    "no array": (lambda p: shutil.rmtree(p / "0"), "No such file"),
    "a folder for a document": (a_folder_for_a_document, "directory|denied"),
    "frames elsewhere": (moved_frames, "does not say where its frames are"),
    "frames out of the file": (pointing_out, "points out of it"),
    "no JSON": (overwritten(b"\x89PNG"), "utf-8|decode"),
    "a list": (changed("zarr.json", lambda _: [1]), "no JSON object"),
    "deep nesting": (overwritten(b"[" * 100_000), "recursion"),
    "a foreign group": (changed("zarr.json", lambda d: d["attributes"].clear()), "no attributes"),
    "another uid": (ours(uid="f" * 32), "holds volume f+, not the one of its name"),
    "huge": (ours(shape=[10**6, 10**6, 10**6]), "its array is not"),
    "another type": (ours(dtype="uint8"), "its array is not"),
    "no volume": (ours(exposure_ms="long"), "exposure_ms"),
    "packed after all": (ours(compression="blosc-lz4"), "its array is not"),
    "other codecs": (changed("0/zarr.json", lambda d: d["codecs"].append({})), "its array is not"),
    "a shape of its own": (changed("0/zarr.json", lambda d: d.update(shape=[5, 5, 5])), "array"),
    "endless rows": (
        changed(
            "0/zarr.json",
            lambda d: d["codecs"][0]["configuration"].update(chunk_shape=[1, 10**9, 64]),
        ),
        "its array is not",
    ),
    "fewer digests": (gently(lambda kept: kept["frames"]["xxh3_64"].clear()), "contradict"),
    "a linked shard": (linked("0/c/0/0/0"), "is a link"),
    "a linked folder": (linked("0"), "0 is a link"),
    "a linked document": (linked("zarr.json"), "is a link"),
}


@pytest.mark.parametrize(("make", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_folder_is_reported_and_skipped(
    make: Callable[[Path], None], reason: str, store: VolumeStore
) -> None:
    good, bad = write_volume(store), write_volume(store, zarr_spec())
    make(bad.path)
    store.rebuild()
    assert store.list() == [good]
    (found,) = store.broken()
    assert found.path == bad.path
    for ask in (store.record, store.open, store.verify):
        with pytest.raises(BrokenVolumeError, match=reason):
            ask(bad.uid)


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json", "0/c/0/0/0"])
def test_a_change_of_any_file_in_it_is_seen(name: str, store: VolumeStore) -> None:
    record = write_volume(store, zarr_spec())
    store.refresh()
    assert store.refresh().read == 0
    (record.path / name).write_bytes((record.path / name).read_bytes() + b" ")
    assert store.refresh().read == 1


@pytest.mark.parametrize("name", ["embryo.ome.zarr", "A" * 32 + ".ome.zarr", "0" * 32 + ".zarr"])
def test_a_folder_whose_name_is_no_uid_is_reported_and_skipped(
    name: str, store: VolumeStore
) -> None:
    record = write_volume(store, zarr_spec())
    shutil.copytree(record.path, store.volumes / name)
    assert store.list() == [record]
    assert [file.path.name for file in store.broken()] == [name]


def test_a_file_in_place_of_a_folder_is_reported(store: VolumeStore) -> None:
    (store.volumes / ("0" * 32 + ".ome.zarr")).write_bytes(b"PK")
    with pytest.raises(BrokenVolumeError, match="it is a file, not a folder"):
        store.record("0" * 32)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from(["zarr.json", "0/zarr.json", "0/c/0/0/0"]),
    compression=st.sampled_from(KINDS),
    cut=st.none() | st.floats(0, 1),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=4),
)
def test_no_change_of_bytes_makes_a_folder_more_than_broken(
    name: str,
    compression: str,
    cut: float | None,
    changes: list[tuple[int, int]],
    store: VolumeStore,
) -> None:
    """Whatever is in it: a record whose pixels can be read, or BrokenVolumeError."""
    uid = f"{KINDS.index(compression)}" * 32
    path = store.volumes / f"{uid}.ome.zarr"
    if not path.exists():
        write_volume(store, zarr_spec(uid=uid, shape=(3, 8, 8), compression=compression))
    original = (path / name).read_bytes()
    data = bytearray(original)
    for position, value in changes:
        data[position % len(data)] = value
    (path / name).write_bytes(data if cut is None else data[: int(cut * len(data))])
    try:
        with store.open(uid) as volume:
            assert np.asarray(volume.array).shape == volume.record.shape
        store.verify(uid)
    except BrokenVolumeError:
        pass
    finally:
        (path / name).write_bytes(original)
