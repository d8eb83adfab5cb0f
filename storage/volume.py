"""A finished volume, read without loading it."""

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from storage.stored import Pixels
from storage.values import VolumeRecord, Voxels


class Volume:
    """A volume's record and its pixels, which stay in the file. A context manager.

    Closing drops the map; views that the caller took keep their part of it until they go.
    """

    def __init__(self, record: VolumeRecord, pixels: Pixels) -> None:
        self.record = record
        self._pixels = pixels
        self._array: Voxels | None = pixels.open()

    @property
    def array(self) -> Voxels:
        """The pixels, (z, y, x), read-only; raises ValueError after `close`."""
        if self._array is None:
            raise ValueError(f"volume {self.record.uid} is closed; open it again from the store")
        return self._array

    def slices(self) -> Iterator[NDArray[Any]]:
        """Yield all slices one by one, (y, x), read-only: a walk through a volume of any size.

        Memory is one slice, while `array` counts as memory what was read of it.
        """
        return self._pixels.slices()

    def close(self) -> None:
        """Drop the map. Idempotent."""
        self._array = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()
