"""A finished volume, read without loading it."""

from types import TracebackType
from typing import Self

from storage.values import VolumeRecord, Voxels


class Volume:
    """A volume's record and its pixels, which stay in the file. A context manager.

    Closing drops the map; views that the caller took keep their part of it until they go.
    """

    def __init__(self, record: VolumeRecord, array: Voxels) -> None:
        self.record = record
        self._array: Voxels | None = array

    @property
    def array(self) -> Voxels:
        """The pixels, (z, y, x), read-only; raises ValueError after `close`."""
        if self._array is None:
            raise ValueError(f"volume {self.record.uid} is closed; open it again from the store")
        return self._array

    def close(self) -> None:
        """Drop the map. Idempotent."""
        self._array = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()
