"""The device layer's end of the detectors' process: start it, ask it, end it."""

import logging
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYetError
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
import rpyc
from rpyc.core.stream import SocketStream
from rpyc.utils.factory import connect_stream

from gently.detector_child.connection import CLOSED, OUT_OF_MEMORY
from gently.detector_child.values import Answer, Handover, LookOrder, Order, SweepOrder

__all__ = ["AnyOrder", "Child", "ChildDiedError"]

LOGGER = logging.getLogger(__name__)
_LOOK_S: Final = 0.05
_END_S: Final = 5.0
_CONNECT_S: Final = 5.0
_MOST_SAID: Final = 300
_MODULE: Final = "gently.detector_child.service"

AnyOrder = Order | SweepOrder | LookOrder
EndWhen = Callable[[], str]
"""Says why the process has to be ended now; nothing while it may go on."""


class ChildDiedError(Exception):
    """The detectors' process has died, or was ended because it had to be; says why."""


class Child:
    """One process with one connection. For one thread at a time.

    Parameters
    ----------
    root
        The storage folder.
    kinds, setups, memory_bytes
        As of `Handover`.
    end_when
        Asked twenty times a second until the process is ready.

    Raises
    ------
    ChildDiedError
        If it did not start; nothing is left of it.
    """

    def __init__(
        self,
        root: Path,
        *,
        kinds: str,
        setups: Mapping[str, dict[str, Any]],
        memory_bytes: int,
        end_when: EndWhen,
    ) -> None:
        self._memory_bytes = memory_bytes
        self._said = ""
        self._connection: Any = None
        self._doors: Mapping[type[AnyOrder], Callable[[str], Any]] = {}
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self._watched = psutil.Process(self._process.pid)
        port: Future[str] = Future()
        self._readers = [
            threading.Thread(target=self._hear_port, args=(port,), name="detector-port"),
            threading.Thread(target=self._hear_complaints, name="detector-log"),
        ]
        for reader in self._readers:
            reader.start()
        try:
            secret = secrets.token_hex(32)
            handover = Handover(
                secret=secret,
                root=str(root),
                kinds=kinds,
                setups=setups,
                memory_bytes=memory_bytes,
            )
            self._hand_over(handover)
            self._connect(self._patiently(port, end_when), secret)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    @property
    def memory_bytes(self) -> int:
        """What the process takes now; 0 once it is gone."""
        with suppress(psutil.Error):
            return int(self._watched.memory_info().rss)
        return 0

    def ask(self, order: AnyOrder, end_when: EndWhen) -> Answer:
        """Have an order carried out; blocks until it is, or until it has to end.

        Raises
        ------
        ChildDiedError
            If the process died, took too much memory, or has to be ended by what `end_when` says.
            It is gone then.
        """
        try:
            return self._answer(order, end_when)
        except ChildDiedError:
            self.close()
            raise
        except Exception as error:  # the connection broke, or the other side raised something
            why = self._why_it_died() or f"the connection to the detector broke: {error!r}"
            self.close()
            raise ChildDiedError(why) from error

    def _answer(self, order: AnyOrder, end_when: EndWhen) -> Answer:
        asked = self._doors[type(order)](order.model_dump_json())
        while not asked.ready:
            self._check(end_when)
            self._connection.serve(_LOOK_S)
        said = asked.value
        if type(said) is not str:  # a reference to something over there
            raise ChildDiedError("the detector answers what it should not")
        return Answer.model_validate_json(said)

    def close(self) -> None:
        """End the process at once, and wait until it is gone. Idempotent."""
        self._process.kill()
        self._process.wait(_END_S)
        if self._connection is not None:
            self._connection.close()
        for reader in self._readers:
            reader.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None  # noqa: S101 - all three were asked for
            with suppress(OSError):  # what was not read any more
                pipe.close()

    # ------------------------------------------------------------------ the start

    def _hand_over(self, handover: Handover) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for
        with suppress(OSError):  # it is dead already: told below
            self._process.stdin.write(handover.model_dump_json() + "\n")
            self._process.stdin.flush()

    def _patiently(self, port: "Future[str]", end_when: EndWhen) -> int:
        while True:
            self._check(end_when)
            with suppress(NotYetError):
                said = port.result(_LOOK_S)
                if not said.strip().isdecimal():
                    raise ChildDiedError(f"the detector did not start: {self._why_it_died()}")
                return int(said)

    def _connect(self, port: int, secret: str) -> None:
        try:
            client = socket.create_connection(("127.0.0.1", port), _CONNECT_S)
            client.sendall(secret.encode())
            client.settimeout(None)
            # For what is asked here; an order is waited for in another way.
            config = {**CLOSED, "sync_request_timeout": _CONNECT_S}
            self._connection = connect_stream(SocketStream(client), config=config)
            root = self._connection.root
            self._doors = {
                Order: rpyc.async_(root.detect),
                SweepOrder: rpyc.async_(root.sharpest),
                LookOrder: rpyc.async_(root.look),
            }
        except (OSError, EOFError) as error:
            raise ChildDiedError(f"the detector cannot be reached: {error}") from error

    def _hear_port(self, port: "Future[str]") -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        port.set_result(self._process.stdout.readline())

    def _hear_complaints(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it was asked for
        for line in self._process.stderr:
            self._said = line.strip()[:_MOST_SAID] or self._said
            LOGGER.warning("detector: %s", line.rstrip()[:_MOST_SAID])

    # ------------------------------------------------------------------ the end

    def _check(self, end_when: EndWhen) -> None:
        if reason := end_when():
            raise ChildDiedError(reason)
        if self.memory_bytes > self._memory_bytes:
            raise ChildDiedError(self._too_much())

    def _too_much(self) -> str:
        return (
            f"the detector needed more than its {self._memory_bytes / 1e6:.0f} MB of memory; allow "
            "it more (detector_memory_mb), or use a smaller model"
        )

    def _why_it_died(self) -> str:
        """Say why the process is gone; nothing if it lives."""
        with suppress(subprocess.TimeoutExpired):
            status = self._process.wait(_END_S)
            if status == OUT_OF_MEMORY:
                return self._too_much()
            self._readers[-1].join(_END_S)
            how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
            return f"its process {how}{f': {self._said}' if self._said else ''}"
        return ""


def _environment() -> dict[str, str]:
    """Return ours without keys and settings, and with the way to where this was imported from."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GENTLY_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
