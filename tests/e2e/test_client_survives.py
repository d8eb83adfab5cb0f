"""The client and a device layer that is killed: nothing is lost, nothing runs twice."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import pytest

from gently.wire import Event
from tests.clients import clients
from tests.e2e.conftest import DeviceLayers, free_port

PATIENCE_S = 60.0


class Way:
    """A way to the device layer on which an answer can get lost.

    Attributes
    ----------
    instead : callable, optional
        Called once instead of passing the next answer on.
    """

    def __init__(self, port: int) -> None:
        self.instead: Callable[[], None] | None = None
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="way")]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for end in (self._listener, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                self._open.append(near)
                try:
                    far = socket.create_connection(("127.0.0.1", self._port))
                except OSError:
                    near.close()
                    continue
                self._open.append(far)
                for carry in (self._requests, self._answers):
                    thread = threading.Thread(target=carry, args=(near, far), name=carry.__name__)
                    self._threads.append(thread)
                    thread.start()

    def _requests(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := near.recv(65536):
                far.sendall(data)
            far.shutdown(socket.SHUT_RDWR)

    def _answers(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                if (instead := self.instead) is not None:
                    self.instead = None
                    instead()
                    break
                near.sendall(data)
            near.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_client_goes_on_after_a_crash_where_it_was(
    device_layer: DeviceLayers, tmp_path: Path, kind: str
) -> None:
    storage, port = tmp_path / "data", free_port()
    layer = device_layer("demo", storage, port)
    with ExitStack() as stack:
        make = stack.enter_context(clients(kind))
        way = stack.enter_context(Way(port))
        client = stack.enter_context(make(layer.url))
        lossy = stack.enter_context(make(way.url))
        plans = client.plans()
        threads = stack.enter_context(ThreadPoolExecutor())
        events = stack.enter_context(client.events(after=0, timeout_s=PATIENCE_S))
        seen: list[Event] = []
        started = threading.Event()

        def follow() -> None:
            for event in events:
                seen.append(event)
                if event.kind == "item.started":
                    started.set()
                if event.kind == "item.completed":
                    return

        def die() -> None:
            started.wait(PATIENCE_S)
            layer.kill()

        following = threads.submit(follow)
        # The answer to this submission never arrives: the device layer dies having given it.
        way.instead = die
        submitted = threads.submit(lossy.execute, plans.sleep(duration_s=30), patience_s=PATIENCE_S)
        assert layer.process.wait(PATIENCE_S) != 0
        device_layer("demo", storage, port)

        item = submitted.result(PATIENCE_S)
        assert client.wait(item.item_uid).state == "interrupted"
        assert [(i.item_uid, i.name) for i in client.history()] == [(item.item_uid, "sleep")]

        # The same client and the same stream go on, each event once and in its order.
        again = client.execute(plans.sleep(duration_s=0.1))
        following.result(PATIENCE_S)
        assert [e.item_uid for e in seen if e.kind == "item.started"] == [
            item.item_uid,
            again.item_uid,
        ]
        assert [event.seq for event in seen] == sorted({event.seq for event in seen})


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_wait_outlasts_a_restart(device_layer: DeviceLayers, tmp_path: Path, kind: str) -> None:
    storage, port = tmp_path / "data", free_port()
    layer = device_layer("demo", storage, port)
    with clients(kind) as make, make(layer.url) as client, ThreadPoolExecutor() as threads:
        item = client.execute(client.plans().sleep(duration_s=30))
        waiting = threads.submit(client.wait, item.item_uid, patience_s=PATIENCE_S)
        layer.kill()
        assert not waiting.done()
        device_layer("demo", storage, port)
        assert waiting.result(PATIENCE_S).state == "interrupted"
