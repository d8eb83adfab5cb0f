"""One device layer per storage folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from storage.errors import StoreLockedError


class StoreLock:
    """The right to write into a store; a context manager.

    The operating system holds the lock and frees it when the process ends in any way, so a lock
    file that is left behind blocks nobody.

    Parameters
    ----------
    root
        The storage folder.
    holder
        Who asks, for the message that the next one gets; for example its pid and address.
    """

    def __init__(self, root: Path, holder: Mapping[str, object]) -> None:
        self._root = root
        self._holder = dict(holder)
        self._lock = FileLock(root / "store.lock", thread_local=False)
        # Beside the lock, since Windows lets nobody read a locked file.
        self._note = root / "store.holder.json"

    def acquire(self) -> None:
        """Take the lock at once, or raise StoreLockedError that names the holder."""
        self._root.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise StoreLockedError(self._root, self._noted()) from None
        self._note.write_text(json.dumps(self._holder), encoding="utf-8")

    def release(self) -> None:
        """Give the lock back. Idempotent."""
        if self._lock.is_locked:
            self._note.unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.release()

    def _noted(self) -> dict[str, Any]:
        """Return who holds the lock, as far as they said."""
        try:
            holder = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return holder if isinstance(holder, dict) else {}
