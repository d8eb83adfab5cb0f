"""The flat UID store: frames in, proven OME-TIFF volumes out, everything found by UID.

Knows nothing of devices, plans or HTTP, and is usable alone::

    store = VolumeStore(Path("data"))
    spec = VolumeSpec(uid=new_uid(), shape=(2, 64, 64), dtype="uint16",
                      pixel_size_um=0.1625, step_um=0.5, exposure_ms=5)
    with store.create(spec) as writer:
        for index, frame in enumerate(frames):
            writer.write(frame, FrameInfo(index=index, delta_t_s=0.01 * index, z_um=0.5 * index))
        record = writer.finish()
    with store.open(record.uid) as volume:
        volume.array[1].max()
"""

from storage.errors import (
    BrokenVolumeError,
    ExportTakenError,
    FrameRefusedError,
    IncompleteVolumeError,
    InvalidUidError,
    StorageError,
    StorageFullError,
    StoreLockedError,
    UidTakenError,
    VolumeNotFoundError,
    WriteFailedError,
    WriterClosedError,
)
from storage.export import Progress, export_imagej, export_ome_zarr
from storage.hierarchy import Chunk, Hierarchy
from storage.lock import StoreLock
from storage.pyramid import Level, levels, mean
from storage.store import BrokenFile, VolumeStore
from storage.values import FrameInfo, Shape, VolumeRecord, VolumeSpec, Voxels, new_uid
from storage.volume import Volume
from storage.writer import VolumeWriter

__all__ = [
    "BrokenFile",
    "BrokenVolumeError",
    "Chunk",
    "ExportTakenError",
    "FrameInfo",
    "FrameRefusedError",
    "Hierarchy",
    "IncompleteVolumeError",
    "InvalidUidError",
    "Level",
    "Progress",
    "Shape",
    "StorageError",
    "StorageFullError",
    "StoreLock",
    "StoreLockedError",
    "UidTakenError",
    "Volume",
    "VolumeNotFoundError",
    "VolumeRecord",
    "VolumeSpec",
    "VolumeStore",
    "VolumeWriter",
    "Voxels",
    "WriteFailedError",
    "WriterClosedError",
    "export_imagej",
    "export_ome_zarr",
    "levels",
    "mean",
    "new_uid",
]
