"""Every volume as a zarr hierarchy that is nowhere on the disk: made up as its keys are asked for.

Knows nothing of HTTP. No key is ever used as a path: it names something that is computed from the
volume, or it names nothing.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gently.visualization.memo import Memo
from storage import Level, Shape, VolumeRecord, VolumeStore, Voxels, levels, mean, ngff

# One slice, since that is what a camera writes and an eye looks at: a tile is cut from one place
# of the file. 1024², since that is 2 MiB of 16-bit pixels: few requests for a slice, and little
# in vain for a corner of it.
_TILE: Final = 1024
_CACHE_BYTES: Final = 64 << 20

# Browsers keep chunks for ever: a change of the chunks' shape needs new names for the levels.
_NUMBER: Final = r"(0|[1-9][0-9]{0,6})"
_ARRAY: Final = re.compile(rf"{_NUMBER}/{re.escape(ngff.METADATA)}")
_CHUNK: Final = re.compile(rf"{_NUMBER}/c/{_NUMBER}/{_NUMBER}/{_NUMBER}")


class NoSuchKeyError(LookupError):
    """The hierarchy has nothing of this name."""

    def __init__(self, uid: str, key: str) -> None:
        super().__init__(f"the zarr hierarchy of volume {uid} has no key {key!r}")


@dataclass(frozen=True)
class Chunk:
    """One tile of one slice of one level, with everything that its bytes depend on."""

    uid: str
    level: int
    index: Shape
    size: int
    """In bytes."""


class VirtualZarr:
    """The volumes of a store as zarr v3 groups with OME 0.5 metadata; chunks are raw pixels.

    Every method blocks on the file system: call them on worker threads, from as many as you like.
    Tiles of the volume itself are cut from its file; those of coarser levels are computed when
    they are first asked for, and the ones asked for last are kept, up to 64 MiB.
    """

    def __init__(self, store: VolumeStore) -> None:
        self._store = store
        self._coarse = Memo(self._cut, _CACHE_BYTES, weigh=len)

    def find(self, uid: str, key: str) -> bytes | Chunk:
        """Return the document of this key, or the chunk that `read` takes.

        Raises
        ------
        NoSuchKeyError
            There is no such key.
        storage.StorageError
            There is no such volume, or it is broken.
        """
        record = self._store.record(uid)
        if key == ngff.METADATA:
            return _encode(_group(record))
        pyramid = dict(enumerate(levels(record.spec)))
        if (named := _ARRAY.fullmatch(key)) and (level := pyramid.get(int(named[1]))):
            return _encode(_array(record, level))
        if (named := _CHUNK.fullmatch(key)) and (level := pyramid.get(int(named[1]))):
            index = (int(named[2]), int(named[3]), int(named[4]))
            tile = _tile(level)
            grid = zip(index, tile, level.shape, strict=True)
            if all(n * side < extent for n, side, extent in grid):
                size = math.prod(tile) * np.dtype(record.dtype).itemsize
                return Chunk(uid, int(named[1]), index, size)
        raise NoSuchKeyError(uid, key)

    def read(self, chunk: Chunk) -> bytes:
        """Return a chunk's pixels, little-endian; raises as `find` does."""
        return self._coarse(chunk) if chunk.level else self._cut(chunk)

    def _cut(self, chunk: Chunk) -> bytes:
        with self._store.open(chunk.uid) as volume:
            level = levels(volume.record.spec)[chunk.level]
            return _cut(volume.array, level, chunk.index)


def _cut(array: Voxels, level: Level, index: Shape) -> bytes:
    z, *corner = index
    _, *tile = _tile(level)
    rows, columns = (
        slice(n * side, min((n + 1) * side, extent))
        for n, side, extent in zip(corner, tile, level.shape[1:], strict=True)
    )
    exact = level.factors == (1, 1, 1)
    part: NDArray[Any] = array[z, rows, columns] if exact else mean(array, level, rows, columns, z)
    if part.shape == (*tile,):
        return part.tobytes()
    padded = np.zeros(tile, part.dtype)  # zarr's chunks are whole at the edge too
    padded[: part.shape[0], : part.shape[1]] = part
    return padded.tobytes()


def _group(record: VolumeRecord) -> dict[str, Any]:
    named = {str(n): level for n, level in enumerate(levels(record.spec))}
    arrays = {name: _array(record, level) for name, level in named.items()}
    # Without its path: a page of another site may read this, and need not know this machine.
    return ngff.group_document(record.spec, named, arrays, ngff.described(record))


def _array(record: VolumeRecord, level: Level) -> dict[str, Any]:
    return ngff.array_document(level.shape, record.dtype, _tile(level))


def _tile(level: Level) -> Shape:
    return (1, min(_TILE, level.shape[1]), min(_TILE, level.shape[2]))


def _encode(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()
