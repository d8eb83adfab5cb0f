"""The thread on which all ordinary calls to the hardware run, one at a time.

It knows nothing of MMCore. Calls are short; what takes long (a motion) is started
by a short call and then *watched*: its condition is polled between other calls, so
that two axes move at once and a read-back never waits for a motion.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from devices.errors import CoreTimeoutError, DeviceError

__all__ = ["POLL_S", "Worker"]

T = TypeVar("T")

POLL_S = 0.005
"""The pause between two looks at the watched conditions: a motion is known to be over so late."""


@dataclass(frozen=True)
class _Call:
    run: Callable[[], Any]
    future: Future[Any]


@dataclass(frozen=True)
class _Watch:
    what: str
    finished: Callable[[], Any]
    future: Future[Any]
    deadline: float
    timeout_s: float


class Worker:
    """One thread, one queue, any number of watched conditions.

    Parameters
    ----------
    name
        The thread's name.
    poll_s
        The pause between two looks at the watched conditions, in seconds.
    """

    def __init__(self, name: str, *, poll_s: float = POLL_S) -> None:
        self._poll_s = poll_s
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._watches: list[_Watch] = []
        self._next_look = 0.0
        self._door = threading.Lock()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[], T]) -> Future[T]:
        """Queue a short call; returns at once. A closed worker fails the future."""
        future: Future[T] = Future()
        with self._door:
            if not self._is_closed:
                self._calls.put(_Call(run, future))
                return future
        future.set_exception(_closed())
        return future

    def watch(
        self,
        what: str,
        start: Callable[[], None],
        finished: Callable[[], T | None],
        timeout_s: float,
    ) -> Future[T]:
        """Run `start` on the worker, then poll `finished` until it returns something.

        Returns at once. The future has what came, or fails with what `start` or `finished`
        raised, or with `CoreTimeoutError` after `timeout_s` seconds counted from the start.
        """
        done: Future[T] = Future()

        def begin() -> None:
            start()
            deadline = time.monotonic() + timeout_s
            self._watches.append(_Watch(what, finished, done, deadline, timeout_s))

        def not_begun(begun: Future[None]) -> None:
            if error := begun.exception():
                done.set_exception(error)

        self.submit(begin).add_done_callback(not_begun)
        return done

    def close(self, timeout_s: float = 5) -> bool:
        """End the thread; False if it is stuck in a call that does not return.

        Calls that are queued already are still made; a motion under way is not waited for.
        """
        with self._door:
            self._is_closed = True
            self._calls.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            # Whoever waits for a call behind the stuck one must not wait for ever.
            self._refuse_the_rest()
            self._calls.put(None)
            return False
        return True

    def _run(self) -> None:
        while (call := self._next_call()) is not None:
            _answer(call)
        for watch in self._watches:
            watch.future.set_exception(_closed())

    def _next_call(self) -> _Call | None:
        while True:
            self._look()
            with suppress(queue.Empty):
                return self._calls.get(timeout=self._poll_s if self._watches else None)

    def _look(self) -> None:
        # On a slow serial line each look costs as much as a call: no more than one a pause.
        if self._watches and time.monotonic() >= self._next_look:
            self._watches = [watch for watch in self._watches if not _is_over(watch)]
            self._next_look = time.monotonic() + self._poll_s

    def _refuse_the_rest(self) -> None:
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return
            if call is not None and call.future.set_running_or_notify_cancel():
                call.future.set_exception(_closed())


def _answer(call: _Call) -> None:
    if not call.future.set_running_or_notify_cancel():
        return  # whoever asked has given up; a command must not come late
    try:
        result = call.run()
    except Exception as error:  # noqa: BLE001 - the top of a thread: the error goes to the caller
        call.future.set_exception(error)
    else:
        call.future.set_result(result)


def _is_over(watch: _Watch) -> bool:
    try:
        found = watch.finished()
    except Exception as error:  # noqa: BLE001 - the top of a thread: the error goes to the caller
        watch.future.set_exception(error)
        return True
    if found is not None:
        watch.future.set_result(found)
        return True
    if time.monotonic() > watch.deadline:
        watch.future.set_exception(
            CoreTimeoutError(
                f"{watch.what} was not finished after {watch.timeout_s:g} s. "
                "Look at the device, and raise its timeout_s if this is its normal speed."
            )
        )
        return True
    return False


def _closed() -> DeviceError:
    return DeviceError("the device layer is shutting down; no call to the hardware is taken")
