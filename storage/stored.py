"""A finished volume as its own files tell it, whatever the format: what was written, and where."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from storage.values import VolumeRecord, Voxels


class Pixels(Protocol):
    """Where the pixels of a finished volume are."""

    def open(self) -> Voxels:
        """Return them to be read by part: little-endian, read-only."""

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
        slices, rows, columns = self.record.shape
        mapped: Voxels = np.memmap(
            self.path,
            dtype=np.dtype(self.record.dtype).newbyteorder("<"),
            mode="r",
            offset=self.first,
            shape=(slices, self.rows, columns),
        )
        return mapped if rows == self.rows else cast("Voxels", mapped[:, :rows])

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
