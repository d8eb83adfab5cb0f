"""One volume as one folder of OME-Zarr 0.5: a shard, filled slot by slot, and who describes it.

The shard is written as an OME-TIFF's pixels are: into space that is owned before the first frame,
from several threads, in any order. The group's metadata, which make it a volume, come last.
"""

import json
import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import JsonValue, ValidationError

from storage import disk, ngff
from storage.errors import BrokenVolumeError
from storage.ome_xml import Written
from storage.pyramid import Level
from storage.shard import Layout, Packed, encode_index, read_index
from storage.stored import Pixels, Slots, Stored
from storage.values import VolumeRecord, VolumeSpec, volume_checksum

SUFFIX: Final = ".ome.zarr"
_ARRAY: Final = "0"
_SHARD: Final = f"{_ARRAY}/c/0/0/0"
_HEAD: Final = ngff.METADATA
FILES: Final = (_SHARD, f"{_ARRAY}/{ngff.METADATA}", _HEAD)
# Many times what a million slices and the largest metadata come to.
_MOST_DOCUMENT_BYTES: Final = 1 << 28
# What is raised on documents that nobody meant for us; a fuzz test keeps the list honest.
_UNREADABLE: Final = (LookupError, MemoryError, OSError, RecursionError, TypeError, ValueError)


class OmeZarrFolder:
    """A laid-out folder whose frames are still to come. Slots may be written by several threads.

    `path` is an empty folder.
    """

    def __init__(self, path: Path, spec: VolumeSpec) -> None:
        self._path = path
        self._spec = spec
        self._layout = Layout.of(spec)
        self._shard = path / _SHARD
        self._packed = spec.compression != "none"
        # A packed slice that never comes has no place, which reads as zeros; nor was anything
        # written to the slot of one that is not packed.
        self._places = self._layout.nowhere() if self._packed else self._layout.in_slots()
        self._end = 0 if self._packed else spec.shape[0] * self._layout.slot_bytes
        self._allotting = threading.Lock()
        with disk.room_for(path.parent, self._layout.most_bytes):
            self._shard.parent.mkdir(parents=True)
            with self._shard.open("xb") as file:
                file.truncate(self._layout.most_bytes)
            disk.reserve(self._shard)
        # Packed frames have no length that a disk's pages could agree with.
        step = 1 if self._packed else math.gcd(spec.frame_bytes, self._layout.slot_bytes)
        self._slots = disk.open_slots(self._shard, 0, step)

    def write(self, index: int, frame: memoryview) -> None:
        """Write one frame's bytes to its slot, or packed to where there is room."""
        if not self._packed:
            self._slots.write(index * self._layout.slot_bytes, frame)
            return
        chunks = self._layout.pack(frame)
        sizes = np.array([len(chunk) for chunk in chunks], np.uint64)
        with self._allotting:
            offset = self._end
            self._end += int(sizes.sum())
        self._places[index, :, 0] = offset + np.cumsum(sizes) - sizes
        self._places[index, :, 1] = sizes
        self._slots.write(offset, memoryview(b"".join(chunks)))

    def close(self) -> None:
        """Close the shard as it is."""
        self._slots.close()

    def seal(self, written: Written) -> None:
        """Write index and metadata, put everything on the disk and match it with the spec."""
        self._slots.close()
        with self._shard.open("r+b") as file:
            file.truncate(self._end)
            file.seek(self._end)
            file.write(encode_index(self._places))
            file.flush()
            os.fsync(file.fileno())
        array = _array(self._spec, self._layout)
        _write(self._path / _ARRAY / ngff.METADATA, array)
        _write(self._path / _HEAD, _group(written, array))
        for folder in (*self._shard.relative_to(self._path).parents,):
            disk.sync_folder(self._path / folder)
        self._match(written.digests)

    def _match(self, digests: Sequence[bytes]) -> None:
        """Read the folder back as a stranger would; raises BrokenVolumeError."""
        found = _load(self._path)
        if found.record.spec != self._spec or [*found.digests] != [*digests]:
            raise BrokenVolumeError(
                self._path, f"reads back as {found.record.spec}, asked for {self._spec}"
            )


