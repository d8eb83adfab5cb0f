"""Events over HTTP: the same for everybody, and nobody waits for one who does not read."""

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import websockets
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from gently.api import ApiServer, bind, create_app, event_routes, slow, sockets
from gently.client import DeviceLayerClient
from gently.core.device_layer import DeviceLayer
from gently.core.events import EventLog
from gently.wire import Event
from tests import AUTHORIZATION
from tests.waiting import until

SOCKET = "ws://127.0.0.1/api/events/ws"  # the test client would name another host
FEW = 100
KEY = "".join(f"{name}: {value}\r\n" for name, value in AUTHORIZATION.items())


@pytest.fixture
def log(layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch) -> EventLog:
    """Give an event log of the test's own to the routes."""
    log = EventLog()
    monkeypatch.setattr(layer, "events", log)
    return log


@dataclass(frozen=True)
class Served:
    address: tuple[str, int]
    server: ApiServer

    @property
    def url(self) -> str:
        return "{}:{}".format(*self.address)


@pytest.fixture
def served(layer: DeviceLayer, log: EventLog) -> Iterator[Served]:
    """Serve over real sockets, for what only shows there."""
    ready = threading.Event()
    with bind("127.0.0.1", 0) as listener:
        server = ApiServer(create_app(layer, ready=ready.set), log)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert ready.wait(30)
            yield Served(listener.getsockname(), server)
        finally:
            server.should_exit = True
            thread.join()


def published(log: EventLog, count: int, size: int = 0) -> list[int]:
    """Publish from this thread, as the RunEngine does from its own; return the numbers."""
    return [log.publish("tick", number=n, text="x" * size).seq for n in range(count)]


def dropped(layer: DeviceLayer) -> float:
    text = layer.metrics.text().decode()
    (line,) = [x for x in text.splitlines() if x.startswith("gently_followers_dropped_total ")]
    return float(line.split()[1])


# ---------------------------------------------------------------------- the same for everybody


def test_a_websocket_sends_what_is_kept_and_then_what_comes(
    client: TestClient, log: EventLog
) -> None:
    numbers = published(log, 3)

    with client.websocket_connect(f"{SOCKET}?after={numbers[0]}&kinds=tick,tock") as ws:
        assert [ws.receive_json()["seq"] for _ in range(2)] == numbers[1:]
        log.publish("other")
        new = log.publish("tock", place={"x_um": 1.5})
        assert ws.receive_json() == new.message()


def test_without_a_number_it_begins_now(client: TestClient, log: EventLog) -> None:
    published(log, 3)
    with client.websocket_connect(SOCKET) as ws:
        until(lambda: log.followers > 0)
        new = log.publish("tock")
        assert ws.receive_json()["seq"] == new.seq


def test_one_from_before_a_restart_is_told_that_events_are_lost(
    client: TestClient, log: EventLog
) -> None:
    numbers = published(log, 1)
    with client.websocket_connect(f"{SOCKET}?after=1") as ws:
        assert ws.receive_json()["kind"] == "events.lost"
        assert ws.receive_json()["seq"] == numbers[0]


def test_parameters_that_are_none_are_refused_before_it_is_opened(client: TestClient) -> None:
    with pytest.raises(Exception) as refused, client.websocket_connect(f"{SOCKET}?after=x"):
        pass
    assert getattr(refused.value, "status_code", getattr(refused.value, "code", 0)) in (422, 4422)


def test_two_hundred_followers_get_the_same_bytes_and_each_event_is_encoded_once(
    served: Served, log: EventLog
) -> None:
    host, port = served.address

    async def over_sse() -> list[bytes]:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET /api/events?after=0 HTTP/1.1\r\nHost: {host}\r\n{KEY}\r\n".encode())
        found: list[bytes] = []
        while len(found) < FEW:
            line = await reader.readline()
            if line.startswith(b"data: "):
                found.append(line[6:].rstrip(b"\n"))
        writer.close()
        await writer.wait_closed()
        return found

    async def over_websocket() -> list[bytes]:
        url = f"ws://{host}:{port}/api/events/ws?after=0"
        async with websockets.connect(
            url, compression=None, additional_headers=AUTHORIZATION
        ) as ws:
            return [str(await ws.recv()).encode() for _ in range(FEW)]

    async def scenario() -> None:
        followers: list[Callable[[], Awaitable[list[bytes]]]] = [over_sse, over_websocket]
        tasks = [asyncio.ensure_future(followers[number % 2]()) for number in range(200)]
        while log.followers < 200:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(published, log, FEW)
        expected = [event.encoded for event in log.after(0)]
        for found in await asyncio.gather(*tasks):
            assert found == expected

    asyncio.run(asyncio.wait_for(scenario(), 120))
    until(lambda: log.followers == 0)


# ---------------------------------------------------------------------- those who do not read


def deaf(address: tuple[str, int], request: str) -> socket.socket:
    """Connect, ask for events, and never read an answer."""
    connection = socket.create_connection(address, timeout=30)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(request.encode())
    return connection


SSE = f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n{KEY}\r\n"
WEBSOCKET = (
    "GET /api/events/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{KEY}\r\n"
)


