"""A whole volume as one shard of zarr v3: bands of rows, each a chunk, and where they are.

A chunk is one slice's full rows, so an uncompressed volume is its frames one after the other: what
a camera gives is written as it is, and mapped as it is. The codec is zarr's ``sharding_indexed``
with its index at the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray
from pydantic import JsonValue

from storage.errors import BrokenVolumeError
from storage.ngff import LITTLE_ENDIAN
from storage.stored import forget
from storage.values import Compression, Shape, VolumeRecord, VolumeSpec, Voxels

# Little enough that a small region costs little, much enough that the index stays small and
# compression pays.
_CHUNK_BYTES: Final = 1 << 20
_PLACE: Final = np.dtype("<u8")
_CHECK_BYTES: Final = 4
# As zarr says it.
_NOWHERE: Final = np.iinfo(_PLACE).max
# Level 1 of zstd is as quick as a disk and packs bit-shuffled counts nearly as well as level 9.
_BLOSC: Final[dict[Compression, tuple[str, int]]] = {
    "blosc-lz4": ("lz4", 5),
    "blosc-zstd": ("zstd", 1),
}

Places = NDArray[np.uint64]
"""Offset and size of each chunk: (slice, band, 2)."""


@dataclass(frozen=True)
class Layout:
    """How a volume is cut into chunks of full rows.

    Attributes
    ----------
    rows
        Of a chunk. The last one of a slice may reach beyond it.
    """

    shape: Shape
    dtype: np.dtype[Any]
    compression: Compression
    rows: int

    @classmethod
    def of(cls, spec: VolumeSpec) -> "Layout":
        """Return the layout of a new volume."""
        height, least = spec.shape[1], -(-spec.frame_bytes // _CHUNK_BYTES)
        # Chunks that fill a slice leave no gap between frames, so slots stay aligned to pages.
        filling = (n for n in range(least, min(2 * least, height) + 1) if height % n == 0)
        rows = -(-height // next(filling, least))
        return cls(spec.shape, np.dtype(spec.dtype).newbyteorder("<"), spec.compression, rows)

    @property
    def bands(self) -> int:
        """Chunks of a slice."""
        return -(-self.shape[1] // self.rows)

    @property
    def chunk_bytes(self) -> int:
        """Of a chunk's pixels."""
        return self.rows * self.shape[2] * self.dtype.itemsize

    @property
    def slot_bytes(self) -> int:
        """Of a slice's pixels, up to the end of its last chunk."""
        return self.bands * self.chunk_bytes

    @property
    def index_bytes(self) -> int:
        """Of the index at the end."""
        return self.shape[0] * self.bands * 2 * _PLACE.itemsize + _CHECK_BYTES

    @property
    def most_bytes(self) -> int:
        """What the shard never exceeds."""
        overhead = 0 if self.compression == "none" else blosc.MAX_OVERHEAD * self.bands
        return self.shape[0] * (self.slot_bytes + overhead) + self.index_bytes

    @property
    def chunk_shape(self) -> Shape:
        """Of the only chunk of zarr's outer grid, which is the shard."""
        return (self.shape[0], self.bands * self.rows, self.shape[2])

    def codecs(self) -> list[JsonValue]:
        """Return zarr's name for all this."""
        inner = [LITTLE_ENDIAN]
        if self.compression != "none":
            name, level = _BLOSC[self.compression]
            inner.append(
                {
                    "name": "blosc",
                    "configuration": {
                        "cname": name,
                        "clevel": level,
                        "shuffle": "bitshuffle",
                        "typesize": self.dtype.itemsize,
                        "blocksize": 0,
                    },
                }
            )
        sharding: dict[str, JsonValue] = {
            "chunk_shape": [1, self.rows, self.shape[2]],
            "codecs": [*inner],
            "index_codecs": [LITTLE_ENDIAN, {"name": "crc32c"}],
            "index_location": "end",
        }
        return [{"name": "sharding_indexed", "configuration": sharding}]

    def in_slots(self) -> Places:
        """Return the places of uncompressed chunks: one after the other."""
        count = self.shape[0] * self.bands
        offsets = np.arange(count, dtype=_PLACE) * np.uint64(self.chunk_bytes)
        sizes = np.full(count, self.chunk_bytes, _PLACE)
        return np.stack([offsets, sizes], axis=-1).reshape(self.shape[0], self.bands, 2)

    def nowhere(self) -> Places:
        """Return the places of chunks of which none was written."""
        return np.full((self.shape[0], self.bands, 2), _NOWHERE, _PLACE)

    def pack(self, frame: memoryview) -> list[bytes]:
        """Compress the chunks of one slice."""
        name, level = _BLOSC[self.compression]
        pixels = np.frombuffer(frame, self.dtype).reshape(self.shape[1:])
        if missing := self.bands * self.rows - len(pixels):
            pixels = np.pad(pixels, ((0, missing), (0, 0)))
        bands = pixels.reshape(self.bands, self.rows, self.shape[2])
        return [blosc.compress(band, name.encode(), level, blosc.BITSHUFFLE) for band in bands]


