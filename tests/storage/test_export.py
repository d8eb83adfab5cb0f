"""Copies for other programs: whole or not there, calibrated, and made in bounded memory."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
import yaozarrs
import zarr

from storage import (
    ExportTakenError,
    Progress,
    StorageFullError,
    Volume,
    VolumeRecord,
    VolumeStore,
    export,
    export_imagej,
    export_ome_zarr,
    levels,
    mean,
)
from tests.storage.helpers import info, make_pixels, make_spec, write_volume
from tests.zarr_threads import start_the_threads_of_zarr

Export = Callable[[Volume, Path, Progress], Path]
KINDS = [("ome-tiff", "none"), ("ome-zarr", "none"), ("ome-zarr", "blosc-lz4")]
both = pytest.mark.parametrize("make", [export_ome_zarr, export_imagej])


@pytest.fixture(scope="module", autouse=True)
def readers_threads() -> None:
    start_the_threads_of_zarr()


def unheard(_done: int, _of: int) -> None:
    """Progress that nobody looks at."""


def exported(make: Export, store: VolumeStore, record: VolumeRecord, folder: Path) -> Path:
    with store.open(record.uid) as volume:
        return make(volume, folder, unheard)


@pytest.mark.parametrize(("kept", "compression"), KINDS)
def test_a_zarr_copy_has_every_level_in_a_file_for_each_tile(
    store: VolumeStore, tmp_path: Path, kept: str, compression: str
) -> None:
    spec = make_spec(shape=(3, 1030, 300), format=kept, compression=compression)
    pixels = make_pixels(spec)

    path = exported(export_ome_zarr, store, write_volume(store, spec), tmp_path / "new" / "copies")

    assert path == tmp_path / "new" / "copies" / f"{spec.uid}.ome.zarr"
    yaozarrs.validate_zarr_store(path)
    assert (path / "0/c/2/1/0").stat().st_size == 1024 * 300 * 2
    group = zarr.open_group(path, mode="r")
    for name, level in enumerate(levels(spec)):
        array: Any = group[str(name)]
        assert array.shape == level.shape
        for z in range(level.shape[0]):
            everything = slice(0, level.shape[1]), slice(0, level.shape[2])
            np.testing.assert_array_equal(array[z], mean(pixels, level, *everything, z))


@pytest.mark.parametrize(("kept", "compression"), KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_imagej_copy_has_the_pixels_and_the_calibration(
    store: VolumeStore, tmp_path: Path, dtype: str, kept: str, compression: str
) -> None:
    spec = make_spec(dtype=dtype, format=kept, compression=compression)

    path = exported(export_imagej, store, write_volume(store, spec), tmp_path)

    assert path == tmp_path / f"{spec.uid}.tif"
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_imagej
        assert tiff.series[0].axes == "ZYX"
        np.testing.assert_array_equal(tiff.asarray(), make_pixels(spec))
        found: Any = tiff.imagej_metadata
        across, of = tiff.pages.first.tags["XResolution"].value
    assert (found["unit"], found["spacing"], found["slices"]) == ("um", 0.5, 5)
    assert across / of == pytest.approx(1 / spec.pixel_size_um)
    assert spec.uid in found["Info"]


@pytest.mark.parametrize("shape", [(1, 7, 9), (1, 1, 1), (4, 1, 3)])
@both
def test_a_volume_may_be_as_flat_as_a_line(
    make: Export, store: VolumeStore, tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    spec = make_spec(shape=shape, step_um=0)

    path = exported(make, store, write_volume(store, spec), tmp_path)

    found = tifffile.imread(path) if path.is_file() else zarr.open_array(path / "0")[:]
    np.testing.assert_array_equal(np.asarray(found).reshape(shape), make_pixels(spec))


def test_a_stack_beyond_32_bits_lies_where_imagej_looks_for_it(
    store: VolumeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(shape=(20, 32, 32))
    monkeypatch.setattr(export, "_CLASSIC_BYTES", 10_000)

    path = exported(export_imagej, store, write_volume(store, spec), tmp_path)

    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1
        first = tiff.pages.first.dataoffsets[0]
        found: Any = tiff.imagej_metadata
        dtype = f"{tiff.byteorder}u2"
    assert found["images"] == 20
    data = np.frombuffer(path.read_bytes()[first : first + spec.volume_bytes], dtype)
    np.testing.assert_array_equal(data.reshape(spec.shape), make_pixels(spec))


@both
def test_progress_is_told_from_nothing_to_all(
    make: Export, store: VolumeStore, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    with store.open(write_volume(store).uid) as volume:
        make(volume, tmp_path, lambda done, of: told.append((done, of)))
    assert told == [(done, 5) for done in range(6)]


@both
def test_an_interrupted_copy_leaves_nothing(
    make: Export, store: VolumeStore, tmp_path: Path
) -> None:
    def interrupt(done: int, _of: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    folder = tmp_path / "copies"
    with store.open(write_volume(store).uid) as volume:
        with pytest.raises(KeyboardInterrupt):
            make(volume, folder, interrupt)
        assert list(folder.iterdir()) == []
        assert make(volume, folder, unheard).exists()


@both
def test_a_copy_replaces_nothing(make: Export, store: VolumeStore, tmp_path: Path) -> None:
    record = write_volume(store)
    path = exported(make, store, record, tmp_path)
    before = sorted(path.rglob("*")) if path.is_dir() else path.read_bytes()

    with pytest.raises(ExportTakenError, match=f"{record.uid}.* exists"):
        exported(make, store, record, tmp_path)

    assert (sorted(path.rglob("*")) if path.is_dir() else path.read_bytes()) == before


def test_a_copy_into_the_store_itself_cannot_hide_the_volume(store: VolumeStore) -> None:
    record = write_volume(store)
    with pytest.raises(ExportTakenError):
        exported(export_imagej, store, record, store.volumes)
    assert store.verify(record.uid) == record


@both
def test_a_full_disk_is_known_before_anything_is_written(
    make: Export, store: VolumeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = write_volume(store)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    with pytest.raises(StorageFullError, match="10000 bytes free"):
        exported(make, store, record, tmp_path / "copies")
    assert list((tmp_path / "copies").iterdir()) == []


@both
def test_memory_does_not_grow_with_the_number_of_slices(
    make: Export, store: VolumeStore, tmp_path: Path
) -> None:
    process = psutil.Process()
    frame = np.arange(1 << 20, dtype=np.uint16).reshape(1024, 1024)
    exported(make, store, write_volume(store), tmp_path)  # what is loaded once is loaded
    # Compressed, since a mapped file's pages would count as memory.
    spec = make_spec(shape=(64, 1024, 1024), format="ome-zarr", compression="blosc-lz4")
    with store.create(spec) as writer:
        for index in range(64):
            writer.write(frame, info(index))
        writer.finish()
    before = peak = process.memory_info().rss

    def watch(_done: int, _of: int) -> None:
        nonlocal peak
        peak = max(peak, process.memory_info().rss)

    with store.open(spec.uid) as volume:
        make(volume, tmp_path, watch)
    assert peak - before < 16 * frame.nbytes < spec.volume_bytes / 3
