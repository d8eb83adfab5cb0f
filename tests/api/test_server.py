"""The server: it has its address before the hardware is touched, and ends with its streams."""

import asyncio
import socket
import threading

import httpx
import pytest

from gently.api import ApiServer, PortTakenError, bind, create_app
from gently.core.device_layer import DeviceLayer
from gently.core.events import EventLog
from tests import AUTHORIZATION


def test_a_port_that_is_taken_is_refused_with_whom_to_look_for() -> None:
    with bind("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"127.0.0.1:{port} cannot be had") as refused:
            bind("127.0.0.1", port)
    assert f"http://127.0.0.1:{port}/api/settings" in str(refused.value)
    assert "--port" in str(refused.value)


def test_a_host_that_is_not_this_machine_is_refused() -> None:
    with pytest.raises(PortTakenError, match=r"203\.0\.113\.1:0 cannot be had"):
        bind("203.0.113.1", 0)


def test_an_answer_is_sent_at_once_and_not_held_back_to_fill_a_packet() -> None:
    async def scenario() -> bool:
        undelayed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connection = writer.get_extra_info("socket")
            option = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            undelayed.set_result(bool(option))
            writer.close()

        listener = bind("127.0.0.1", 0)
        async with await asyncio.start_server(serve, sock=listener):
            _, client = await asyncio.open_connection(*listener.getsockname())
            answer = await undelayed
            client.close()
            await client.wait_closed()
        return answer

    assert asyncio.run(scenario())


def test_the_end_of_the_server_ends_the_event_streams_properly(
    layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = threading.Event()
    log = EventLog()
    monkeypatch.setattr(layer, "events", log)
    with bind("127.0.0.1", 0) as listener:
        server = ApiServer(create_app(layer, ready=ready.set), log)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        assert ready.wait(30)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/events"
        with httpx.stream("GET", url, headers=AUTHORIZATION, timeout=30) as stream:
            lines = stream.iter_lines()
            assert next(lines) == ": gently"
            log.publish("last")
            server.should_exit = True
            rest = list(lines)  # a stream that is cut off raises here
            thread.join(30)

    assert "event: last" in rest
    assert not thread.is_alive()
