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
        volume.array.max()
"""

from storage.document_writer import DocumentWriter
from storage.documents import Document, DocumentStore, KeptRun
from storage.errors import (
    BrokenDocumentsError,
    BrokenVolumeError,
    DocumentsLostError,
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
    UnprovenVolumeError,
    VolumeNotFoundError,
    VolumeTrashedError,
    WriteFailedError,
    WriterClosedError,
)
from storage.index import StoreStats
from storage.inventory import BrokenFile, Refreshed
from storage.lock import StoreLock
from storage.store import VolumeStore
from storage.trash import TrashNote
from storage.values import FrameInfo, VolumeRecord, VolumeSpec, new_uid
from storage.volume import Volume
from storage.writer import VolumeWriter

__all__ = [
    "BrokenDocumentsError",
    "BrokenFile",
    "BrokenVolumeError",
    "Document",
    "DocumentStore",
    "DocumentWriter",
    "DocumentsLostError",
    "FrameInfo",
    "FrameRefusedError",
    "IncompleteVolumeError",
    "IndexUnavailableError",
    "InvalidUidError",
    "KeptRun",
    "Refreshed",
    "RunNotFoundError",
    "StorageError",
    "StorageFullError",
    "StoreLock",
    "StoreLockedError",
    "StoreStats",
    "TrashError",
    "TrashNote",
    "UidTakenError",
    "UnprovenVolumeError",
    "Volume",
    "VolumeNotFoundError",
    "VolumeRecord",
    "VolumeSpec",
    "VolumeStore",
    "VolumeTrashedError",
    "VolumeWriter",
    "WriteFailedError",
    "WriterClosedError",
    "new_uid",
]
