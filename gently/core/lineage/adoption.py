"""Copies of files that others wrote: whole and on the disk, or not there at all.

A copy is made under a temporary name beside its final one. One process at a time copies
into a folder; what a process left there that was killed meanwhile, the next one removes.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from filelock import FileLock

from gently.core.lineage.files import Content, measure
from gently.core.lineage.values import RegistrationError

PART: Final = "part-"


@contextlib.contextmanager
def copied(source: Path, target: Path) -> Iterator[tuple[Path, Content]]:
    """Copy a file or folder beside `target`; give the copy's place and content.

    The copy is on the disk when this gives it, and gone afterwards unless it was published.
    Only the holder of this context may publish into the folder of `target`.

    Raises
    ------
    RegistrationError
        If there is nothing at `source` or it changes meanwhile.
    OSError
        If it cannot be read or written; a full disk, say.
    """
    folder = target.parent
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock", thread_local=False):
        for left in folder.glob(f"{PART}*"):
            discard(left)
        part = target.with_name(PART + target.name)
        try:
            yield part, _copy(source, part)
        finally:
            discard(part)


def publish(part: Path, target: Path, content: Content) -> None:
    """Give the copy its final name, durably; never in place of something else.

    A process that was killed right after this left the same content under the name: it stays.
    """
    if not target.exists():
        part.rename(target)
        _sync_folder(target.parent)
    elif measure(target) != content:
        raise RegistrationError(
            f"{target} is there already, holds something else and belongs to no record; "
            "move it away"
        )


def discard(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, part: Path) -> Content:
    if not source.is_dir():
        return measure(source, part)
    part.mkdir()
    content = measure(source, part)
    for folder in [part, *filter(Path.is_dir, part.rglob("*"))]:
        _sync_folder(folder)
    return content


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; Windows writes them with the file."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
