"""Connections that do not ask: closed in time, or earlier to make room for one that does."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from http.client import HTTPResponse
from typing import Any

import pytest

from gently.api import ApiServer, bind, create_app
from gently.core.device_layer import DeviceLayer
from gently.core.events import EventLog
from tests import API_KEY

FIELDS = f"Host: 127.0.0.1\r\nAuthorization: ApiKey {API_KEY}\r\n".encode()
REQUEST = b"GET /api/ping HTTP/1.1\r\n" + FIELDS + b"\r\n"
Connect = Callable[[], socket.socket]


@pytest.fixture
def serve(layer: DeviceLayer) -> Iterator[Callable[..., Connect]]:
    """Serve with patience and room as asked for; return what connects to it."""
    with ExitStack() as end:

        def begin(**limits: Any) -> Connect:
            ready = threading.Event()
            listener = end.enter_context(bind("127.0.0.1", 0))
            server = ApiServer(create_app(layer, ready=ready.set), EventLog(), **limits)
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            end.callback(thread.join)
            end.callback(setattr, server, "should_exit", True)
            assert ready.wait(30)
            address = listener.getsockname()

            def connect() -> socket.socket:
                return end.enter_context(socket.create_connection(address, timeout=20))

            return connect

        yield begin


def received(connection: socket.socket) -> tuple[int, bytes]:
    """Return the status and the body of the next answer, in however many pieces it comes."""
    with HTTPResponse(connection) as response:
        response.begin()
        return response.status, response.read()


def answer(connection: socket.socket) -> int:
    """Ask, and return the answer's status."""
    connection.sendall(REQUEST)
    return received(connection)[0]


def is_closed(connection: socket.socket) -> bool:
    """Wait for the other end to close; what it has sent before is thrown away."""
    try:
        while connection.recv(65_536):
            continue
    except ConnectionResetError:
        return True
    return True


def is_cut_off(connection: socket.socket, pieces: Iterable[bytes], every_s: float = 0) -> bool:
    """Send piece after piece until the other end has had enough; False if it never has."""
    try:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(every_s)
    except ConnectionError:
        return True
    return False


def test_one_that_never_asks_is_closed(serve: Callable[..., Connect]) -> None:
    assert is_closed(serve(patience_s=0.05)())


def test_one_that_asks_a_letter_at_a_time_is_closed_nonetheless(
    serve: Callable[..., Connect],
) -> None:
    assert is_cut_off(serve(patience_s=0.2)(), [b"GET /", *(1_000 * [b"a"])], every_s=0.01)


def test_the_same_holds_for_the_second_request(serve: Callable[..., Connect]) -> None:
    connection = serve(patience_s=0.2)()
    assert answer(connection) == 200
    connection.sendall(REQUEST[:10])
    assert is_closed(connection)


def test_one_that_asks_again_and_again_stays(serve: Callable[..., Connect]) -> None:
    patience_s = 1.0
    connection = serve(patience_s=patience_s)()
    begin_s = time.monotonic()
    while time.monotonic() < begin_s + 2 * patience_s:
        assert answer(connection) == 200
        time.sleep(0.05)


def test_one_that_listens_to_events_stays(serve: Callable[..., Connect]) -> None:
    connection = serve(patience_s=0.1)()
    connection.sendall(REQUEST.replace(b"/api/ping", b"/api/events"))
    said = b""
    while b": gently" not in said:  # it comes with the head, or after it
        said += connection.recv(65_536)
    connection.settimeout(0.4)
    with pytest.raises(TimeoutError):
        connection.recv(1)


def test_a_head_without_an_end_is_not_read_for_ever(serve: Callable[..., Connect]) -> None:
    lines = (b"X-%d: %s\r\n" % (number, 1_000 * b"x") for number in range(10_000))
    assert is_cut_off(serve()(), [b"GET /api/ping HTTP/1.1\r\n", *lines])


def test_what_is_no_http_is_refused_in_the_form_of_every_refusal(
    serve: Callable[..., Connect],
) -> None:
    connection = serve()()
    connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
    status, body = received(connection)
    assert status == 400
    assert json.loads(body)["detail"].startswith("Invalid HTTP request")
    assert is_closed(connection)


def test_the_longest_waiting_makes_room_for_the_newest(serve: Callable[..., Connect]) -> None:
    connect = serve(connections=4)
    waiting = [connect() for _ in range(4)]
    answer(waiting[0])  # it has begun to wait again later than the others

    newest = connect()

    assert answer(newest) == 200
    assert is_closed(waiting[1])
    assert all(answer(connection) == 200 for connection in (waiting[0], *waiting[2:], newest))


def test_who_is_attended_to_is_not_closed_for_the_newest(
    serve: Callable[..., Connect], layer: DeviceLayer
) -> None:
    connect = serve(connections=1)
    listener = connect()
    listener.sendall(REQUEST.replace(b"/api/ping", b"/api/events"))
    assert listener.recv(65_536).startswith(b"HTTP/1.1 200")

    assert is_closed(connect())

    layer.events.publish("still there")
    while b"still there" not in listener.recv(65_536):
        continue


# ---------------------------------------------------------------------- bodies


HEAD = b"POST /api/queue/clear HTTP/1.1\r\n" + FIELDS


def test_a_body_that_is_announced_as_too_large_is_refused_before_it_comes(
    serve: Callable[..., Connect],
) -> None:
    connection = serve()()
    connection.sendall(HEAD + b"Content-Length: 100000000\r\n\r\n")
    assert received(connection)[0] == 413


def test_a_body_that_comes_too_slowly_is_refused(
    serve: Callable[..., Connect], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gently.api.routes.PATIENCE_S", 0.1)
    connection = serve()()
    connection.sendall(HEAD + b"Content-Length: 10\r\n\r\n{")
    assert b"has not come within 0.1 s" in received(connection)[1]


def test_a_stop_does_not_wait_for_its_body(
    serve: Callable[..., Connect], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gently.api.routes._FORGIVING_S", 0.1)
    connection = serve()()
    connection.sendall(HEAD.replace(b"queue/clear", b"stop") + b"Content-Length: 10\r\n\r\n{")
    assert b'"success":true' in received(connection)[1]


def test_a_client_that_leaves_in_mid_sentence_leaves_no_error_in_the_log(
    serve: Callable[..., Connect], caplog: pytest.LogCaptureFixture
) -> None:
    connect = serve()
    leaving = connect()
    leaving.sendall(HEAD + b"Content-Length: 10\r\n\r\n{")
    leaving.close()
    for _ in range(20):
        assert answer(connect()) == 200
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
