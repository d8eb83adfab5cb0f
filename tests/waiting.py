"""Waiting for what another thread or process is about to do."""

import time
from collections.abc import Callable
from typing import Final

__all__ = ["PATIENCE_S", "until"]

PATIENCE_S: Final = 120.0
"""Longer than anything takes on a busy machine: it is for what never comes."""


def until(condition: Callable[[], bool]) -> None:
    """Wait until something has happened; fail if it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.002)
