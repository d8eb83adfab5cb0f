"""A finished volume as its own files tell it, whatever the format: what was written, and where."""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from storage.values import VolumeRecord, Voxels

Mapped = np.memmap[Any, np.dtype[Any]]


def forget(mapped: Mapped) -> None:
    """Count a map's pages no longer as this process's memory; those that are needed come again.

    A whole volume that is read through a map would fill the memory of the process, as far as
    anybody sees. Windows has no such call, and takes the pages when it needs them.
    """
    file: object = mapped.base
    if isinstance(file, mmap.mmap) and hasattr(file, "madvise"):
        file.madvise(mmap.MADV_DONTNEED)


class Pixels(Protocol):
    """Where the pixels of a finished volume are."""

    def open(self) -> Voxels:
        """Return them to be read by part: little-endian, read-only."""

    def slices(self) -> Iterator[NDArray[Any]]:
        """Yield all slices one by one, as `open` has them. Memory is one slice."""

    def frames(self) -> Iterator[memoryview]:
        """Read all frames one by one; each is gone when the next one comes. Memory is one frame.

        Raises
        ------
        BrokenVolumeError
            They cannot be read.
        """


@dataclass(frozen=True)
class Stored:
    """A volume that was found; its pixels were not looked at.

    Attributes
    ----------
    digests
        XXH3 of each frame (8 bytes, big-endian), in the order of the slices.
    """

    record: VolumeRecord
    digests: Sequence[bytes]
    pixels: Pixels


@dataclass(frozen=True)
class Slots:
    """Pixels as the camera gave them, in one file: a slot for each slice, one after the other.

    Attributes
    ----------
    record
        Whose pixels they are.
    path
        The file.
    first
        Where the first slot begins.
    rows
        Of a slot: at least as many as a slice has.
    """

    record: VolumeRecord
    path: Path
    first: int
    rows: int

    def open(self) -> Voxels:
        """Map them from the file."""
        mapped, rows = self._map(), self.record.shape[1]
        return cast("Voxels", mapped if rows == self.rows else mapped[:, :rows])

    def slices(self) -> Iterator[NDArray[Any]]:
        """Map them from the file, and let go of each when the next one is asked for."""
        mapped = self._map()
        for image in mapped:
            yield image[: self.record.shape[1]]
            forget(mapped)

    def frames(self) -> Iterator[memoryview]:
        """Read them past the map, so that memory does not grow."""
        spec = self.record.spec
        frame = bytearray(spec.frame_bytes)
        padding = (self.rows - spec.shape[1]) * (spec.frame_bytes // spec.shape[1])
        with self.path.open("rb") as file:
            file.seek(self.first)
            for _ in range(spec.shape[0]):
                taken = file.readinto(frame)
                yield memoryview(frame)[:taken]
                file.seek(padding, 1)

    def _map(self) -> Mapped:
        slices, _, columns = self.record.shape
        return np.memmap(
            self.path,
            dtype=np.dtype(self.record.dtype).newbyteorder("<"),
            mode="r",
            offset=self.first,
            shape=(slices, self.rows, columns),
        )
