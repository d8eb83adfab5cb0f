"""Whatever is sent at the device layer, the camera drops no frame, and whoever asks is answered."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests import API_KEY, AUTHORIZATION
from tests.e2e.conftest import Script, device_layers

IDLE = 10_000
SLOW = 1_000
BODY_BYTES = 100_000_000
OWN_FILES = 500
"""Left for the tests themselves."""
MOST_FILES = 2_048 + OWN_FILES
"""As many connections as there may be, and what the device layer works with."""
MORE_MEMORY_BYTES = 300_000_000
"""What 100 MB bodies and 10,000 connections may cost at most, all together."""

resource = pytest.importorskip("resource", reason="Windows does not limit what a process opens")


@pytest.fixture
def most_connections() -> Iterator[int]:
    """Let this process open as many as the machine lets it; 10,000 if that is enough."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = IDLE + OWN_FILES if hard == resource.RLIM_INFINITY else min(IDLE + OWN_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    yield most - OWN_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    """Start one device layer, which has to stand all of it."""
    with device_layers(tmp_path_factory.mktemp("device-layer")) as begin:
        yield begin(config="demo")


@pytest.fixture
def http(layer: Script) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=layer.url, headers=AUTHORIZATION, trust_env=False, timeout=20
    ) as http:
        yield http


def acquire(http: httpx.Client, num_slices: int) -> str:
    kwargs = {"num_slices": num_slices, "exposure_ms": 2, "step_um": 0}
    answer = http.post("/api/plans/acquire_volume/execute", json=kwargs)
    assert answer.status_code == 200, answer.text
    uid: str = answer.json()["item"]["item_uid"]
    while frames(http, uid) == 0:
        time.sleep(0.01)
    return uid


def item(http: httpx.Client, uid: str) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/api/items/{uid}").json()
    return found


def frames(http: httpx.Client, uid: str) -> int:
    told = item(http, uid)
    assert told["state"] == "running", told
    return int((told["progress"] or {}).get("current", 0))


# ---------------------------------------------------------------------- what is sent


@contextmanager
def crowd(layer: Script, count: int, words: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connect many times, and say the same on each connection."""
    parts = urlsplit(layer.url)
    with ExitStack() as connections:
        found = []
        for _ in range(count):
            address = (parts.hostname, parts.port)
            connection = connections.enter_context(socket.create_connection(address, timeout=20))
            connection.setblocking(False)
            found.append(connection)
            dribble([connection], words)
        yield found


def dribble(connections: list[socket.socket], words: bytes) -> None:
    """Say a little more on each; the other end may have hung up."""
    for connection in connections:
        try:
            connection.send(words)
        except OSError:
            continue


def a_large_body(http: httpx.Client) -> None:
    answer = http.post("/api/queue/item/add", content=BODY_BYTES * b" ")
    assert answer.status_code == 413, answer.text


def a_body_without_an_end(http: httpx.Client) -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        for _ in range(BODY_BYTES // 100_000):
            sent.append(1)
            yield 100_000 * b" "

    answer = http.post("/api/queue/item/add", content=pieces())
    assert answer.status_code == 413, answer.text


def a_deeply_nested_body(http: httpx.Client) -> None:
    for opened, closed in ((b"[", b"]"), (b'{"a":', b"}")):
        body = b'{"item": ' + 150_000 * opened + b"0" + 150_000 * closed + b"}"
        answer = http.post("/api/queue/item/add", content=body)
        assert answer.status_code in (400, 413), answer.text
        assert answer.json()["detail"]


HEAD = f"POST /api/queue/clear HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ApiKey {API_KEY}\r\n"
CROWDS = {
    "idle": (b"", b""),
    "slow heads": (HEAD.encode(), b"X"),
    "slow bodies": (f"{HEAD}Content-Length: 1000\r\n\r\n{{".encode(), b" "),
}


@pytest.fixture(params=CROWDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# ---------------------------------------------------------------------- what comes of it


@pytest.mark.parametrize(
    "send", [a_large_body, a_body_without_an_end, a_deeply_nested_body], ids=lambda f: f.__name__
)
def test_a_hostile_body_costs_no_frame(
    layer: Script, http: httpx.Client, send: Callable[[httpx.Client], None]
) -> None:
    memory = psutil.Process(layer.process.pid).memory_info
    uid = acquire(http, num_slices=800)
    before = memory().rss

    send(http)

    assert frames(http, uid) > 0
    assert memory().rss - before < MORE_MEMORY_BYTES
    assert_nothing_is_missing(http, uid)


def test_a_crowd_costs_no_frame_and_keeps_nobody_from_an_answer(
    layer: Script,
    http: httpx.Client,
    most_connections: int,
    kind: str,
    record_property: Callable[[str, object], None],
) -> None:
    count = most_connections if kind == "idle" else SLOW
    record_property("connections", count)  # fewer than 10,000 if the machine allows no more
    first, more = CROWDS[kind]
    process = psutil.Process(layer.process.pid)
    uid = acquire(http, num_slices=1_500)
    before = process.memory_info().rss

    with crowd(layer, count, first) as connections:
        for _ in range(5):
            dribble(connections, more)
            assert newcomer(layer, "GET", "/api/status")["running_item_uid"] == uid
        assert process.memory_info().rss - before < MORE_MEMORY_BYTES
        assert process.num_fds() < MOST_FILES
        assert_nothing_is_missing(http, uid)


def test_a_crowd_keeps_nobody_from_stopping(
    layer: Script, http: httpx.Client, most_connections: int, kind: str
) -> None:
    first, more = CROWDS[kind]
    uid = acquire(http, num_slices=10_000)

    with crowd(layer, most_connections if kind == "idle" else SLOW, first) as connections:
        dribble(connections, more)
        assert newcomer(layer, "POST", "/api/stop")["success"] is True

    assert item(http, uid)["state"] == "aborted"


def newcomer(layer: Script, method: str, path: str) -> dict[str, Any]:
    """Ask on a connection of its own, as somebody who comes only now."""
    answer = httpx.request(
        method, layer.url + path, headers=AUTHORIZATION, trust_env=False, timeout=20
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def assert_nothing_is_missing(http: httpx.Client, uid: str) -> None:
    """Wait for the volume, and look that every frame is in it."""
    while (told := item(http, uid))["state"] == "running":
        time.sleep(0.05)
    assert told["state"] == "completed", told["result"]["msg"]
    volume = http.get(f"/api/volumes/{told['result']['return_value']['uid']}").json()
    assert (volume["status"], volume["dropped"]) == ("complete", 0)
