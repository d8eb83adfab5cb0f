"""The supervisor: one thread that starts the detectors' process, feeds it and buries it.

The process is started when it is first needed, and again after it has died, with more and more
time in between as long as it keeps dying. Each order ends by its deadline, whatever happens.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gently.detector_child.child import AnyOrder, Child, ChildDiedError
from gently.detector_child.values import Answer, Look, Sharpest

__all__ = ["Limits", "Outcome", "Supervisor", "SupervisorError"]

LOGGER = logging.getLogger(__name__)
_LOOK_S: Final = 0.1
_CANCELLED: Final = "it was cancelled"
_CLOSING: Final = "the device layer ends"
_END_S: Final = 15.0


class SupervisorError(Exception):
    """An order is not taken; says why."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much the detectors' process may have.

    Parameters
    ----------
    memory_bytes
        In all; more ends it.
    waiting
        How many orders may wait for the one that is carried out.
    first_pause_s, longest_pause_s
        Before it is started again after it died; doubled each time, until an order succeeds.
    """

    memory_bytes: int = 4 << 30
    waiting: int = 16
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How an order ended.

    Attributes
    ----------
    error
        Why it did not succeed; empty if the label image is in the store.
    is_cancelled
        Whether that was wanted.
    sharpest
        What came of a sweep.
    look
        What came of a look.
    """

    error: str = ""
    is_cancelled: bool = False
    sharpest: Sharpest | None = None
    look: Look | None = None


@dataclass(eq=False)
class _Job:
    uid: str
    due: float
    timeout_s: float
    begin: Callable[[], AnyOrder]
    end: Callable[[Outcome], None]
    is_cancelled: bool = field(default=False)

    def why_end(self) -> str:
        if self.is_cancelled:
            return _CANCELLED
        if time.monotonic() >= self.due:
            return f"it was not done within {self.timeout_s:g} s; allow more time (timeout_s)"
        return ""


