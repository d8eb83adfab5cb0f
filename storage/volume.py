"""A finished volume, read without loading it."""

from types import TracebackType
from typing import Self

import numpy as np

from storage.values import VolumeRecord


class Volume:
    """A volume's record and its pixels, mapped from the file. A context manager.

    Closing drops the map; views that the caller took keep their part of it until they go.
    """

    def __init__(self, record: VolumeRecord, pixels_at: int) -> None:
        self.record = record
        self._array: np.memmap[tuple[int, ...], np.dtype[np.generic]] | None = np.memmap(
            record.path,
            dtype=np.dtype(record.dtype).newbyteorder("<"),
            mode="r",
            offset=pixels_at,
            shape=record.shape,
        )

    @property
    def array(self) -> "np.memmap[tuple[int, ...], np.dtype[np.generic]]":
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
