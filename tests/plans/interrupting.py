"""An order in the middle of a volume: from another thread, as an operator gives it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from bluesky.utils import RunEngineInterrupted

from tests.devices.demo import Bench
from tests.waiting import until

__all__ = ["interrupt"]


def interrupt(
    bench: Bench,
    run_engine: Any,
    plan: Any,
    order: str,
    when: Callable[[int], bool] = lambda index: index == 2,
) -> None:
    """Run a plan, and give an order while the first frame is written for which it is time."""
    threads: list[threading.Thread] = []

    def give(index: int) -> None:
        if when(index) and not threads:
            threads.append(threading.Thread(target=getattr(run_engine, order)))
            threads[0].start()
            assert bench.sheet._taking is not None
            until(bench.sheet._taking._cancelled.is_set)

    bench.shelf.on_write = give
    try:
        with pytest.raises(RunEngineInterrupted):
            run_engine(plan)
    finally:
        threads[0].join()