class Supervisor:
    """Carries orders out in the detectors' process, one after the other. For any thread.

    Parameters
    ----------
    root
        The storage folder.
    setups
        What the one who runs the microscope says, by the detector's name.
    limits
        What the process may have.
    kinds
        ``module:NAME`` of the detectors that there are; tests have others.
    """

    def __init__(
        self,
        root: Path,
        setups: Mapping[str, dict[str, Any]],
        *,
        limits: Limits = Limits(),
        kinds: str = "gently.detection:KINDS",
    ) -> None:
        self._root = root
        self._setups = dict(setups)
        self._limits = limits
        self._kinds = kinds
        self._changed = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._job: _Job | None = None
        self._child: Child | None = None
        self._is_closing = False
        self._starts = self._deaths_in_a_row = 0
        self._may_start = 0.0
        self._last_error = ""
        self._about: Mapping[str, Any] = {}
        self._thread = threading.Thread(target=self._run, name="detector")
        self._thread.start()

    def submit(
        self,
        uid: str,
        timeout_s: float,
        begin: Callable[[], AnyOrder],
        end: Callable[[Outcome], None],
    ) -> None:
        """Have an order carried out after those that wait; returns at once.

        Parameters
        ----------
        uid
            Names it, for `cancel`.
        timeout_s
            From now on; when it is over, `end` is called, whatever has happened.
        begin
            Called when its turn has come; returns what is to be done.
        end
            Called once, with what became of it. Both are called on the supervisor's thread.

        Raises
        ------
        SupervisorError
            If too many wait already, or the device layer ends.
        """
        with self._changed:
            if self._is_closing:
                raise SupervisorError(_CLOSING)
            if len(self._waiting) >= self._limits.waiting:
                raise SupervisorError(
                    f"{len(self._waiting)} detections wait already, and no more may; try again "
                    "when one has ended"
                )
            due = time.monotonic() + timeout_s
            self._waiting.append(_Job(uid, due, timeout_s, begin, end))
            self._changed.notify_all()

    def cancel(self, uid: str) -> None:
        """Give an order up: one that waits ends soon, one that is carried out with its process."""
        with self._changed:
            for job in (self._job, *self._waiting):
                if job is not None and job.uid == uid:
                    job.is_cancelled = True
            self._changed.notify_all()

    def status(self) -> dict[str, Any]:
        """Return how the process is, as plain values; asks nobody."""
        child = self._child if self._lives() else None
        return {
            "state": "running" if child else "ended" if self._starts else "not started",
            "pid": child.pid if child else None,
            "memory_bytes": child.memory_bytes if child else 0,
            "memory_limit_bytes": self._limits.memory_bytes,
            "starts": self._starts,
            "deaths_in_a_row": self._deaths_in_a_row,
            "working_on": self._job.uid if self._job else None,
            "waiting": len(self._waiting),
            "waiting_limit": self._limits.waiting,
            "about": dict(self._about),
            "last_error": self._last_error,
        }

    def close(self) -> None:
        """End the process, and everything that waits for it. Idempotent."""
        with self._changed:
            self._is_closing = True
            for job in (self._job, *self._waiting):
                if job is not None:
                    job.is_cancelled = True
            self._changed.notify_all()
        self._thread.join(_END_S)

    # ------------------------------------------------------------------ its thread

    def _run(self) -> None:
        while (job := self._next()) is not None:
            answer = self._carried_out(job)
            with self._changed:
                self._job = None
            _end(job, answer)
        self._bury()

    def _next(self) -> _Job | None:
        """Wait for an order; None when there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            self._job = self._waiting.popleft() if self._waiting else None
            return self._job

    def _carried_out(self, job: _Job) -> Answer:
        """Return what came of an order, or why nothing did."""
        while not (why := self._why_end(job)):
            pause_s = self._may_start - time.monotonic()
            if pause_s <= 0 or self._lives():
                return self._tried(job)
            with self._changed:
                self._changed.wait(min(pause_s, _LOOK_S))
        if self._deaths_in_a_row and not job.is_cancelled:
            why += f". It waited for the detector, which had died ({self._last_error})"
        return Answer(error=why)

    def _tried(self, job: _Job) -> Answer:
        def end_when() -> str:
            return self._why_end(job)

        try:
            order = job.begin()
            if not self._lives():
                self._start(end_when)
            assert self._child is not None  # noqa: S101 - it was just started
            answer = self._child.ask(order, end_when)
        except ChildDiedError as error:
            self._died(str(error), is_wanted=job.is_cancelled)
            return Answer(error=str(error))
        except Exception as error:
            LOGGER.exception("detection %s", job.uid)
            return Answer(error=f"an error inside the device layer: {error}")
        self._deaths_in_a_row = 0
        self._about = answer.about or self._about
        self._last_error = answer.error or self._last_error
        return answer

    def _start(self, end_when: Callable[[], str]) -> None:
        self._bury()
        self._starts += 1
        self._child = Child(
            self._root,
            kinds=self._kinds,
            setups=self._setups,
            memory_bytes=self._limits.memory_bytes,
            end_when=end_when,
        )
        LOGGER.info("the detector runs as process %s", self._child.pid)

    def _died(self, why: str, *, is_wanted: bool) -> None:
        """Take note of a process that is gone, and of when the next one may be started."""
        self._bury()
        if is_wanted:
            return
        self._last_error = why
        limits = self._limits
        pause_s = min(limits.first_pause_s * 2**self._deaths_in_a_row, limits.longest_pause_s)
        self._deaths_in_a_row += 1
        self._may_start = time.monotonic() + pause_s
        LOGGER.warning(
            "the detector died: %s; started again in %.1f s at the earliest", why, pause_s
        )

    def _lives(self) -> bool:
        child = self._child
        return child is not None and child.is_alive

    def _bury(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _why_end(self, job: _Job) -> str:
        """Say why an order has to end now; those that wait are looked after as well."""
        with self._changed:
            over = [waiting for waiting in self._waiting if waiting.why_end()]
            for waiting in over:
                self._waiting.remove(waiting)
        for waiting in over:
            _end(waiting, Answer(error=waiting.why_end()))
        return job.why_end()


def _end(job: _Job, answer: Answer) -> None:
    error = answer.error
    is_cancelled = job.is_cancelled and bool(error)
    outcome = Outcome(
        error=error, is_cancelled=is_cancelled, sharpest=answer.sharpest, look=answer.look
    )
    try:
        job.end(outcome)
    except Exception:
        LOGGER.exception("what came of detection %s could not be told", job.uid)
