"""The flat store, ``{root}/volumes/{uid}.…``: it knows nothing that its files do not say."""

import logging
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import xxhash

from storage import disk, formats, inventory
from storage.errors import (
    AcquisitionNotFoundError,
    BrokenVolumeError,
    IndexUnavailableError,
    UidTakenError,
    VolumeNotFoundError,
    VolumeTrashedError,
    ranges,
)
from storage.index import TRASH, VOLUMES, Entry, Index, NotFilledError, StoreStats
from storage.inventory import BrokenFile, Progress, Refreshed
from storage.series import Series
from storage.stored import Stored
from storage.trash import Trash, TrashNote
from storage.values import Status, VolumeRecord, VolumeSpec, checked_uid
from storage.volume import Volume
from storage.writer import PART, VolumeWriter

T = TypeVar("T")
LOGGER = logging.getLogger(__name__)


class VolumeStore:
    """All volumes below one folder, by UID. Usable alone, from any thread.

    Several processes may use one folder at once, and see at once what the others write; one of
    them, the holder of the `StoreLock`, acquires. `list`, `query`, `broken` and `stats` answer from
    an index beside the volumes; the first of them, in each process, looks at all files.

    A context manager: leaving it closes the index, as does forgetting the store.

    Parameters
    ----------
    root
        The storage folder; ``volumes`` is made inside it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.volumes = self.root / VOLUMES
        self.volumes.mkdir(parents=True, exist_ok=True)
        self._trash = Trash(self.root / TRASH)
        self._writing: set[Path] = set()
        self._index = Index(self.root)
        self._looking = threading.RLock()
        self._looked = False

    def close(self) -> None:
        """Close the index. Idempotent; reading and writing by UID work on."""
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def path(self, uid: str) -> Path:
        """Return where the volume is, or would be by default; raises InvalidUidError."""
        return formats.find(self.volumes, uid) or next(formats.paths(self.volumes, uid))

    # ------------------------------------------------------------------ writing

    def create(self, spec: VolumeSpec) -> VolumeWriter:
        """Lay out a new volume and own its disk space.

        Raises
        ------
        StorageFullError
            The disk has no room for all of it.
        UidTakenError
            A volume of this UID exists, is being written, or is or was in the trash.
        """
        path = self.volumes / f"{spec.uid}{formats.of(spec).suffix}"
        part = self._claim(spec.uid, path)
        try:
            self._check_free(spec.uid, self._trash.claims(spec.uid))
            return VolumeWriter(spec, path, ended=lambda record: self._ended(part, record))
        except BaseException:
            self._release(part)
            raise

    def free_bytes(self) -> int:
        """Return how many bytes the disk below the volumes has left for this user."""
        return shutil.disk_usage(self.volumes).free

    def sweep(self, uid: str | None = None) -> Sequence[Path]:
        """Remove what dead writers left, of all volumes or of one, and return it.

        Only the holder of the store's lock may call this for all: another process's writer is not
        known here. This store's own writers are left alone.
        """
        which = f"*{PART}" if uid is None else f"{checked_uid(uid)}.*{PART}"
        left = [part for part in self.volumes.glob(which) if part not in self._writing]
        for part in left:
            disk.remove(part)
            LOGGER.warning("removed %s, which its writer did not finish", part)
        return left

    # ------------------------------------------------------------------ reading

    def record(self, uid: str) -> VolumeRecord:
        """Return a volume's record, at the cost of one look at its file; pixels are not read.

        Raises
        ------
        VolumeNotFoundError
            There is no such file; VolumeTrashedError says that it was put away.
        BrokenVolumeError
            There is one, but it is not the volume; the reason says why.
        """
        path = self._located(uid)
        known = self._known(path)
        if known and isinstance(known.found, VolumeRecord):
            return known.found
        try:
            entry = inventory.examine(path)
        except FileNotFoundError:
            raise VolumeNotFoundError(uid, self.volumes) from None
        if entry != known:
            self._note([entry])
        if isinstance(entry.found, str):
            raise BrokenVolumeError(path, entry.found)
        return entry.found

    def open(self, uid: str) -> Volume:
        """Map a volume's pixels; raises as `record` does."""
        found = self._load(uid)
        return Volume(found.record, found.pixels)

    def verify(self, uid: str) -> VolumeRecord:
        """Read all pixels back and match them with their checksums; memory is one frame.

        Raises
        ------
        BrokenVolumeError
            Frames differ from what was written; the reason names them.
        """
        found = self._load(uid)
        pairs = zip(found.digests, found.pixels.frames(), strict=True)
        wrong = [n for n, (then, frame) in enumerate(pairs) if then != xxhash.xxh3_64_digest(frame)]
        if wrong:
            raise BrokenVolumeError(
                found.record.path, f"slices {ranges(wrong)} are not what was written there"
            )
        return found.record

    # ------------------------------------------------------------------ finding

    def list(self, limit: int | None = None) -> Sequence[VolumeRecord]:
        """Return the newest volumes first; files that are no volumes are in `broken`."""
        return self.query(limit=limit)

    def query(
        self,
        *,
        session: str | None = None,
        embryo: str | None = None,
        acquisition: str | None = None,
        plan: str | None = None,
        tag: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        status: Status = "complete",
        limit: int | None = None,
        after: str | None = None,
    ) -> Sequence[VolumeRecord]:
        """Return the volumes that meet every condition, newest first.

        Parameters
        ----------
        tag
            One of its ``tags``.
        since, until
            When the volume was begun: from `since` on, and before `until`; with a time zone.
        status
            ``complete``, ``incomplete``, or ``trashed``.
        limit, after
            A page: at most so many volumes, from behind the one of this UID.

        Raises
        ------
        VolumeNotFoundError
            Nothing has the UID `after`.
        """
        for name, time in (("since", since), ("until", until)):
            if time is not None and time.tzinfo is None:
                raise ValueError(f"{name} has no time zone: {time}. Give one, for example UTC.")
        conditions = {
            "session": session,
            "embryo": embryo,
            "acquisition": acquisition,
            "plan": plan,
            "tag": tag,
            "since": since,
            "until": until,
            "status": status,
        }
        found = self._answer(lambda index: index.query(conditions, limit, after))
        if found is None:
            raise VolumeNotFoundError(after or "", self.volumes)
        return found

    def series(self, acquisition_uid: str) -> Series:
        """Return the complete volumes of an acquisition as one array of times and channels.

        Raises
        ------
        AcquisitionNotFoundError
            There is none.
        UnevenSeriesError
            They differ in what makes one array.
        """
        records = self.query(acquisition=checked_uid(acquisition_uid))
        if not records:
            raise AcquisitionNotFoundError(acquisition_uid, self.volumes)
        return Series(acquisition_uid, records)

    def broken(self) -> Sequence[BrokenFile]:
        """Return the files among the volumes that are none, by name, with the reasons."""
        found = self._answer(Index.broken)
        return [BrokenFile(path=path, reason=reason) for path, reason in found]

    def stats(self) -> StoreStats:
        """Return how much is in the store."""
        return self._answer(Index.stats)

    def refresh(self, progress: Progress | None = None) -> Refreshed:
        """Look at all files, and read those that are not known as they are.

        Finds what was copied, changed or removed by hand, and what a process that died had
        renamed but not noted. Blocks for seconds where there are a million files.
        """
        return self._look(progress)

    def rebuild(self, progress: Progress | None = None) -> Refreshed:
        """Forget the index and read every file again."""
        return self._look(progress, anew=True)

    # ------------------------------------------------------------------ trash

    def trash(self, uid: str, *, reason: str, by: str) -> TrashNote:
        """Put a volume, or what is broken under its name, into the trash, with a note.

        Raises
        ------
        VolumeNotFoundError
            There is no such file.
        TrashError
            One of this UID lies in the trash already, or another program holds the file.
        """
        path = self._located(uid)
        note = TrashNote.now(uid, reason, by)
        try:
            target = self._trash.put(path, note)
        except FileNotFoundError:
            raise VolumeNotFoundError(uid, self.volumes) from None
        self._moved(path, target)
        return note

    def restore(self, uid: str) -> Path:
        """Take a volume out of the trash and return where it is again.

        Raises
        ------
        TrashError
            It does not lie in the trash, or another program holds it.
        UidTakenError
            A file of its name is in the store: copied there by hand.
        """
        part = self._claim(uid, self.path(uid))
        try:
            self._check_free(uid)
            old = self._trash.find(uid)
            path = self._trash.take(uid, self.volumes)
        finally:
            self._release(part)
        self._moved(old or path, path)
        return path

    def trashed(self) -> Sequence[TrashNote]:
        """Return the notes of what can be restored; the last one put away is first."""
        return sorted(self._trash.notes(), key=lambda note: note.trashed, reverse=True)

    def empty_trash(self, older_than: timedelta) -> Sequence[TrashNote]:
        """Delete for good what was put away at least so long ago, and return its notes.

        The notes stay, and so do the UIDs: they are never given to another volume. What cannot be
        deleted is logged and stays. So does what was moved into the trash without a note.
        """
        limit = datetime.now(UTC) - older_than
        return [
            emptied
            for note in self.trashed()
            if note.trashed <= limit and (emptied := self._deleted(note))
        ]

    # ------------------------------------------------------------------ beneath

    def _claim(self, uid: str, path: Path) -> Path:
        """Own the name of an unfinished volume; raises UidTakenError."""
        parts = [name.with_name(name.name + PART) for name in formats.paths(self.volumes, uid)]
        part = path.with_name(path.name + PART)
        try:
            formats.claim(path, part)
        except FileExistsError:
            raise UidTakenError(uid, part) from None
        self._writing.add(part)
        for other in parts:  # in another format
            if other != part and os.path.lexists(other):
                self._release(part)
                raise UidTakenError(uid, other)
        return part

    def _check_free(self, uid: str, claimed: Path | None = None) -> None:
        if taken := formats.find(self.volumes, uid) or claimed:
            raise UidTakenError(uid, taken)

    def _release(self, part: Path) -> None:
        disk.remove(part)
        self._writing.discard(part)

    def _ended(self, part: Path, record: VolumeRecord | None) -> None:
        self._writing.discard(part)
        if record:
            self._note([Entry(path=record.path, mark=formats.mark(record.path), found=record)])

    def _located(self, uid: str) -> Path:
        """Return where the volume is; raises VolumeNotFoundError."""
        if path := formats.find(self.volumes, uid):
            return path
        if note := self._trash.note(uid):
            raise VolumeTrashedError(uid, note.told())
        raise VolumeNotFoundError(uid, self.volumes)

    def _load(self, uid: str) -> Stored:
        path = self._located(uid)
        try:
            return formats.load(path)
        except FileNotFoundError:
            raise VolumeNotFoundError(uid, self.volumes) from None

    def _known(self, path: Path) -> Entry | None:
        """Return what the index knows of the file as it is now."""
        try:
            known, mark = self._index.get(path), formats.mark(path)
        except (IndexUnavailableError, OSError):
            return None  # reading the file tells more
        return known if known and known.mark == mark else None

    def _note(self, entries: Sequence[Entry], gone: Sequence[Path] = ()) -> None:
        """Tell the index; what it could not be told is found by looking at all files again."""
        try:
            self._index.settle(entries, gone)
        except IndexUnavailableError as error:
            self._looked = False
            LOGGER.warning("%s", error)

    def _look(self, progress: Progress | None = None, *, anew: bool = False) -> Refreshed:
        """Look at all files, with an index of this process's own where the common one fails."""
        with self._looking:
            try:
                found = self._fill(progress, anew)
            except IndexUnavailableError as error:
                if self._index.private or self._index.closed:
                    raise
                LOGGER.warning("%s Until then this process uses one of its own.", error)
                self._index.close()
                self._index = Index(self.root, private=True)
                found = self._fill(progress, anew)
            self._looked = True
        return found

    def _fill(self, progress: Progress | None, anew: bool) -> Refreshed:  # noqa: FBT001
        if anew:
            self._index.clear()
        return inventory.refresh(self._index, (self.volumes, self._trash.folder), progress)

    def _moved(self, old: Path, new: Path) -> None:
        self._note([inventory.examine(new)], gone=[old])

    def _deleted(self, note: TrashNote) -> TrashNote | None:
        path = self._trash.find(note.uid)
        try:
            emptied = self._trash.delete(note)
        except OSError as error:
            LOGGER.warning("volume %s stays in the trash: %s", note.uid, error)
            return None
        self._note((), gone=[path] if path else [])
        return emptied

    def _answer(self, ask: Callable[[Index], T]) -> T:
        """Ask the index, once it knows all files."""
        with self._looking:
            # Nobody else tells a private index what is new.
            if self._index.private or not self._looked:
                self.refresh()
        try:
            return ask(self._index)
        except (NotFilledError, IndexUnavailableError):
            self.refresh()  # another process began it anew, or it is damaged or gone
        return ask(self._index)
