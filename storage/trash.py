"""The trash, ``{root}/trash/``: each volume as it was, and beside it a note of who, when and why.

A note stays when its volume is deleted for good, so that the UID stays taken and the deletion can
be told. The files are the truth: a note whose volume is not in the trash and that does not say
that it was emptied was left by a process that died, and means nothing.
"""

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from storage import disk, formats
from storage.errors import InvalidUidError, TrashError
from storage.values import checked_uid

NOTE: Final = ".json"
LOGGER = logging.getLogger(__name__)


class TrashNote(BaseModel):
    """Who put a volume into the trash, when and why.

    Attributes
    ----------
    emptied
        When the volume was deleted for good, UTC; None while it can be restored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uid: str
    reason: str
    by: str
    trashed: AwareDatetime
    emptied: AwareDatetime | None = None

    @classmethod
    def now(cls, uid: str, reason: str, by: str) -> Self:
        """Return the note of a volume that is trashed now."""
        return cls(uid=uid, reason=reason, by=by, trashed=datetime.now(UTC))

    def told(self) -> str:
        """Return what became of the volume, and the remedy, for an error's message."""
        trashed = f"was trashed by {self.by} at {self.trashed:%Y-%m-%d %H:%M} UTC: {self.reason}."
        if self.emptied:
            return f"{trashed} It was deleted for good at {self.emptied:%Y-%m-%d %H:%M} UTC."
        return f"{trashed} VolumeStore.restore, or gently-store restore, brings it back."


class Trash:
    """A folder of volumes that were removed from the store; made when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, uid: str) -> Path | None:
        """Return the trashed volume of this UID, or None."""
        return formats.find(self.folder, uid)

    def note(self, uid: str) -> TrashNote | None:
        """Return what is known of the trashed or deleted volume of this UID, or None."""
        path = self._note_path(checked_uid(uid))
        try:
            note = TrashNote.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            LOGGER.warning("%s is no note of the trash: %s", path, error)
            return None
        if note.uid != uid:
            return None
        if self.find(uid):  # even if it was about to be deleted
            return note.model_copy(update={"emptied": None})
        return note if note.emptied else None

    def claims(self, uid: str) -> Path | None:
        """Return what in the trash makes this UID taken, or None."""
        found = self.find(uid)
        return found or (self._note_path(uid) if self.note(uid) else None)

    def put(self, path: Path, note: TrashNote) -> Path:
        """Move a volume here and return where it is now.

        Raises
        ------
        TrashError
            A volume of this UID lies here already, or another program holds the file.
        FileNotFoundError
            It is gone.
        """
        if there := self.find(note.uid):
            raise TrashError(
                f"{path} stays: {there} lies in the trash already. "
                "It is never overwritten; empty the trash first."
            )
        self.folder.mkdir(exist_ok=True)
        self._keep(note)
        target = self.folder / path.name
        _move(path, target)
        return target

    def take(self, uid: str, folder: Path) -> Path:
        """Move a volume out to `folder` and return where it is now.

        The caller makes sure that nothing of this UID is there.

        Raises
        ------
        TrashError
            Nothing of this UID lies here, or another program holds it.
        """
        path = self.find(uid)
        if path is None:
            note = self.note(uid)
            raise TrashError(f"volume {uid} {note.told() if note else 'is not in the trash'}")
        target = folder / path.name
        _move(path, target)
        self._note_path(uid).unlink(missing_ok=True)
        return target

    def notes(self) -> Iterator[TrashNote]:
        """Return the notes of all volumes that can be restored, in no order."""
        if not self.folder.is_dir():
            return
        with os.scandir(self.folder) as entries:
            names = [entry.name for entry in entries if entry.name.endswith(NOTE)]
        for name in names:
            try:
                note = self.note(name.removesuffix(NOTE))
            except InvalidUidError:
                continue
            if note and not note.emptied:
                yield note

    def delete(self, note: TrashNote) -> TrashNote:
        """Delete a volume for good and keep, and return, its note; raises OSError."""
        emptied = note.model_copy(update={"emptied": datetime.now(UTC)})
        self._keep(emptied)
        if path := self.find(note.uid):
            disk.remove(path)
            disk.sync_folder(self.folder)
        return emptied

    def _note_path(self, uid: str) -> Path:
        return self.folder / f"{uid}{NOTE}"

    def _keep(self, note: TrashNote) -> None:
        """Write a note whole or not at all."""
        path = self._note_path(note.uid)
        new = path.with_name(f"{path.name}.new")
        with new.open("w", encoding="utf-8") as file:
            file.write(note.model_dump_json(indent=1))
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def _move(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise TrashError(
            f"{path} could not be moved to {target} ({error}). "
            "End the programs that hold it open, or look after the folder's permissions."
        ) from error
    for folder in (target.parent, path.parent):
        disk.sync_folder(folder)
