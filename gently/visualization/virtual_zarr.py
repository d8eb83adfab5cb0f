"""Every volume as a zarr hierarchy that is nowhere on the disk: made up as its keys are asked for.

Knows nothing of HTTP.
"""

import time
from typing import Final

from gently.visualization.memo import Memo
from storage import Chunk, Hierarchy, Series, VolumeStore

_CACHE_BYTES: Final = 64 << 20
_SERIES_KEPT: Final = 4


class NoSuchKeyError(LookupError):
    """The hierarchy has nothing of this name."""

    def __init__(self, uid: str, key: str) -> None:
        super().__init__(f"the zarr hierarchy of {uid} has no key {key!r}")


class VirtualZarr:
    """The volumes of a store as plain zarr hierarchies.

    Every method blocks on the file system: call them on worker threads, from as many as you like.
    Tiles of the volume itself are cut from its file; those of coarser levels are computed when
    they are first asked for, and the ones asked for last are kept, up to 64 MiB.
    """

    def __init__(self, store: VolumeStore) -> None:
        self._store = store
        self._coarse = Memo(self._cut, _CACHE_BYTES, weigh=len)
        self._series = Memo(self._look_up, _SERIES_KEPT)

    def find(self, uid: str, key: str) -> bytes | Chunk:
        """Return the document of this key, or the chunk that `read` takes.

        Raises
        ------
        NoSuchKeyError
            There is no such key.
        storage.StorageError
            There is no such volume, or it is broken.
        """
        found = Hierarchy(self._store.record(uid)).find(key)
        if found is None:
            raise NoSuchKeyError(uid, key)
        return found

    def find_in_series(self, acquisition_uid: str, key: str) -> bytes | tuple[str, Chunk]:
        """Return the document of this key, or a volume's UID and the chunk that `read` takes.

        An acquisition may be under way: it is looked up anew each second.

        Raises
        ------
        NoSuchKeyError
            There is no such key, or no volume for it.
        storage.StorageError
            There is no such acquisition, or its volumes are no one array.
        """
        series = self._series((acquisition_uid, int(time.monotonic())))
        found = series.find(key)
        if found is None:
            raise NoSuchKeyError(acquisition_uid, key)
        return found

    def read(self, uid: str, chunk: Chunk) -> bytes:
        """Return a chunk's pixels, little-endian; raises as `find` does."""
        return self._coarse((uid, chunk)) if chunk.level else self._cut((uid, chunk))

    def _look_up(self, moment: tuple[str, int]) -> Series:
        uid, _second = moment
        return self._store.series(uid)

    def _cut(self, place: tuple[str, Chunk]) -> bytes:
        uid, chunk = place
        with self._store.open(uid) as volume:
            return Hierarchy(volume.record).read(chunk, volume.array)
