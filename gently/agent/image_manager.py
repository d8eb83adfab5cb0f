"""Finished volumes: registered with their lineage, found and opened by UID."""

import contextlib
from dataclasses import dataclass

from gently.core.data_store import DataStore, DataStoreError, Record, RegistrationError, Trace
from storage import StorageError, Volume, VolumeStore


@dataclass(frozen=True)
class CatchUp:
    """What was found on disk that had not been registered.

    Attributes
    ----------
    registered : tuple of Record
        Now they are, oldest first.
    refused : tuple of str
        Why others could not be.
    """

    registered: tuple[Record, ...]
    refused: tuple[str, ...]


class ImageManager:
    """The volumes of one storage folder; may be used from several threads.

    Parameters
    ----------
    store : VolumeStore
        The folder; it is only read.
    data_store : DataStore
        Where lineage goes.
    """

    def __init__(self, store: VolumeStore, data_store: DataStore) -> None:
        self._store = store
        self._data_store = data_store

    @property
    def store(self) -> VolumeStore:
        """The folder."""
        return self._store

    def register(self, uid: str) -> Record:
        """Register a published volume, session → item → run → volume; again is allowed.

        Everything is taken from the file, which says all that the device layer knew.

        Raises
        ------
        DataStoreError
            If there is no such volume in this folder, it is broken, or it contradicts what
            is registered.
        """
        try:
            volume = self._store.record(uid)
        except (StorageError, OSError) as error:
            raise RegistrationError(f"{uid} cannot be registered: {error}") from error
        # The store has a checksum of the pixels in the file: gigabytes need not be read again.
        return self._data_store.register_external_file(
            uid, volume.path, volume.metadata(), checksum=volume.checksum
        )

    def trace(self, uid: str) -> Trace:
        """Return where a record came from and what came of it.

        A volume of the folder that nobody has registered yet is registered first.

        Raises
        ------
        DataStoreError
            If there is neither a record nor a volume of this uid.
        """
        if uid not in self._data_store:
            with contextlib.suppress(RegistrationError):
                self.register(uid)
        return self._data_store.trace(uid)

    def catch_up(self) -> CatchUp:
        """Register every volume of the folder that is not; needs no device layer."""
        registered, refused = [], []
        for volume in reversed(self._store.list()):
            if volume.uid in self._data_store:
                continue
            try:
                registered.append(self.register(volume.uid))
            except DataStoreError as error:
                refused.append(str(error))
        return CatchUp(tuple(registered), tuple(refused))

    def open(self, uid: str) -> Volume:
        """Map a volume's pixels from disk; raises as `VolumeStore.open` does."""
        return self._store.open(uid)
