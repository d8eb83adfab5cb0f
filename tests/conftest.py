"""What every test owes: it leaves no thread, process or file of its own behind."""

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a child process or an open file behind."""
    process = psutil.Process()
    threads = set(threading.enumerate())
    children = set(process.children(recursive=True))
    files = {entry.path for entry in process.open_files()}
    yield
    gc.collect()
    deadline = time.monotonic() + 5
    while left := _left_behind(process, threads, children, files):
        if time.monotonic() > deadline:
            pytest.fail(f"the test left behind: {', '.join(left)}")
        time.sleep(0.02)


def _left_behind(
    process: psutil.Process,
    threads: set[threading.Thread],
    children: set[psutil.Process],
    files: set[str],
) -> list[str]:
    left = [f"thread {t.name}" for t in threading.enumerate() if t not in threads]
    left += [f"process {c.pid}" for c in set(process.children(recursive=True)) - children]
    left += [f"file {f.path}" for f in process.open_files() if f.path not in files]
    return left
