"""The hardware thread: one call at a time, motions watched between calls, and an end."""

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from functools import partial

import pytest

from devices import CoreTimeoutError, DeviceError
from devices.worker import Worker
from tests.waiting import until

PATIENCE_S = 10


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("under test", poll_s=0.001)
    yield worker
    assert worker.close(PATIENCE_S)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What holds up a call; opened at the end, so that no failed test hangs."""
    gate = threading.Event()
    yield gate
    gate.set()


def hold_up(worker: Worker, gate: threading.Event) -> Future[bool]:
    """Keep the worker in a call until the gate opens."""
    entered = threading.Event()

    def wait() -> bool:
        entered.set()
        return gate.wait(PATIENCE_S)

    held = worker.submit(wait)
    assert entered.wait(PATIENCE_S)
    return held


def nothing() -> None:
    pass


class Recorder:
    """Counts how many calls are inside of it at once."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.threads: set[str] = set()
        self._inside = threading.Lock()
        self.overlapped = False

    def call(self, number: int) -> int:
        if not self._inside.acquire(blocking=False):
            self.overlapped = True
            return number
        self.seen.append(number)
        self.threads.add(threading.current_thread().name)
        self._inside.release()
        return number


# ---------------------------------------------------------------- calls


def test_calls_run_one_at_a_time_in_order_on_one_thread(worker: Worker) -> None:
    recorder = Recorder()
    futures = [worker.submit(partial(recorder.call, n)) for n in range(200)]
    assert [future.result(PATIENCE_S) for future in futures] == list(range(200))
    assert recorder.seen == list(range(200))
    assert recorder.threads == {"under test"}


