"""A volume is proven and published whole, or it is not there at all."""

import errno
import itertools
import os
import shutil
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import ome_types
import psutil
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import (
    BrokenVolumeError,
    FrameInfo,
    FrameRefusedError,
    IncompleteVolumeError,
    StorageFullError,
    UidTakenError,
    VolumeStore,
    VolumeWriter,
    WriteFailedError,
    WriterClosedError,
    disk,
    pump,
)
from tests.storage.helpers import fill, info, make_pixels, make_spec, names, write_volume

finite = st.floats(allow_nan=False, allow_infinity=False)


class FailingFile:
    """Slots on a disk that fails at the n-th write with a given error."""

    def __init__(self, path: Path, *, good_writes: int, error: BaseException) -> None:
        self._file = disk.PlainFile(path)
        self._left = itertools.count(good_writes, -1)
        self._error = error

    def write(self, offset: int, data: memoryview) -> None:
        if next(self._left) <= 0:
            raise self._error
        self._file.write(offset, data)

    def close(self) -> None:
        self._file.close()


class StuckFile:
    """Slots on a disk that takes nothing until it is released."""

    def __init__(self, path: Path) -> None:
        self._file = disk.PlainFile(path)
        self.released = threading.Event()

    def write(self, offset: int, data: memoryview) -> None:
        assert self.released.wait(timeout=30)
        self._file.write(offset, data)

    def close(self) -> None:
        self._file.close()


def use_disk(monkeypatch: pytest.MonkeyPatch, kind: Any, **how: Any) -> list[Any]:
    """Let the next volumes be written to slots of this kind; returns those made."""
    made: list[Any] = []

    def open_slots(path: Path, *_: int) -> Any:
        made.append(kind(path, **how))
        return made[-1]

    monkeypatch.setattr(disk, "open_slots", open_slots)
    return made


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(
        st.integers(1, 9), st.sampled_from([1, 2, 3, 4, 31, 64]), st.sampled_from([1, 3, 4, 64])
    ),
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    data=st.data(),
)
def test_any_volume_written_in_any_order_is_what_independent_readers_find(
    shape: tuple[int, int, int], dtype: str, data: st.DataObject
) -> None:
    spec = make_spec(shape=shape, dtype=dtype)
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
            assert np.array_equal(volume.array, pixels)
        with tifffile.TiffFile(record.path) as tiff:
            assert tiff.is_ome
            assert tiff.series[0].dtype == dtype
            assert np.array_equal(tiff.series[0].asarray().reshape(shape), pixels)
            assert all(np.array_equal(p.asarray(), pixels[n]) for n, p in enumerate(tiff.pages))
            assert len(tiff.pages) == shape[0]
            ome = ome_types.from_xml(tiff.pages.first.description, validate=True)
    read = ome.images[0].pixels
    assert (read.size_z, read.size_y, read.size_x) == shape
    assert [(p.the_z, p.delta_t, p.position_z) for p in read.planes] == [
        (f.index, f.delta_t_s, f.z_um) for f in frames
    ]


