"""The flat store, ``{root}/volumes/{uid}.…``: it knows nothing that its files do not say."""

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from storage import disk, formats
from storage.errors import (
    BrokenVolumeError,
    UidTakenError,
    VolumeNotFoundError,
    ranges,
)
from storage.stored import Stored
from storage.values import VolumeRecord, VolumeSpec
from storage.volume import Volume
from storage.writer import PART, VolumeWriter

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BrokenFile:
    """A file among the volumes that is none, and why."""

    path: Path
    reason: str


class VolumeStore:
    """All volumes below one folder, by UID. Usable alone, from any thread.

    Parameters
    ----------
    root
        The storage folder; ``volumes`` is made inside it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.volumes = self.root / "volumes"
        self.volumes.mkdir(parents=True, exist_ok=True)
        self._writing: set[Path] = set()
        self._known: dict[str, tuple[tuple[int, ...], VolumeRecord | BrokenFile]] = {}
        self._scanning = threading.Lock()

    def path(self, uid: str) -> Path:
        """Return where the volume is, or would be by default; raises InvalidUidError."""
        return formats.find(self.volumes, uid) or formats.default_path(self.volumes, uid)

    def create(self, spec: VolumeSpec) -> VolumeWriter:
        """Lay out a new volume and own its disk space.

        Raises
        ------
        StorageFullError
            The disk has no room for all of it.
        UidTakenError
            A volume of this UID exists or is being written.
        """
        path = formats.of(spec).path(self.volumes, spec.uid)
        part = path.with_name(path.name + PART)
        try:
            formats.of(spec).claim(part)
        except FileExistsError:
            raise UidTakenError(spec.uid, part) from None
        self._writing.add(part)
        try:
            return self._begin(spec, path, part)
        except BaseException:
            disk.remove(part)
            self._writing.discard(part)
            raise

    def record(self, uid: str) -> VolumeRecord:
        """Return a volume's record, from its file alone.

        Raises
        ------
        VolumeNotFoundError
            There is no such file.
        BrokenVolumeError
            There is one, but it is not the volume; the reason says why.
        """
        return self._find(uid).record

    def open(self, uid: str) -> Volume:
        """Map a volume's pixels; raises as `record` does."""
        found = self._find(uid)
        return Volume(found.record, found.pixels.open())

    def list(self, limit: int | None = None) -> Sequence[VolumeRecord]:
        """Return the newest volumes first; files that are no volumes are in `broken`."""
        found = [one for one in self._scan() if isinstance(one, VolumeRecord)]
        return sorted(found, key=lambda record: record.created, reverse=True)[:limit]

    def broken(self) -> Sequence[BrokenFile]:
        """Return the files among the volumes that are none, by name, with the reasons."""
        found = [one for one in self._scan() if isinstance(one, BrokenFile)]
        return sorted(found, key=lambda file: file.path)

    def verify(self, uid: str) -> VolumeRecord:
        """Read all pixels back and match them with their checksums; memory is one frame.

        Raises
        ------
        BrokenVolumeError
            Frames differ from what was written; the reason names them.
        """
        found = self._find(uid)
        pairs = zip(found.digests, found.pixels.frames(), strict=True)
        wrong = [n for n, (then, frame) in enumerate(pairs) if then != xxhash.xxh3_64_digest(frame)]
        if wrong:
            raise BrokenVolumeError(
                found.record.path, f"slices {ranges(wrong)} are not what was written there"
            )
        return found.record

    def sweep(self) -> Sequence[Path]:
        """Remove what dead writers left, and return it.

        Only the holder of the store's lock may call this: another process's writer is not known
        here. This store's own writers are left alone.
        """
        left = [part for part in self.volumes.glob(f"*{PART}") if part not in self._writing]
        for part in left:
            disk.remove(part)
            LOGGER.warning("removed %s, which its writer did not finish", part)
        return left

    def _begin(self, spec: VolumeSpec, path: Path, part: Path) -> VolumeWriter:
        for taken in formats.names(self.volumes, spec.uid):
            for name in (taken, taken.with_name(taken.name + PART)):
                if name != part and os.path.lexists(name):
                    raise UidTakenError(spec.uid, name)
        return VolumeWriter(spec, path, ended=lambda: self._writing.discard(part))

    def _find(self, uid: str) -> Stored:
        path = formats.find(self.volumes, uid)
        if path is None:
            raise VolumeNotFoundError(uid, self.volumes)
        try:
            return formats.load(path)
        except FileNotFoundError:  # gone since it was found
            raise VolumeNotFoundError(uid, self.volumes) from None

    def _scan(self) -> Sequence[VolumeRecord | BrokenFile]:
        """Look at every file; read only those that changed since the last look."""
        with self._scanning, os.scandir(self.volumes) as entries:
            seen = {}
            for entry in entries:
                if entry.name.endswith(PART):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # gone since the folder was read
                    continue
                mark = (status.st_ino, status.st_size, status.st_mtime_ns)
                known = self._known.get(entry.name)
                seen[entry.name] = (
                    known if known and known[0] == mark else (mark, self._look(entry))
                )
            self._known = seen
        return [found for _, found in seen.values()]

    def _look(self, entry: "os.DirEntry[str]") -> VolumeRecord | BrokenFile:
        path = Path(entry.path)
        try:
            return formats.load(path).record
        except (BrokenVolumeError, FileNotFoundError) as error:
            reason = error.reason if isinstance(error, BrokenVolumeError) else "it went away"
            LOGGER.warning("%s is no volume: %s", path, reason)
            return BrokenFile(path=path, reason=reason)
