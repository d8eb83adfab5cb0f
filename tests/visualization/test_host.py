"""The server on its thread, spoken to over real connections."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from gently.visualization import Door, PortTakenError, VizServer, VolumeFeed, create_app
from storage import VolumeStore
from tests import API_KEY, AUTHORIZATION

KEY = f"Authorization: ApiKey {API_KEY}"


@contextmanager
def listening(url: str) -> Iterator[Iterator[tuple[str, Any]]]:
    """Connect to the events and give each one's kind and data."""
    with httpx.stream("GET", f"{url}api/events", timeout=10, headers=AUTHORIZATION) as response:
        yield _events(response.iter_lines())


def _events(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    kind = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "event":
            kind = value
        elif field == "data":
            yield kind, json.loads(value)


def test_a_started_server_answers_and_a_stopped_one_does_not(
    store: VolumeStore, feed: VolumeFeed
) -> None:
    viz = VizServer(store, feed, port=0)
    viz.start()
    assert httpx.get(f"{viz.url}api/volumes", headers=AUTHORIZATION).json() == {"volumes": []}

    viz.stop()

    with pytest.raises(httpx.ConnectError):
        httpx.get(viz.url)


def test_only_this_machine_can_reach_it(store: VolumeStore, feed: VolumeFeed) -> None:
    with VizServer(store, feed, port=0) as viz:
        assert viz.url.startswith("http://127.0.0.1:")


def test_a_taken_port_is_named(store: VolumeStore, feed: VolumeFeed) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        viz = VizServer(store, feed, port=port)

        with pytest.raises(PortTakenError, match=rf"port {port} .* --viz-port"):
            viz.start()
        viz.stop()


def test_stopping_twice_or_before_the_start_does_no_harm(
    store: VolumeStore, feed: VolumeFeed
) -> None:
    viz = VizServer(store, feed, port=0)
    viz.stop()

    with VizServer(store, feed, port=0) as viz:
        viz.stop()


def test_a_listener_hears_of_a_new_volume(store: VolumeStore, feed: VolumeFeed) -> None:
    with VizServer(store, feed, port=0) as viz, listening(viz.url) as events:
        assert next(events) == ("ready", {})

        feed.announce({"uid": "a", "shape": [1, 2, 3]})

        assert next(events) == ("volume.published", {"uid": "a", "shape": [1, 2, 3]})


def test_stopping_ends_open_event_streams_properly(store: VolumeStore, feed: VolumeFeed) -> None:
    viz = VizServer(store, feed, port=0)
    viz.start()
    with listening(viz.url) as one, listening(viz.url) as other:
        next(one)
        next(other)

        viz.stop()

        # A connection that was cut would raise here.
        assert (list(one), list(other)) == ([], [])


def test_a_page_that_stopped_reading_does_not_hold_up_the_stop(
    store: VolumeStore, caplog: pytest.LogCaptureFixture
) -> None:
    feed = VolumeFeed(backlog=1000)
    viz = VizServer(store, feed, port=0)
    viz.start()
    host, port = "127.0.0.1", int(viz.url.rsplit(":", 1)[1].strip("/"))
    with socket.create_connection((host, port)) as page:
        page.sendall(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n{KEY}\r\n\r\n".encode())
        while b"event: ready" not in page.recv(4096):
            pass
        for _ in range(100):
            feed.announce({"padding": "x" * 200_000})

        viz.stop()

    assert "Cancel 1 running task" in caplog.text
    assert feed.subscribers == 0


def test_a_listener_that_leaves_is_forgotten(store: VolumeStore, feed: VolumeFeed) -> None:
    with VizServer(store, feed, port=0) as viz:
        with listening(viz.url) as events:
            next(events)
            assert feed.subscribers == 1

        async def gone() -> None:
            with anyio.fail_after(10):
                while feed.subscribers:
                    await anyio.sleep(0.01)

        anyio.run(gone)


def test_a_quiet_stream_says_that_it_is_alive(store: VolumeStore, feed: VolumeFeed) -> None:
    heard: list[str] = []

    async def receive() -> MutableMapping[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: MutableMapping[str, Any]) -> None:
        heard.append(message.get("body", b"").decode())
        if "heartbeat" in heard[-1]:
            feed.close()

    async def main() -> None:
        app = create_app(store, feed, Door(), heartbeat_s=0.001)
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/api/events",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1"), (b"authorization", f"ApiKey {API_KEY}".encode())],
        }
        async with app.router.lifespan_context(app) as state:
            with anyio.fail_after(10):
                await app(scope | {"state": state}, receive, send)

    anyio.run(main)

    assert "event: heartbeat\ndata: {}\n\n" in heard


HOSTING = """
import pathlib, signal, sys, threading
from gently.visualization import VizServer, VolumeFeed
from storage import VolumeStore

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
with VizServer(VolumeStore(pathlib.Path(sys.argv[1])), VolumeFeed(), port=0) as viz:
    print(viz.url, flush=True)
    threading.Event().wait()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without a signal")
def test_a_terminated_process_ends_well_although_a_page_is_open(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", HOSTING, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            with listening(url) as events:
                next(events)

                process.send_signal(signal.SIGTERM)

                assert list(events) == []
            _, said = process.communicate(timeout=10)
        finally:
            process.kill()
    assert (process.returncode, said) == (0, "")