@pytest.mark.parametrize(
    "way",
    [
        disk.PlainFile,
        pytest.param(
            disk.WriteBehindFile,
            marks=pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="no fadvise here"),
        ),
    ],
)
def test_a_volume_is_the_same_on_every_way_to_the_disk(
    way: Any, store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write_volume(store).checksum
    use_disk(monkeypatch, way)
    record = write_volume(store)
    assert store.verify(record.uid).checksum == expected


def test_the_file_has_no_final_name_before_finish(store: VolumeStore) -> None:
    spec = make_spec()
    with store.create(spec) as writer:
        fill(writer, make_pixels(spec))
        assert names(store) == [f"{spec.uid}.tif.part"]
        assert store.list() == []
        writer.finish()
    assert names(store) == [f"{spec.uid}.tif"]


def test_the_unfinished_file_is_a_readable_ome_tiff_already(store: VolumeStore) -> None:
    spec = make_spec()
    with store.create(spec), tifffile.TiffFile(store.volumes / f"{spec.uid}.tif.part") as tiff:
        assert tiff.is_ome
        assert tiff.series[0].shape == spec.shape


def test_the_camera_may_reuse_its_frame_at_once(store: VolumeStore) -> None:
    spec = make_spec(shape=(20, 16, 16))
    frame = np.zeros((16, 16), np.uint16)
    with store.create(spec) as writer:
        for index in range(20):
            frame[:] = index
            writer.write(frame, info(index))
        writer.finish()
    with store.open(spec.uid) as volume:
        assert volume.array[:, 5, 5].tolist() == list(range(20))


def test_a_frame_need_not_be_contiguous(store: VolumeStore) -> None:
    spec = make_spec(shape=(1, 16, 16))
    frame = np.arange(1024, dtype=np.uint16).reshape(32, 32).T[::2, ::2]
    with store.create(spec) as writer:
        writer.write(frame, info(0))
        writer.finish()
    with store.open(spec.uid) as volume:
        assert np.array_equal(volume.array[0], frame)


@pytest.mark.parametrize(
    ("frame", "index", "reason"),
    [
        (np.zeros((64, 32), np.uint16), 0, r"is uint16 \(64, 32\).*takes uint16 \(32, 64\)"),
        (np.zeros((1, 32, 64), np.uint16), 0, r"\(1, 32, 64\)"),
        (np.zeros((32, 64), np.int16), 0, "is int16"),
        (np.zeros((32, 64), ">u2"), 0, "is >u2"),
        (np.zeros((32, 64), np.uint16), 5, "slice 5 is outside of volume .*: it has 0–4"),
        (np.zeros((32, 64), np.uint16), -1, "slice -1 is outside"),
        (np.zeros((32, 64), np.uint16), 2, "slice 2 of volume .* came twice"),
    ],
)
def test_a_frame_that_does_not_belong_is_refused_and_the_volume_goes_on(
    frame: Any, index: int, reason: str, store: VolumeStore
) -> None:
    spec = make_spec()
    pixels = make_pixels(spec)
    with store.create(spec) as writer:
        writer.write(pixels[2], info(2))
        with pytest.raises(FrameRefusedError, match=reason):
            writer.write(frame, info(index))
        fill(writer, pixels, [0, 1, 3, 4])
        writer.finish()
    with store.open(spec.uid) as volume:
        assert np.array_equal(volume.array, pixels)


def test_a_short_stack_is_discarded_and_its_gaps_are_named(store: VolumeStore) -> None:
    spec = make_spec(shape=(20, 8, 8))
    with store.create(spec) as writer:
        fill(writer, make_pixels(spec), [0, 1, 2, 4, 5, *range(10, 19)])
        with pytest.raises(IncompleteVolumeError, match=r"6 of 20.*slices 3, 6–9, 19") as short:
            writer.finish()
    assert short.value.missing == (3, 6, 7, 8, 9, 19)
    assert names(store) == []
    write_volume(store, spec)


def test_leaving_without_finish_discards(store: VolumeStore) -> None:
    spec = make_spec()
    with store.create(spec) as writer:
        fill(writer, make_pixels(spec))
    assert names(store) == []


def test_discarding_twice_or_after_finish_changes_nothing(store: VolumeStore) -> None:
    with store.create(make_spec()) as writer:
        writer.discard("the plan was aborted")
        writer.discard("again")
    spec = make_spec()
    with store.create(spec) as writer:
        fill(writer, make_pixels(spec))
        writer.finish()
        writer.discard("too late")
    assert names(store) == [f"{spec.uid}.tif"]


def test_a_finished_or_discarded_volume_takes_nothing_more(store: VolumeStore) -> None:
    spec = make_spec()
    pixels = make_pixels(spec)
    writer = store.create(spec)
    writer.discard("no longer wanted")
    with pytest.raises(WriterClosedError):
        writer.write(pixels[0], info(0))
    with pytest.raises(WriterClosedError):
        writer.finish()
    with store.create(spec) as writer:
        fill(writer, pixels)
        record = writer.finish()
        with pytest.raises(WriterClosedError):
            writer.finish()
    assert store.verify(spec.uid) == record


def test_a_uid_is_never_written_twice(store: VolumeStore) -> None:
    spec = make_spec()
    with store.create(spec) as writer:
        with pytest.raises(UidTakenError, match=r"taken by .*\.part"):
            store.create(spec)
        fill(writer, make_pixels(spec))
        record = writer.finish()
    with pytest.raises(UidTakenError, match=r"taken by .*\.tif\. "):
        store.create(spec)
    assert store.verify(spec.uid) == record
    assert names(store) == [f"{spec.uid}.tif"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EIO, "Input/output error"),
        OSError(errno.ENOSPC, "No space left on device"),
        MemoryError(),
        SystemExit(),
    ],
)
@pytest.mark.parametrize("good_writes", [0, 3])
def test_a_failing_disk_is_told_by_its_cause_and_the_next_volume_works(
    good_writes: int,
    error: BaseException,
    store: VolumeStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        use_disk(patch, FailingFile, good_writes=good_writes, error=error)
        spec = make_spec(shape=(40, 8, 8))
        with pytest.raises(WriteFailedError) as failed, store.create(spec) as writer:
            fill(writer, make_pixels(spec))  # the pool is smaller than the volume
    assert failed.value.__cause__ is error
    assert names(store) == []
    write_volume(store, spec)


def test_a_disk_that_fails_at_the_last_frame_fails_finish(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.EIO, "Input/output error")
    use_disk(monkeypatch, FailingFile, good_writes=4, error=error)
    spec = make_spec()
    with store.create(spec) as writer:
        fill(writer, make_pixels(spec))
        with pytest.raises(WriteFailedError, match=r"frame . could not be written"):
            writer.finish()
    assert names(store) == []


def test_a_full_disk_is_known_before_the_first_frame_and_leaves_nothing(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
        with pytest.raises(StorageFullError, match=r"10000 bytes free.*Free space"):
            store.create(make_spec())
    assert names(store) == []
    write_volume(store)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no fallocate here")
def test_a_quota_that_only_the_reservation_meets_leaves_nothing(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(StorageFullError, match="or a quota"):
        store.create(make_spec())
    assert names(store) == []


def test_no_memory_for_the_buffers_leaves_nothing(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pump, "_buffers", refuse)
    with pytest.raises(MemoryError):
        store.create(make_spec())
    assert names(store) == []


def test_a_file_that_does_not_read_back_as_asked_is_not_published(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_spec()
    describe = VolumeWriter._publish

    def publish_another(writer: VolumeWriter, reason: str) -> Any:
        writer.spec = other  # type: ignore[misc]  # as a bug in the writer would
        return describe(writer, reason)

    monkeypatch.setattr(VolumeWriter, "_publish", publish_another)
    spec = make_spec()
    with store.create(spec) as writer:
        fill(writer, make_pixels(spec))
        with pytest.raises(BrokenVolumeError, match="reads back as"):
            writer.finish()
    assert names(store) == []


def test_a_name_that_may_not_outlive_a_power_cut_is_not_published(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(disk, "sync_folder", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write_volume(store)
    assert names(store) == []


def test_a_slow_disk_makes_the_camera_wait_and_the_record_says_so(
    store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = use_disk(monkeypatch, StuckFile)
    spec = make_spec(shape=(pump.DEPTH + 1, 8, 8))
    pixels = make_pixels(spec)
    with store.create(spec) as writer:
        fill(writer, pixels, range(pump.DEPTH))
        last = threading.Thread(target=writer.write, args=(pixels[-1], info(pump.DEPTH)))
        last.start()
        last.join(timeout=0.1)
        assert last.is_alive()
        made[0].released.set()
        last.join()
        record = writer.finish()
    assert record.waits == 1
    assert record.back_pressure_s > 0
    assert store.record(spec.uid) == record


@pytest.mark.parametrize("blocked", ["write", "finish"])
def test_discarding_ends_a_blocked_call_of_another_thread(
    blocked: str, store: VolumeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = use_disk(monkeypatch, StuckFile)
    spec = make_spec(shape=(pump.DEPTH + 1, 8, 8) if blocked == "write" else (pump.DEPTH, 8, 8))
    pixels = make_pixels(spec)
    raised: list[Exception] = []

    def block() -> None:
        try:
            fill(writer, pixels)
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


def test_several_threads_may_write_one_volume(store: VolumeStore) -> None:
    spec = make_spec(shape=(60, 16, 16))
    pixels = make_pixels(spec)
    with store.create(spec) as writer:
        threads = [
            threading.Thread(target=fill, args=(writer, pixels, range(view, 60, 3)))
            for view in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        writer.finish()
    with store.open(spec.uid) as volume:
        assert np.array_equal(volume.array, pixels)


def test_memory_does_not_grow_with_the_number_of_slices(store: VolumeStore) -> None:
    process = psutil.Process()
    frame = np.ones((1024, 1024), np.uint16)
    write_volume(store)  # what is loaded once is loaded
    spec = make_spec(shape=(100, 1024, 1024))
    before = peak = process.memory_info().rss
    with store.create(spec) as writer:
        for index in range(100):
            writer.write(frame, info(index))
            peak = max(peak, process.memory_info().rss)
        record = writer.finish()
    store.verify(record.uid)
    peak = max(peak, process.memory_info().rss)
    assert peak - before < (pump.DEPTH + 8) * frame.nbytes < spec.volume_bytes / 5
