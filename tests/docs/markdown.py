"""As much of Markdown as the documents' tests have to read: code blocks, links, headings."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests import REPOSITORY

DOCS = REPOSITORY / "docs"
_FENCE = re.compile(r"(?P<indent> *)```(?P<language>[a-z]*) ?(?P<words>.*)")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced code block, without the indentation that it has as part of a list."""

    document: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(REPOSITORY).as_posix()}:{self.line}"


def documents() -> list[Path]:
    """Return the documents that are part of the repository."""
    return [*sorted(REPOSITORY.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


def blocks(document: Path) -> list[Block]:
    """Return the code blocks of a document in their order."""
    found: list[Block] = []
    opened: tuple[int, re.Match[str]] | None = None
    inside: list[str] = []
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.fullmatch(line)
        if opened is None:
            opened, inside = (number, fence) if fence else None, []
        elif fence:
            began, first = opened
            words = tuple(first["words"].split())
            found.append(Block(document, began, first["language"], words, "\n".join(inside)))
            opened = None
        else:
            inside.append(line.removeprefix(opened[1]["indent"]))
    assert opened is None, f"{document} leaves a code block open"
    return found


def prose(document: Path) -> str:
    """Return a document without its code blocks."""
    kept = []
    is_code = False
    for line in document.read_text(encoding="utf-8").splitlines():
        if _FENCE.fullmatch(line):
            is_code = not is_code
        elif not is_code:
            kept.append(line)
    return "\n".join(kept)


def links(document: Path) -> list[str]:
    """Return the targets of a document's links and images."""
    return [match["target"] for match in _LINK.finditer(prose(document))]


def anchors(document: Path) -> set[str]:
    """Return what a link may name after the ``#``, as GitHub makes it from the headings."""
    headings = re.findall(r"^#+ (.*)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(document: Path, heading: str) -> str:
    """Return what stands under a heading, up to the next one of the same rank or a higher."""
    lines = document.read_text(encoding="utf-8").splitlines()
    rank = len(heading) - len(heading.lstrip("#"))
    begin = lines.index(heading)
    for end in range(begin + 1, len(lines)):
        if re.match(rf"#{{1,{rank}}} ", lines[end]):
            return "\n".join(lines[begin:end])
    return "\n".join(lines[begin:])


def code(text: str) -> set[str]:
    """Return everything that a text sets in code."""
    return set(re.findall(r"`([^`\n]+)`", text))


def rows(text: str) -> dict[str, list[str]]:
    """Return the rows of a text's tables, without their heads, by the first cell."""
    lines = text.splitlines()
    bodies = [
        line
        for line, below in pairwise([*lines, ""])
        if line.startswith("| ") and not below.startswith("|---")
    ]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in bodies]
    return {row[0]: row[1:] for row in cells}
