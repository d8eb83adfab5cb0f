"""What can go wrong in the store. Every message carries the fact, the cause and the remedy."""

from collections.abc import Mapping, Sequence
from pathlib import Path


class StorageError(Exception):
    """Anything that the store refuses or could not do."""


class InvalidUidError(StorageError):
    """What was given as a UID is none, so it never reaches the file system."""

    def __init__(self, uid: object) -> None:
        super().__init__(
            f"{str(uid)[:80]!r} is not a UID: a UID is 32 lower-case hexadecimal characters, "
            "as storage.new_uid() makes them"
        )


class UidTakenError(StorageError):
    """A volume of this UID exists or is being written; nothing is ever overwritten."""

    def __init__(self, uid: str, path: Path) -> None:
        super().__init__(f"{uid} is taken by {path}. Take a fresh UID from storage.new_uid().")


class VolumeNotFoundError(StorageError):
    """No finished volume has this UID."""

    def __init__(self, uid: str, folder: Path) -> None:
        super().__init__(f"no volume {uid} in {folder}")


class VolumeTrashedError(VolumeNotFoundError):
    """The volume of this UID lies in the trash."""

    def __init__(self, uid: str, told: str) -> None:
        StorageError.__init__(self, f"volume {uid} {told}")


class AcquisitionNotFoundError(StorageError):
    """No complete volume belongs to this acquisition."""

    def __init__(self, uid: str, folder: Path) -> None:
        super().__init__(f"no complete volume of acquisition {uid} in {folder}")


class UnevenSeriesError(StorageError):
    """The volumes of an acquisition are no one array."""

    def __init__(self, uid: str, difference: str) -> None:
        super().__init__(
            f"the volumes of acquisition {uid} are no one array: {difference}. "
            "Open each by its own UID."
        )


class TrashError(StorageError):
    """A volume cannot be moved into the trash or out of it."""


class IndexUnavailableError(StorageError):
    """The index can be neither used nor made again; no volume is affected."""

    def __init__(self, path: Path, cause: object) -> None:
        super().__init__(
            f"the index {path} cannot be used ({cause}). Volumes are read and written without it. "
            "Give this user the right to write there, end programs that hold the file, or delete "
            "it: it is made again from the volumes."
        )


class BrokenVolumeError(StorageError):
    """The file of this name is not a volume that this store can vouch for."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class RunNotFoundError(StorageError):
    """No documents of such a run are kept."""

    def __init__(self, run_uid: object, folder: Path) -> None:
        super().__init__(f"no documents of a run {str(run_uid)[:80]!r} in {folder}")


class BrokenDocumentsError(StorageError):
    """The file of this name does not hold a run's documents."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class DocumentsLostError(StorageError):
    """Documents could not be kept; their run's file has no stop document."""

    def __init__(self, folder: Path, problems: Sequence[str]) -> None:
        super().__init__(
            f"Bluesky's documents could not be kept in {folder} ({'; '.join(problems)}). "
            "Look after the disk and its free space; published volumes are not affected."
        )


class StorageFullError(StorageError):
    """The disk has no room for the volume; known before its first frame."""

    def __init__(self, folder: Path, bytes_needed: int, bytes_free: int) -> None:
        super().__init__(
            f"the volume needs {bytes_needed} bytes and {folder} has {bytes_free} bytes free "
            "(or a quota is used up). Free space there, ask for fewer slices, or store elsewhere."
        )
        self.bytes_needed = bytes_needed
        self.bytes_free = bytes_free


class ExportTakenError(StorageError):
    """Something has the name that a copy would get; nothing is ever overwritten."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists. Move it away, or export to another folder.")
        self.path = path


class FrameRefusedError(StorageError):
    """The frame does not belong into this volume; the volume is as it was before."""


class WriterClosedError(StorageError):
    """The volume was finished or discarded; it takes no more frames."""


class WriteFailedError(StorageError):
    """The operating system could not write a frame; the cause is chained."""

    def __init__(self, index: int, cause: BaseException) -> None:
        super().__init__(
            f"frame {index} could not be written ({cause!r}), so the volume is lost. "
            "Look after the disk and acquire it again."
        )
        self.index = index


class IncompleteVolumeError(StorageError):
    """Frames were missing at the end; the volume was discarded."""

    def __init__(self, uid: str, missing: Sequence[int], expected: int) -> None:
        super().__init__(
            f"volume {uid} was discarded: {len(missing)} of {expected} frames never came "
            f"(slices {ranges(missing)})"
        )
        self.missing = tuple(missing)


class UnprovenVolumeError(StorageError):
    """What came is not what was asked for; the volume was discarded."""

    def __init__(self, uid: str, flaw: str) -> None:
        super().__init__(f"volume {uid} was discarded: {flaw}")


class StoreLockedError(StorageError):
    """Another process holds this store."""

    def __init__(self, root: Path, holder: Mapping[str, object]) -> None:
        who = ", ".join(f"{key} {value}" for key, value in holder.items())
        super().__init__(
            f"{root} is held by {who or 'another process that gave no name'}. "
            "End that process or choose another storage folder."
        )
        self.holder = dict(holder)


def ranges(indices: Sequence[int], most: int = 8) -> str:
    """Abbreviate sorted indices: ``0, 3–7, 9``; at most `most` runs are named."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    named = [f"{low}" if low == high else f"{low}–{high}" for low, high in runs[:most]]
    return ", ".join(named) + (", …" if len(runs) > most else "")
