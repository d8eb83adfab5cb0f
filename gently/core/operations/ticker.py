"""One thread that does what has to be done now and then."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gently.core.operations.logs import about_item

__all__ = ["Job", "Ticker"]

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Something that is done every so many seconds, the first time after as many."""

    every_s: float
    run: Callable[[], None]


class Ticker:
    """Does jobs on a thread of its own, one after the other, until it is closed.

    A job that takes long makes the others late; one that fails is logged and done again.

    Parameters
    ----------
    name
        The thread's name.
    jobs
        What is to be done.
    """

    def __init__(self, name: str, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self, timeout_s: float) -> bool:
        """End the thread; False if a job does not come to its end. Idempotent."""
        self._is_closed.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        due = {job: time.monotonic() + job.every_s for job in self._jobs}
        with about_item(""):
            while not self._is_closed.wait(max(0.0, min(due.values()) - time.monotonic())):
                job = min(due, key=lambda job: due[job])
                _do(job)
                due[job] = time.monotonic() + job.every_s


def _do(job: Job) -> None:
    try:
        job.run()
    except Exception:
        LOGGER.exception("%s failed", job.run)
