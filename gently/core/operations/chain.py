"""The form of the audit log: a line an entry, each bound to the one before by its hash.

Pure functions and the reading of files; nothing here writes. A line is the canonical JSON of
its entry with two keys more: ``prev``, the hash of the line before (64 zeros for the first),
and ``hash``, the SHA-256 of ``prev`` and the canonical JSON of the rest. Bytes that are no
such line are what a crash has left, if the next entry says so and names their digest; else
somebody has been there.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

__all__ = [
    "BROKEN",
    "LOST",
    "START",
    "TORN",
    "Head",
    "Verdict",
    "canonical",
    "digest",
    "linked",
    "parsed",
    "read_head",
    "verify",
]

TORN: Final = "audit.torn"
"""An entry's `what`: the bytes before it are what a crash has left of lines."""
BROKEN: Final = "audit.broken"
"""An entry's `what`: at a start the log was not what had been written."""
LOST: Final = "audit.lost"
"""An entry's `what`: that many entries could not be written, because the disk took none."""
_MOST_FINDINGS: Final = 100


@dataclass(frozen=True)
class Head:
    """The end of a log: how many entries there are, and the hash of the last."""

    count: int
    hash: str

    def __str__(self) -> str:
        return f"{self.count}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read a head as it is printed; raises ValueError."""
        count, _, end = text.partition(":")
        if not (count.isdecimal() and len(end) == 64 and set(end) <= set("0123456789abcdef")):
            raise ValueError(f"{text!r} is no head; write it as it was printed, COUNT:HASH")
        return cls(int(count), end)


START: Final = Head(0, "0" * 64)
"""Of an empty log."""


@dataclass(frozen=True)
class Verdict:
    """What was found in an audit log.

    Parameters
    ----------
    head
        Of the entries that there are.
    findings
        What is not as it was written; empty if nothing was found.
    notes
        What is unusual and accounted for.
    """

    head: Head
    findings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        return {
            "ok": self.ok,
            "count": self.head.count,
            "hash": self.head.hash,
            "findings": list(self.findings),
            "notes": list(self.notes),
        }


def canonical(value: Any) -> bytes:
    """Return the one JSON text of plain values: sorted keys, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(content: bytes) -> str:
    """Return the SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def linked(entry: Mapping[str, Any], head: Head) -> tuple[bytes, Head]:
    """Return an entry as the line that follows `head`, and the head that it makes."""
    numbered = {**entry, "n": head.count + 1}
    end = digest(head.hash.encode() + canonical(numbered))
    line = canonical({**numbered, "prev": head.hash, "hash": end})
    return line + b"\n", Head(head.count + 1, end)


def parsed(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line that says of itself, byte by byte, what it has to; else None."""
    try:
        entry = json.loads(line)
        if not isinstance(entry, dict) or not line.endswith(b"\n"):
            return None
        rest = {key: value for key, value in entry.items() if key not in ("prev", "hash")}
        again, _ = linked(rest, Head(rest["n"] - 1, entry["prev"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return entry if again == line else None


def read_head(path: Path) -> Head | None:
    """Return the head that is kept beside a log; None if there is none that can be read."""
    try:
        return Head.parse(path.read_text(encoding="ascii").strip())
    except (FileNotFoundError, ValueError):
        return None


def verify(path: Path, *heads: Head, most_bytes: int | None = None) -> Verdict:
    """Read a log from its beginning and tell whether it is what was written.

    Parameters
    ----------
    path
        Of the log.
    heads
        That the log has had at some time, and has to contain.
    most_bytes
        Read no further: a later line may be just being written.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        reader = _Reader({head.count: head.hash for head in heads if head.count})
        for line in _lines(file, most_bytes):
            reader.take(line)
    return reader.verdict()


@dataclass
class _Reader:
    """Follows the chain, line by line."""

    expected: dict[int, str]
    head: Head = START
    number: int = 0
    junk_bytes: int = 0
    junk: Any = field(default_factory=hashlib.sha256)
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def take(self, line: bytes) -> None:
        self.number += 1
        entry = parsed(line)
        if entry is None:
            self.junk.update(line)
            self.junk_bytes += len(line)
            return
        self._listen_to(entry)
        if problem := self._problem_with_junk(entry) or self._problem_with_place(entry):
            self.findings.append(f"line {self.number}: {problem}")
        # From here on as the line itself says, so that one damage is one finding.
        self.head = Head(entry["n"], entry["hash"])
        if self.expected.pop(self.head.count, self.head.hash) != self.head.hash:
            self.findings.append(
                f"entry {self.head.count} is not the one whose hash was kept elsewhere"
            )

    def verdict(self) -> Verdict:
        if self.junk_bytes:
            self.notes.append(
                f"{self.junk_bytes} bytes at the end are an unfinished line: the next start of "
                "the device layer accounts for them"
            )
        for count in sorted(self.expected):
            self.findings.append(
                f"entry {count}, whose hash was kept elsewhere, is not there: the end was cut off"
            )
        return Verdict(self.head, tuple(self.findings[:_MOST_FINDINGS]), tuple(self.notes))

    def _problem_with_junk(self, entry: Mapping[str, Any]) -> str:
        """Return what is wrong with the bytes between this entry and the one before."""
        is_torn = entry.get("what") == TORN
        came, self.junk_bytes = self.junk_bytes, 0
        found, self.junk = self.junk.hexdigest(), hashlib.sha256()
        if is_torn and came and entry.get("digest") == found:
            self.notes.append(f"line {self.number}: a crash has left {came} bytes before it")
            return ""
        if came:
            return "the one before it is not as it was written"
        return "the unfinished line that it tells of is not there" if is_torn else ""

    def _problem_with_place(self, entry: Mapping[str, Any]) -> str:
        if (entry["n"], entry["prev"]) == (self.head.count + 1, self.head.hash):
            return ""
        return (
            f"entry {entry['n']} does not follow entry {self.head.count}: something between "
            "them is missing, moved or changed"
        )

    def _listen_to(self, entry: Mapping[str, Any]) -> None:
        detail = entry.get("detail", "")
        if entry.get("what") == BROKEN:
            self.findings.append(f"entry {entry['n']}: found at a start: {detail}")
        elif entry.get("what") == LOST:
            self.notes.append(f"entry {entry['n']}: {detail}")


def _lines(file: IO[bytes], most_bytes: int | None) -> Iterator[bytes]:
    left = most_bytes
    for line in file:
        if left is None:
            yield line
        elif left > 0:
            yield line[:left]
            left -= len(line)
        else:
            return