def test_calls_from_many_threads_never_overlap(worker: Worker) -> None:
    recorder = Recorder()

    def submit_many() -> None:
        for number in range(50):
            worker.submit(partial(recorder.call, number)).result(PATIENCE_S)

    threads = [threading.Thread(target=submit_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(recorder.seen) == 8 * 50
    assert not recorder.overlapped


def test_submitting_does_not_wait_for_the_call(worker: Worker, gate: threading.Event) -> None:
    held = hold_up(worker, gate)
    behind = worker.submit(nothing)
    assert not held.done()
    assert not behind.done()
    gate.set()
    assert held.result(PATIENCE_S)
    behind.result(PATIENCE_S)


def test_what_a_call_raises_goes_to_its_caller_and_the_next_call_is_made(worker: Worker) -> None:
    failing = worker.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failing.result(PATIENCE_S)
    assert worker.submit(lambda: "alive").result(PATIENCE_S) == "alive"


def test_a_queued_call_whose_caller_gave_up_is_never_made(
    worker: Worker, gate: threading.Event
) -> None:
    made: list[str] = []
    hold_up(worker, gate)
    given_up = worker.submit(lambda: made.append("given up"))
    assert given_up.cancel()
    gate.set()
    worker.submit(lambda: made.append("next")).result(PATIENCE_S)
    assert made == ["next"]
    with pytest.raises(CancelledError):
        given_up.result(PATIENCE_S)


def test_a_caller_that_gives_up_a_running_call_does_not_end_the_thread(
    worker: Worker, gate: threading.Event
) -> None:
    running = hold_up(worker, gate)
    assert not running.cancel()
    gate.set()
    assert running.result(PATIENCE_S)
    assert worker.submit(lambda: "alive").result(PATIENCE_S) == "alive"


# ---------------------------------------------------------------- watches


def test_a_watch_is_done_with_what_its_condition_returns(
    worker: Worker, gate: threading.Event
) -> None:
    started: list[str] = []

    def found() -> float | None:
        return 0.0 if gate.is_set() else None

    done = worker.watch("it", lambda: started.append("yes"), found, PATIENCE_S)
    until(lambda: started == ["yes"])
    assert not done.done()
    gate.set()
    assert done.result(PATIENCE_S) == 0.0


def test_calls_are_made_while_motions_are_watched(worker: Worker, gate: threading.Event) -> None:
    motion = worker.watch("it", nothing, lambda: gate.is_set() or None, PATIENCE_S)
    assert [worker.submit(partial(abs, n)).result(PATIENCE_S) for n in range(20)] == list(range(20))
    assert not motion.done()
    gate.set()
    motion.result(PATIENCE_S)


def test_two_motions_are_watched_at_once(worker: Worker, gate: threading.Event) -> None:
    looks = {"one": 0, "other": 0}

    def look(name: str) -> bool | None:
        looks[name] += 1
        return gate.is_set() or None

    both = [worker.watch(name, nothing, partial(look, name), PATIENCE_S) for name in looks]
    until(lambda: all(count >= 3 for count in looks.values()))
    gate.set()
    for motion in both:
        motion.result(PATIENCE_S)


def test_a_motion_that_could_not_be_started_fails_and_is_not_watched(worker: Worker) -> None:
    looks: list[str] = []

    def look() -> bool:
        looks.append("look")
        return True

    def refuse() -> None:
        raise DeviceError("no")

    motion = worker.watch("it", refuse, look, PATIENCE_S)
    with pytest.raises(DeviceError, match="no"):
        motion.result(PATIENCE_S)
    worker.submit(nothing).result(PATIENCE_S)
    assert looks == []


@pytest.mark.parametrize("error", [DeviceError("gone"), ZeroDivisionError("a bug")])
def test_a_condition_that_raises_fails_its_motion_and_nothing_else(
    worker: Worker, gate: threading.Event, error: Exception
) -> None:
    def fail() -> bool:
        raise error

    other = worker.watch("the other", nothing, lambda: gate.is_set() or None, PATIENCE_S)
    failing = worker.watch("it", nothing, fail, PATIENCE_S)
    with pytest.raises(type(error), match=str(error)):
        failing.result(PATIENCE_S)
    gate.set()
    other.result(PATIENCE_S)


def test_a_motion_that_takes_too_long_fails_saying_which_and_what_to_do(worker: Worker) -> None:
    motion: Future[None] = worker.watch("the motion of Z", nothing, nothing, 0.01)
    with pytest.raises(CoreTimeoutError, match=r"the motion of Z .* 0\.01 s.*raise its timeout_s"):
        motion.result(PATIENCE_S)


# ---------------------------------------------------------------- the end


def test_calls_queued_before_the_end_are_still_made(gate: threading.Event) -> None:
    worker = Worker("under test")
    hold_up(worker, gate)
    queued = worker.submit(lambda: "made")
    closing = threading.Thread(target=worker.close, args=(PATIENCE_S,))
    closing.start()
    gate.set()
    closing.join()
    assert queued.result(PATIENCE_S) == "made"


def test_a_closed_worker_refuses_calls_and_motions() -> None:
    worker = Worker("under test")
    assert worker.close(PATIENCE_S)
    with pytest.raises(DeviceError, match="shutting down"):
        worker.submit(nothing).result(PATIENCE_S)
    with pytest.raises(DeviceError, match="shutting down"):
        worker.watch("it", nothing, lambda: True, PATIENCE_S).result(PATIENCE_S)


def test_closing_twice_is_no_error() -> None:
    worker = Worker("under test")
    assert worker.close(PATIENCE_S)
    assert worker.close(PATIENCE_S)


def test_a_motion_under_way_fails_when_the_worker_is_closed() -> None:
    worker = Worker("under test", poll_s=0.001)
    motion: Future[None] = worker.watch("it", nothing, nothing, PATIENCE_S)
    assert worker.close(PATIENCE_S)
    with pytest.raises(DeviceError, match="shutting down"):
        motion.result(PATIENCE_S)


def test_a_call_that_never_returns_hangs_neither_the_end_nor_those_behind_it(
    gate: threading.Event,
) -> None:
    worker = Worker("under test")
    hold_up(worker, gate)
    behind = worker.submit(lambda: "never made")
    assert not worker.close(0.01)
    with pytest.raises(DeviceError, match="shutting down"):
        behind.result(PATIENCE_S)
    gate.set()
    assert worker.close(PATIENCE_S)


def test_whoever_calls_during_the_end_does_not_keep_the_thread_alive(
    gate: threading.Event,
) -> None:
    worker = Worker("under test")
    hold_up(worker, gate)
    assert not worker.close(0.01)
    for _ in range(10):
        with pytest.raises(DeviceError, match="shutting down"):
            worker.submit(nothing).result(PATIENCE_S)
    gate.set()
    assert worker.close(PATIENCE_S)


def test_a_call_in_the_moment_of_the_end_is_either_made_or_refused() -> None:
    for _ in range(50):
        worker = Worker("under test")
        answers: list[Future[str]] = []
        caller = threading.Thread(
            target=lambda w=worker, a=answers: a.extend(w.submit(lambda: "made") for _ in range(20))
        )
        caller.start()
        assert worker.close(PATIENCE_S)
        caller.join()
        for answer in answers:
            error = answer.exception(PATIENCE_S)
            assert isinstance(error, DeviceError) or answer.result(0) == "made"
