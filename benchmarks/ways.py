"""Other ways to get the same frames onto the same disk, each synced to be comparable.

Each takes a path that does not exist yet and an iterator's worth of frames; none is
measured with a camera, so they are compared to gently's own writer without one.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from storage import FrameInfo, VolumeSpec, VolumeStore, new_uid

__all__ = ["WAYS", "Frames", "json_seconds"]

Frames = Callable[[], Iterator[NDArray[np.uint16]]]


def gently_store(path: Path, shape: tuple[int, int, int], frames: Frames) -> None:
    """Write with gently's own store: checked, hashed, synced and renamed."""
    spec = VolumeSpec(
        uid=new_uid(),
        shape=shape,
        dtype="uint16",
        pixel_size_um=0.1625,
        step_um=0.5,
        exposure_ms=5,
    )
    with VolumeStore(path).create(spec) as writer:
        for index, frame in enumerate(frames()):
            writer.write(frame, FrameInfo(index=index, delta_t_s=index / 100, z_um=index / 2))
        writer.finish()


def tifffile_generator(path: Path, shape: tuple[int, int, int], frames: Frames) -> None:
    """Write with tifffile from a generator, as OME-TIFF."""
    tifffile.imwrite(path, frames(), shape=shape, dtype="uint16", bigtiff=True, ome=True)
    _sync(path)


def tifffile_per_frame(path: Path, shape: tuple[int, int, int], frames: Frames) -> None:
    """Write with tifffile frame by frame."""
    del shape
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for frame in frames():
            writer.write(frame, contiguous=False)
    _sync(path)


def ome_writers_tiff(path: Path, shape: tuple[int, int, int], frames: Frames) -> None:
    """Write with ome-writers' OME-TIFF."""
    _ome_writers(path.with_suffix(".ome.tiff"), shape, frames, "ome-tiff")


def ome_writers_zarr(path: Path, shape: tuple[int, int, int], frames: Frames) -> None:
    """Write with ome-writers' OME-Zarr, uncompressed."""
    _ome_writers(path.with_suffix(".ome.zarr"), shape, frames, "ome-zarr")


def acquire_zarr(path: Path, shape: tuple[int, int, int], frames: Frames) -> None:
    """Write with acquire-zarr, uncompressed, one frame a chunk."""
    import acquire_zarr as az  # noqa: PLC0415 - optional

    names = ("z", "y", "x")
    kinds = (az.DimensionType.SPACE,) * 3
    dimensions = [
        az.Dimension(
            name=name,
            kind=kind,
            array_size_px=size,
            chunk_size_px=1 if name == "z" else size,
            shard_size_chunks=1,
        )
        for name, kind, size in zip(names, kinds, shape, strict=True)
    ]
    array = az.ArraySettings(dimensions=dimensions, data_type=az.DataType.UINT16)
    stream = az.ZarrStream(az.StreamSettings(store_path=str(path), arrays=[array], overwrite=True))
    for frame in frames():
        stream.append(frame)
    stream.close()
    _sync(path)


WAYS: dict[str, Callable[[Path, tuple[int, int, int], Frames], None]] = {
    "gently's store alone": gently_store,
    "tifffile, generator": tifffile_generator,
    "tifffile, per frame": tifffile_per_frame,
    "ome-writers, tiff": ome_writers_tiff,
    "ome-writers, zarr": ome_writers_zarr,
    "acquire-zarr": acquire_zarr,
}


def json_seconds(shape: tuple[int, int, int]) -> float:
    """Return how long the old way, JSON lists, would take for a volume, from a small sample."""
    sample = np.random.default_rng(0).integers(0, 65535, (1, 256, 256), dtype=np.uint16)
    began = time.perf_counter()
    json.loads(json.dumps(sample.tolist()))
    return (time.perf_counter() - began) * np.prod(shape) / sample.size


def _ome_writers(path: Path, shape: tuple[int, int, int], frames: Frames, form: str) -> None:
    import ome_writers  # noqa: PLC0415 - optional

    sizes = dict(zip("zyx", shape, strict=True))
    settings: dict[str, Any] = {
        "root_path": str(path),
        "dimensions": ome_writers.dims_from_standard_axes(sizes),
        "dtype": "uint16",
        "format": form,
        "overwrite": True,
    }
    with ome_writers.create_stream(ome_writers.AcquisitionSettings(**settings)) as stream:
        for frame in frames():
            stream.append(frame)
    _sync(path)


def _sync(path: Path) -> None:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