def encode_index(places: Places) -> bytes:
    """Return the index as it stands at the end of the shard."""
    index = places.astype(_PLACE).tobytes()
    return index + _check(index)


def read_index(path: Path, layout: Layout) -> Places:
    """Return the places of all chunks; raises BrokenVolumeError for one outside of the file."""
    room = path.stat().st_size - layout.index_bytes
    if room < 0:
        raise BrokenVolumeError(path, "it ends before its pixels do")
    with path.open("rb") as file:
        file.seek(room)
        index, check = file.read(layout.index_bytes - _CHECK_BYTES), file.read(_CHECK_BYTES)
    if _check(index) != check:
        raise BrokenVolumeError(path, "the index at its end is damaged")
    places = np.frombuffer(index, _PLACE).reshape(layout.shape[0], layout.bands, 2)
    offsets, sizes = places[..., 0], places[..., 1]
    inside = (offsets <= room) & (sizes <= room - np.minimum(offsets, room))
    if not (inside | (places == _NOWHERE).all(axis=-1)).all():
        raise BrokenVolumeError(path, "its index points out of it")
    return places


@dataclass(frozen=True)
class Packed:
    """The compressed pixels of a finished volume."""

    record: VolumeRecord
    path: Path
    layout: Layout
    places: Places

    def open(self) -> Voxels:
        """Map the file; what is indexed is unpacked."""
        return _PackedVoxels(self)

    def slices(self) -> Iterator[NDArray[Any]]:
        """Unpack them one by one."""
        return iter(_PackedVoxels(self))

    def frames(self) -> Iterator[memoryview]:
        """Unpack all slices one by one; raises BrokenVolumeError."""
        for frame in self.slices():
            yield np.ascontiguousarray(frame).reshape(-1).view(np.uint8).data


class _PackedVoxels:
    """Unpacks the chunks that an index touches, and nothing else."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed
        self._file = np.memmap(packed.path, np.uint8, mode="r")

    @property
    def shape(self) -> tuple[int, ...]:
        return self._packed.layout.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._packed.layout.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for z in range(len(self)):
            yield self[z]
            forget(self._file)

    def __array__(
        self, dtype: np.dtype[Any] | None = None, *, copy: bool | None = None
    ) -> NDArray[Any]:
        if copy is False:
            raise ValueError("packed pixels cannot be had without a copy")
        found: NDArray[Any] = self[:]
        return found if dtype is None else found.astype(dtype, copy=False)

    def __getitem__(self, key: Any, /) -> NDArray[Any]:
        parts = _of_each_axis(key)
        slices, rows, columns = (
            range(extent)[part] for extent, part in zip(self.shape, parts, strict=True)
        )
        if isinstance(slices, int):
            return self._cut(slices, rows, parts[2])
        sides = [len(side) for side in (rows, columns) if isinstance(side, range)]
        found = np.empty((len(slices), *sides), self.dtype)
        for place, z in enumerate(slices):
            found[place] = self._cut(z, rows, parts[2])
        return found

    def _cut(self, z: int, rows: int | range, columns: int | slice) -> NDArray[Any]:
        wanted = range(rows, rows + 1) if isinstance(rows, int) else rows
        height = self._packed.layout.rows
        first = min(wanted, default=0) // height
        unpacked = self._unpack(z, range(first, max(wanted, default=-1) // height + 1))
        found: NDArray[Any] = unpacked[np.asarray(rows, np.intp) - first * height]
        return found[..., columns]

    def _unpack(self, z: int, bands: range) -> NDArray[Any]:
        layout, places = self._packed.layout, self._packed.places
        found = np.zeros((len(bands), layout.rows, layout.shape[2]), layout.dtype)
        for chunk, band in zip(found, bands, strict=True):
            offset, size = map(int, places[z, band])
            if offset == _NOWHERE:
                continue
            try:
                blosc.decompress(self._file[offset : offset + size].tobytes(), chunk)
            except (RuntimeError, ValueError) as error:
                reason = f"slice {z} cannot be unpacked ({error})"
                raise BrokenVolumeError(self._packed.record.path, reason) from error
        return found.reshape(-1, layout.shape[2])


def _of_each_axis(key: Any) -> tuple[Any, Any, Any]:
    parts = key if isinstance(key, tuple) else (key,)
    for place, part in enumerate(parts):
        if part is Ellipsis:
            whole = (slice(None),) * (4 - len(parts))
            parts = (*parts[:place], *whole, *parts[place + 1 :])
            break
    if len(parts) > 3:
        raise IndexError(f"a volume has 3 axes, not {len(parts)}")
    slices, rows, columns = (*parts, slice(None), slice(None), slice(None))[:3]
    return slices, rows, columns


def _check(index: bytes) -> bytes:
    check: int = google_crc32c.value(index)
    return check.to_bytes(_CHECK_BYTES, "little")
