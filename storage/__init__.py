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

from storage.document_writer import DocumentWriter
from storage.documents import Document, DocumentStore, KeptRun
from storage.errors import (
    AcquisitionNotFoundError,
    BrokenDocumentsError,
    BrokenVolumeError,
    DocumentsLostError,
    ExportTakenError,
    FrameRefusedError,
    IncompleteVolumeError,
    IndexUnavailableError,
    InvalidUidError,
    RunNotFoundError,
    StorageError,
    StorageFullError,
    StoreLockedError,
    TrashError,
    UidTakenError,
    UnevenSeriesError,
    UnprovenVolumeError,
    VolumeNotFoundError,
    VolumeTrashedError,
    WriteFailedError,
    WriterClosedError,
)
from storage.export import export_imagej, export_ome_zarr, export_series
from storage.hierarchy import Chunk, Hierarchy
from storage.index import StoreStats
from storage.inventory import BrokenFile, Progress, Refreshed
from storage.labels import LABELS, labels_tag
from storage.lock import StoreLock
from storage.pump import memory_bytes
from storage.pyramid import Level, levels, mean
from storage.series import Series
from storage.store import VolumeStore
from storage.trash import TrashNote
from storage.values import (
    FrameInfo,
    Shape,
    Status,
    VolumeLabels,
    VolumeRecord,
    VolumeSpec,
    Voxels,
    new_uid,
)
from storage.volume import Volume
from storage.writer import VolumeWriter

__all__ = [
    "LABELS",
    "AcquisitionNotFoundError",
    "BrokenDocumentsError",
    "BrokenFile",
    "BrokenVolumeError",
    "Chunk",
    "Document",
    "DocumentStore",
    "DocumentWriter",
    "DocumentsLostError",
    "ExportTakenError",
    "FrameInfo",
    "FrameRefusedError",
    "Hierarchy",
    "IncompleteVolumeError",
    "IndexUnavailableError",
    "InvalidUidError",
    "KeptRun",
    "Level",
    "Progress",
    "Refreshed",
    "RunNotFoundError",
    "Series",
    "Shape",
    "Status",
    "StorageError",
    "StorageFullError",
    "StoreLock",
    "StoreLockedError",
    "StoreStats",
    "TrashError",
    "TrashNote",
    "UidTakenError",
    "UnevenSeriesError",
    "UnprovenVolumeError",
    "Volume",
    "VolumeLabels",
    "VolumeNotFoundError",
    "VolumeRecord",
    "VolumeSpec",
    "VolumeStore",
    "VolumeTrashedError",
    "VolumeWriter",
    "Voxels",
    "WriteFailedError",
    "WriterClosedError",
    "export_imagej",
    "export_ome_zarr",
    "export_series",
    "labels_tag",
    "levels",
    "mean",
    "memory_bytes",
    "new_uid",
]
