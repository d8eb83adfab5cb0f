"""The values of the lineage, and the errors that keep it true."""

import json
import re
import struct
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from pydantic import JsonValue

UID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:@+-]{0,127}", re.ASCII)
KIND: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)

UNREADABLE: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
)
"""What libraries raise for a file that somebody damaged; found by damaging files."""


class DataStoreError(Exception):
    """Anything the data store refuses."""


class RegistrationError(DataStoreError):
    """A file that cannot be registered as what it is said to be."""


class UnknownRecordError(DataStoreError):
    """No record has that uid."""


class LineageError(DataStoreError):
    """A record or an edge that would contradict what is stored."""


class FileGoneError(DataStoreError):
    """A record's file is not where it was registered."""


class FileChangedError(DataStoreError):
    """A record's file does not hold what it held when it was registered."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One node of the lineage.

    Attributes
    ----------
    uid : str
        Its name, unique among all kinds and for ever.
    kind : str
        "session", "prompt", "item", "run", "volume", "projection", "mask", …
    created : str
        ISO time, UTC.
    metadata : mapping
        JSON values.
    path : Path or None
        Absolute path of its file or folder, if it is one.
    bytes : int or None
        Size of the file.
    checksum : str or None
        "xxh3_128:…" over the file, or what the store that wrote the file vouches with.
    adopted : bool
        Whether the file is a copy that belongs to the data store.
    deleted : str or None
        ISO time, UTC, when it was deleted; all else tells what it was.
    reason : str
        Why it was deleted.
    """

    uid: str
    kind: str
    created: str
    metadata: Mapping[str, JsonValue]
    path: Path | None = None
    bytes: int | None = None
    checksum: str | None = None
    adopted: bool = False
    deleted: str | None = None
    reason: str = ""

    @property
    def missing(self) -> bool:
        """Whether its file should be there now and is not; looks at the disk."""
        return self.path is not None and self.deleted is None and not self.path.exists()

    @property
    def tombstone(self) -> str:
        """When and why it was deleted, as a clause."""
        return f"{self.uid} was deleted on {self.deleted} ({self.reason})"

    def to_json(self) -> dict[str, JsonValue]:
        """Return what is known of it as JSON values; looks at the disk."""
        known: dict[str, JsonValue] = {
            "uid": self.uid,
            "kind": self.kind,
            "created": self.created,
            "metadata": dict(self.metadata),
        }
        if self.path is not None:
            known |= {
                "path": str(self.path),
                "bytes": self.bytes,
                "checksum": self.checksum,
                "adopted": self.adopted,
                "missing": self.missing,
            }
        if self.deleted is not None:
            known |= {"deleted": self.deleted, "reason": self.reason}
        return known


@dataclass(frozen=True, kw_only=True)
class Session:
    """A sitting at the microscope: what one person did for one purpose.

    Attributes
    ----------
    uid : str
        Its id, which files and documents carry as `session_id`.
    title, who : str
        What for, and whose; empty if nobody said.
    begun : str
        ISO time, UTC.
    ended : str or None
        ISO time, UTC, when it was last left; None while it goes on, or if nobody said.
    """

    uid: str
    title: str
    who: str
    begun: str
    ended: str | None

    @classmethod
    def of(cls, record: Record) -> Self:
        """Read the session out of its record."""
        ended = record.metadata.get("ended")
        return cls(
            uid=record.uid,
            title=str(record.metadata.get("title") or ""),
            who=str(record.metadata.get("who") or ""),
            begun=record.created,
            ended=None if ended is None else str(ended),
        )


def check_uid(uid: str) -> str:
    """Return the uid, or raise `LineageError` if it can be none."""
    if not UID.fullmatch(uid):
        raise LineageError(
            f"{uid!r} is no uid: give 1 to 128 letters, digits or . _ : @ + - in ASCII"
        )
    return uid


def check_kind(kind: str) -> str:
    """Return the kind, or raise `LineageError` if it can be none."""
    if not KIND.fullmatch(kind):
        raise LineageError(
            f"{kind!r} is no kind: give a word like volume, projection, mask, detection or table"
        )
    return kind


def encode(uid: str, metadata: Mapping[str, JsonValue]) -> str:
    """Return the metadata as JSON text, or raise `DataStoreError`."""
    try:
        return json.dumps(dict(metadata), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataStoreError(f"metadata of {uid} are no JSON: {error}") from error


def as_utc(created: str | None) -> str:
    """Return an ISO time in UTC; now, if none is given."""
    if created is None:
        return datetime.now(UTC).isoformat(timespec="microseconds")
    try:
        time = datetime.fromisoformat(created)
    except ValueError as error:
        raise DataStoreError(f"created: {created!r} is no ISO time") from error
    if time.tzinfo is None:
        raise DataStoreError(f"created: {created!r} has no time zone; append Z for UTC")
    return time.astimezone(UTC).isoformat(timespec="microseconds")