@pytest.mark.parametrize("request_text", [SSE, WEBSOCKET], ids=["sse", "websocket"])
def test_one_who_never_reads_is_cut_off_while_others_hear_every_event(
    served: Served,
    layer: DeviceLayer,
    log: EventLog,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request_text: str,
) -> None:
    monkeypatch.setattr(slow, "SEND_S", 2)
    before = dropped(layer)
    url = f"http://{served.url}/api/events?after=0"
    with (
        closing(deaf(served.address, request_text)),
        httpx.stream("GET", url, headers=AUTHORIZATION, timeout=30) as other,
    ):
        until(lambda: log.followers == 2)

        numbers = published(log, 200, size=100_000)  # 20 MB: more than any buffer on the way

        lines = (line for line in other.iter_lines() if line.startswith("id: "))
        assert next(lines) == "id: 0"  # the greeting's
        assert [int(next(lines)[4:]) for _ in numbers] == numbers
        until(lambda: dropped(layer) == before + 1)
        # Cut off, and not kept until it has read.
        until(lambda: len(served.server.server_state.connections) == 1)
    until(lambda: log.followers == 0)
    assert "it has read nothing for 2 s" in caplog.text
    loud = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert {record.name for record in loud} == {"gently.api.slow"}


def behind(log: EventLog, monkeypatch: pytest.MonkeyPatch, module: Any, *, at: int) -> None:
    """Let more events come than may, while the piece number `at` is being sent."""
    monkeypatch.setattr(event_routes, "MOST_BEHIND", 10)
    in_time, sent = slow.in_time, iter(range(1, 1_000))

    async def slowly(sending: Any) -> None:
        if next(sent) == at:
            published(log, 11)
        await in_time(sending)

    monkeypatch.setattr(module, "in_time", slowly)


def test_a_websocket_that_falls_behind_is_closed_with_try_again_later_and_why(
    client: TestClient, log: EventLog, monkeypatch: pytest.MonkeyPatch, layer: DeviceLayer
) -> None:
    behind(log, monkeypatch, sockets, at=1)
    before = dropped(layer)
    with client.websocket_connect(f"{SOCKET}?after=0") as ws:
        first = log.publish("tick")
        assert ws.receive_json()["seq"] == first.seq
        with pytest.raises(WebSocketDisconnect) as closed:
            ws.receive_json()

    assert closed.value.code == 1013
    assert closed.value.reason == ("11 events came while the last ones were sent, more than 10")
    assert dropped(layer) == before + 1


def test_server_sent_events_end_with_the_reason_and_go_on_after_the_last_one_sent(
    client: TestClient, log: EventLog, monkeypatch: pytest.MonkeyPatch, layer: DeviceLayer
) -> None:
    behind(log, monkeypatch, event_routes, at=3)  # after the head and the greeting
    first = log.publish("tick")

    text = client.get("/api/events?after=0").text  # it ends

    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    assert [block.splitlines()[0] for block in blocks] == [
        f"id: {first.seq}",
        "event: events.dropped",
    ]
    farewell = json.loads(blocks[-1].splitlines()[1].removeprefix("data: "))
    assert farewell["seq"] == first.seq
    assert "11 events came" in farewell["reason"]
    assert len(log.after(farewell["seq"])) == 11


# ---------------------------------------------------------------------- and come back


def dropped_and_back(
    served: Served, log: EventLog, monkeypatch: pytest.MonkeyPatch, kept: int
) -> tuple[list[int], list[Event]]:
    """Have the client dropped, with so many events kept; return what was published and heard."""
    monkeypatch.setattr(event_routes, "MOST_BEHIND", 10)
    connections = served.server.server_state.connections

    def unsent() -> list[int]:
        return [one.transport.get_write_buffer_size() for one in tuple(connections)]

    def is_stuck() -> bool:
        before = unsent()
        time.sleep(0.05)
        return any(before) and before == unsent()

    with (
        DeviceLayerClient(f"http://{served.url}") as client,
        client.events(after=log.last_seq, timeout_s=30) as events,
    ):
        numbers = published(log, 1)
        heard = [next(events)]
        numbers += published(log, 200, size=100_000)  # which nobody takes as yet
        until(is_stuck)
        monkeypatch.setattr(log, "_capacity", kept)
        numbers += published(log, 50)
        while heard[-1].seq < numbers[-1]:
            heard.append(next(events))
    return numbers, heard


def test_a_client_that_was_dropped_comes_back_by_itself_and_has_every_event_once(
    served: Served, log: EventLog, monkeypatch: pytest.MonkeyPatch, layer: DeviceLayer
) -> None:
    before = dropped(layer)
    numbers, heard = dropped_and_back(served, log, monkeypatch, kept=10_000)
    assert dropped(layer) == before + 1
    assert [event.seq for event in heard if event.kind == "tick"] == numbers
    assert [event.kind for event in heard if event.kind != "tick"] == ["events.dropped"]


def test_a_client_that_was_dropped_is_told_of_what_is_not_kept_any_more(
    served: Served, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers, heard = dropped_and_back(served, log, monkeypatch, kept=20)
    expected = numbers[0]
    for event in heard:
        if event.kind == "events.lost":
            first = event.data["first_available"]
            assert isinstance(first, int)
            assert first > expected
            expected = first
        elif event.kind == "tick":
            assert event.seq == expected, "no gap goes untold, and nothing comes twice"
            expected += 1
    kinds = [event.kind for event in heard]
    assert kinds[kinds.index("events.dropped") + 1] == "events.lost"
