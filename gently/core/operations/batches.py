"""One thread that writes what many hand over, in order, so that none of them waits for a disk."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

__all__ = ["BatchWriter"]

LOGGER = logging.getLogger(__name__)
T = TypeVar("T")
_RETRY_S: Final = 1.0
_GATHER_S: Final = 0.005


class BatchWriter(Generic[T]):
    """Hands what was put to one function, as many at a time as there are after a moment.

    The moment is for whoever has put it: what is written at once competes with them for the
    interpreter, and for the disk.

    Parameters
    ----------
    name
        The thread's name.
    write
        Called on the thread with what is to be written. If it raises OSError it must have
        written nothing, and is called with the same once more, after a while.
    most
        How many may wait.
    """

    def __init__(self, name: str, write: Callable[[Sequence[T]], None], *, most: int) -> None:
        self._write = write
        self._most = most
        self._waiting: list[T] = []
        self._taken = self._done = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why nothing can be written at the moment; empty if all is well."""
        return self._problem

    def put(self, value: T) -> bool:
        """Take something to be written; never waits. False if there is too much already."""
        with self._changed:
            if self._is_closed or self._taken - self._done >= self._most:
                return False
            self._waiting.append(value)
            self._taken += 1
            self._changed.notify_all()
            return True

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was put so far is written; False if it is not in time."""
        with self._changed:
            taken = self._taken
            return self._changed.wait_for(lambda: self._done >= taken, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Write what waits and end the thread; False if the disk hangs. Idempotent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while batch := self._next_batch():
            while not self._written(batch):
                with self._changed:
                    if self._changed.wait_for(lambda: self._is_closed, _RETRY_S):
                        break  # at the end there is no later
            with self._changed:
                self._done += len(batch)
                self._changed.notify_all()

    def _next_batch(self) -> list[T]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
        time.sleep(_GATHER_S)
        with self._changed:
            batch, self._waiting = self._waiting, []
            return batch

    def _written(self, batch: list[T]) -> bool:
        try:
            self._write(batch)
        except OSError as error:
            if not self._problem:
                LOGGER.error("%s: %s", self._thread.name, error)  # noqa: TRY400 - it says all
            self._problem = str(error)
            return False
        self._problem = ""
        return True
