"""The real scripts as processes that are measured from outside."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

import psutil

__all__ = ["Peak", "free_port", "resident_mib", "started"]

REPOSITORY: Final = Path(__file__).parents[1]
_EVERY_S: Final = 0.01


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(command: Sequence[str], *, says: str, log: Path) -> Iterator[psutil.Process]:
    """Run a script of this repository until the end of the context.

    Parameters
    ----------
    command
        The script and its arguments.
    says
        What it prints when it is ready, to either stream.
    log
        Where everything goes that it prints.

    Raises
    ------
    SystemExit
        If it ends before it is ready; with what it printed.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while says.encode() not in (said := log.read_bytes()):
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise SystemExit(f"{command[0]} did not start:\n{said.decode(errors='replace')}")
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


class Peak:
    """Watches the resident memory of a process from a thread; a context manager.

    Attributes
    ----------
    mib
        The highest value seen so far.
    """

    def __init__(self, process: psutil.Process) -> None:
        self.mib = 0.0
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self.mib = max(self.mib, resident_mib(self._process))


def resident_mib(process: psutil.Process) -> float:
    """Return the resident memory of a process, files that it has mapped included, in MiB."""
    return float(process.memory_info().rss) / 2**20
