import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gently.visualization.memo import Memo


def test_a_value_is_computed_once() -> None:
    asked: list[int] = []

    def double(key: int) -> int:
        asked.append(key)
        return key * 2

    memo = Memo(double, 4)

    assert [memo(3), memo(3)] == [6, 6]
    assert asked == [3]


def test_threads_that_ask_at_the_same_time_share_one_computation() -> None:
    asked: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def compute(key: str) -> object:
        asked.append(key)
        begun.set()
        assert go_on.wait(10)
        return object()

    memo = Memo(compute, 4)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(memo, "a")
        assert begun.wait(10)
        others = [threads.submit(memo, "a") for _ in range(2)]
        go_on.set()
        assert {first.result(10)} == {other.result(10) for other in others}
    assert asked == ["a"]


def test_the_value_unused_for_longest_makes_room() -> None:
    asked: list[str] = []
    memo = Memo(asked.append, 2)
    for key in ["a", "b", "a", "c"]:
        memo(key)
    asked.clear()

    memo("a")
    memo("b")

    assert asked == ["b"]


def test_the_values_kept_weigh_no_more_than_the_capacity_together() -> None:
    asked: list[str] = []

    def grow(key: str) -> bytes:
        asked.append(key)
        return bytes(int(key))

    memo = Memo(grow, 10, weigh=len)
    for key in ["4", "5", "4", "2", "4", "5"]:
        memo(key)

    assert asked == ["4", "5", "2", "5"]


def test_a_failure_is_raised_and_not_remembered() -> None:
    answers: Iterator[str | OSError] = iter([OSError("the disk is away"), "here again"])

    def compute(_key: str) -> str:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    memo = Memo(compute, 2)

    with pytest.raises(OSError, match="the disk is away"):
        memo("a")
    assert memo("a") == "here again"