def load(path: Path) -> Stored:
    """Return the volume in this folder, from its metadata and its index.

    Nothing that the folder says is believed before it is matched with its name and its files.

    Raises
    ------
    BrokenVolumeError
        It is no volume; the reason says why.
    """
    found = _load(path)
    if path.name != f"{found.record.uid}{SUFFIX}":
        reason = f"it holds volume {found.record.uid}, not the one of its name"
        raise BrokenVolumeError(path, reason)
    return found


def _load(path: Path) -> Stored:
    for inside in FILES:
        for part in (Path(inside), *Path(inside).parents[:-1]):
            if (path / part).is_symlink():
                raise BrokenVolumeError(path, f"its {part.as_posix()} is a link")
    try:
        return _believed(path, _read(path / _HEAD), _read(path / _ARRAY / ngff.METADATA))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise BrokenVolumeError(path, f"its description's {where}: {problem['msg']}") from error
    except _UNREADABLE as error:
        raise BrokenVolumeError(path, str(error) or repr(error)) from error


def _believed(path: Path, group: dict[str, Any], array: dict[str, Any]) -> Stored:
    ours = group["attributes"].get(ngff.OURS)
    if not ours:
        raise BrokenVolumeError(path, "it has no attributes of a volume's store")
    record = VolumeRecord.model_validate({**ours["volume"], "path": path})
    spec = record.spec
    layout = _layout(spec, array)
    if layout is None or array != _array(spec, layout):
        raise BrokenVolumeError(
            path, f"its array is not the {spec.dtype} {spec.shape} that its description says"
        )
    digests = [bytes.fromhex(digest) for digest in ours["frames"]["xxh3_64"]]
    if len(digests) != spec.shape[0] or volume_checksum(digests) != record.checksum:
        raise BrokenVolumeError(path, "the checksums in its description contradict each other")
    return Stored(record, digests, _pixels(record, layout))


def _layout(spec: VolumeSpec, array: dict[str, Any]) -> Layout | None:
    """Return how the array says that it is cut; what is newly written may be cut otherwise."""
    rows = array["codecs"][0]["configuration"]["chunk_shape"][1]
    if type(rows) is not int or not 1 <= rows <= spec.shape[1]:
        return None
    return Layout(spec.shape, np.dtype(spec.dtype).newbyteorder("<"), spec.compression, rows)


def _pixels(record: VolumeRecord, layout: Layout) -> Pixels:
    shard = record.path / _SHARD
    if not shard.is_file():
        raise BrokenVolumeError(record.path, f"its {_SHARD} is missing")
    places = read_index(shard, layout)
    if layout.compression != "none":
        return Packed(record, shard, layout, places)
    if not np.array_equal(places, layout.in_slots()):
        raise BrokenVolumeError(record.path, "its index does not say where its frames are")
    return Slots(record, shard, first=0, rows=layout.bands * layout.rows)


def _array(spec: VolumeSpec, layout: Layout) -> dict[str, JsonValue]:
    return ngff.array_document(spec.shape, spec.dtype, layout.chunk_shape, layout.codecs())


def _group(written: Written, array: dict[str, JsonValue]) -> dict[str, JsonValue]:
    frames: dict[str, JsonValue] = {
        "xxh3_64": [digest.hex() for digest in written.digests],
        "index": [frame.index for frame in written.frames],
        "delta_t_s": [frame.delta_t_s for frame in written.frames],
        "z_um": [frame.z_um for frame in written.frames],
    }
    ours = {**ngff.described(written.record), "frames": frames}
    level = Level((1, 1, 1), written.record.shape)
    return ngff.group_document(
        written.record.uid, written.record.spec, {_ARRAY: level}, {_ARRAY: array}, ours
    )


def _write(path: Path, document: dict[str, JsonValue]) -> None:
    with path.open("xb") as file:
        file.write(json.dumps(document, allow_nan=False).encode())
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST_DOCUMENT_BYTES:
        raise ValueError(f"its {path.name} is larger than any volume's")
    document = json.loads(path.read_bytes())
    if not isinstance(document, dict):
        raise TypeError(f"its {path.name} is no JSON object")
    return document
