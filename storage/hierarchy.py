"""A volume as a plain zarr v3 hierarchy with OME 0.5 metadata: its keys, and what they hold.

Nothing is stored here. No key is ever used as a path: it names something that is made from the
volume, or it names nothing.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from storage import ngff
from storage.pyramid import Level, levels, mean
from storage.values import Shape, VolumeRecord, Voxels

# One slice, since that is what a camera writes and an eye looks at: a tile is cut from one place
# of the file. 1024², since that is 2 MiB of 16-bit pixels: few requests for a slice, and little
# in vain for a corner of it.
_TILE: Final = 1024

# Browsers keep chunks for ever: a change of the chunks' shape needs new names for the levels.
_NUMBER: Final = r"(0|[1-9][0-9]{0,6})"
_ARRAY: Final = re.compile(rf"{_NUMBER}/{re.escape(ngff.METADATA)}")
_CHUNK: Final = re.compile(rf"{_NUMBER}/c/{_NUMBER}/{_NUMBER}/{_NUMBER}")


@dataclass(frozen=True)
class Chunk:
    """One tile of one slice of one level.

    Attributes
    ----------
    size
        In bytes.
    """

    level: int
    index: Shape
    size: int

    @property
    def key(self) -> str:
        """Its name in the hierarchy."""
        z, y, x = self.index
        return f"{self.level}/c/{z}/{y}/{x}"


class Hierarchy:
    """The keys of one volume: the group's and the levels' metadata, and the tiles of all levels.

    Chunks are raw pixels, little-endian, and whole at the edge too.
    """

    def __init__(self, record: VolumeRecord) -> None:
        self._record = record
        self._levels = dict(enumerate(levels(record.spec)))

    def find(self, key: str) -> bytes | Chunk | None:
        """Return the document of this key, or the chunk that `read` takes, or None."""
        if key == ngff.METADATA:
            return _encode(self._group())
        if (named := _ARRAY.fullmatch(key)) and (level := self._levels.get(int(named[1]))):
            return _encode(self._array(level))
        if (named := _CHUNK.fullmatch(key)) and (level := self._levels.get(int(named[1]))):
            index = (int(named[2]), int(named[3]), int(named[4]))
            if all(n < count for n, count in zip(index, _grid(level), strict=True)):
                return self._chunk(int(named[1]), index)
        return None

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Yield all metadata by key, the group's last: with it a hierarchy is complete."""
        for name, level in self._levels.items():
            yield f"{name}/{ngff.METADATA}", _encode(self._array(level))
        yield ngff.METADATA, _encode(self._group())

    def chunks(self) -> Iterator[Chunk]:
        """Yield all tiles, slice by slice, the finest level first."""
        for name, level in self._levels.items():
            for z, y, x in np.ndindex(_grid(level)):
                yield self._chunk(name, (z, y, x))

    def read(self, chunk: Chunk, array: Voxels) -> bytes:
        """Return a chunk's bytes, cut from the volume's pixels."""
        level = self._levels[chunk.level]
        z, *corner = chunk.index
        _, *sides = tile(level)
        rows, columns = (
            slice(n * side, min((n + 1) * side, extent))
            for n, side, extent in zip(corner, sides, level.shape[1:], strict=True)
        )
        finest = chunk.level == 0
        part: NDArray[Any] = (
            array[z, rows, columns] if finest else mean(array, level, rows, columns, z)
        )
        if part.shape == (*sides,):
            return part.tobytes()
        padded = np.zeros(sides, part.dtype)
        padded[: part.shape[0], : part.shape[1]] = part
        return padded.tobytes()

    def _chunk(self, level: int, index: Shape) -> Chunk:
        pixels = math.prod(tile(self._levels[level]))
        return Chunk(level, index, pixels * np.dtype(self._record.dtype).itemsize)

    def _group(self) -> dict[str, JsonValue]:
        named = {str(name): level for name, level in self._levels.items()}
        arrays = {name: self._array(level) for name, level in named.items()}
        # Without its path: who reads this need not know the machine.
        described = ngff.described(self._record)
        return ngff.group_document(self._record.uid, self._record.spec, named, arrays, described)

    def _array(self, level: Level) -> dict[str, JsonValue]:
        return ngff.array_document(level.shape, self._record.dtype, tile(level))


def tile(level: Level) -> Shape:
    """Return the shape of a level's chunks."""
    return (1, min(_TILE, level.shape[1]), min(_TILE, level.shape[2]))


def _grid(level: Level) -> Shape:
    _, rows, columns = tile(level)
    return (level.shape[0], -(-level.shape[1] // rows), -(-level.shape[2] // columns))


def _encode(document: dict[str, JsonValue]) -> bytes:
    return json.dumps(document).encode()
