"""The detectors' process: one RPyC service on loopback, for the one client that has the secret.

Started by `gently.detector_child.child`, which writes a `Handover` to its standard input and reads
the port from its standard output. It ends when that input is closed: it outlives nobody.
"""

import hmac
import logging
import os
import pkgutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import rpyc
from rpyc.core.stream import SocketStream
from rpyc.utils.factory import connect_stream

from gently.detection import DetectionError, Detectors
from gently.detector_child.connection import CLOSED, OUT_OF_MEMORY
from gently.detector_child.values import Answer, Handover, LookOrder, Order, SweepOrder
from gently.detector_child.work import Worker
from storage import StorageError, VolumeStore

__all__ = ["DetectorService", "admit", "main"]

LOGGER = logging.getLogger(__name__)
_PATIENCE_S: Final = 0.5
_NICENESS: Final = 10


class DetectorService(rpyc.Service):  # type: ignore[misc]
    """What the device layer may ask; JSON in, JSON out.

    Parameters
    ----------
    worker
        Carries the orders out.
    """

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def exposed_detect(self, order: str) -> str:
        """Carry out an `Order`, and return the `Answer`; takes as long as it takes."""
        if type(order) is not str:
            raise TypeError("an order is JSON text")
        work = self._worker.carry_out
        return self._answer(lambda: work(Order.model_validate_json(order))).model_dump_json()

    def exposed_sharpest(self, order: str) -> str:
        """Carry out a `SweepOrder`, and return the `Answer`; takes as long as it takes."""
        if type(order) is not str:
            raise TypeError("an order is JSON text")
        asked = SweepOrder.model_validate_json
        return self._answer(lambda: self._worker.sharpest(asked(order))).model_dump_json()

    def exposed_look(self, order: str) -> str:
        """Carry out a `LookOrder`, and return the `Answer`; takes as long as it takes."""
        if type(order) is not str:
            raise TypeError("an order is JSON text")
        asked = LookOrder.model_validate_json
        return self._answer(lambda: self._worker.look(asked(order))).model_dump_json()

    def _answer(self, work: Callable[[], Answer]) -> Answer:
        try:
            return work()
        except (DetectionError, StorageError, ValueError, OSError) as error:
            return Answer(error=str(error))
        except MemoryError:
            # What is left of the memory is not enough to go on with.
            os._exit(OUT_OF_MEMORY)
        except Exception as error:  # the top of this process: a detector may raise anything
            LOGGER.exception("an order was not carried out")
            return Answer(error=f"the detector failed: {type(error).__name__}: {error}")


def main() -> None:
    """Serve until the connection or standard input is closed."""
    for name in ("SIGINT", "SIGBREAK"):  # Ctrl+C is for the device layer, which then ends this
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.WARNING)
    handover = Handover.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, name="parent", daemon=True).start()
    _step_back(handover.memory_bytes)
    with VolumeStore(Path(handover.root)) as store:
        kinds = pkgutil.resolve_name(handover.kinds)
        setups = {
            name: kinds[name].setup.model_validate(said) for name, said in handover.setups.items()
        }
        service = DetectorService(Worker(store, Detectors(setups, kinds)))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            print(listener.getsockname()[1], flush=True)  # noqa: T201 - the parent reads it
            client = admit(listener, handover.secret)
        # Nobody can connect any more: the secret is good for once.
        connect_stream(SocketStream(client), service, CLOSED).serve_all()


def admit(listener: socket.socket, secret: str) -> socket.socket:
    """Return the first connection that brings the secret, as the first thing and in one piece.

    Others are hung up on before anything of what they say is understood.
    """
    wanted = secret.encode()
    while True:
        client, _ = listener.accept()
        client.settimeout(_PATIENCE_S)
        try:
            said = client.recv(len(wanted))
        except OSError:
            said = b""
        if hmac.compare_digest(said, wanted):
            client.settimeout(None)
            return client
        client.close()


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(0)


def _step_back(memory_bytes: int) -> None:
    """Let the acquisition have the processor first, and take no more memory than allowed.

    Only Linux counts as data what a process can write; elsewhere the parent looks at its size.
    """
    if sys.platform == "win32":
        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
    else:
        psutil.Process().nice(_NICENESS)
    if sys.platform == "linux":
        import resource  # noqa: PLC0415 - only there

        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


if __name__ == "__main__":
    main()
