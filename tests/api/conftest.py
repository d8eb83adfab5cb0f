"""One device layer on the demo instrument for all of the API's tests; HTTP anew for each."""

import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from gently.api import ApiServer, bind, create_app
from gently.core.device_layer import DeviceLayer
from gently.core.events import EventLog
from tests import AUTHORIZATION
from tests.api.contract import keep_to_the_contract
from tests.demo import demo_layer, put_back


@pytest.fixture(scope="package")
def shared_layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceLayer]:
    with demo_layer(tmp_path_factory.mktemp("storage")) as layer:
        yield layer


@pytest.fixture
def layer(shared_layer: DeviceLayer) -> Iterator[DeviceLayer]:
    yield shared_layer
    put_back(shared_layer)


@pytest.fixture
def client(layer: DeviceLayer) -> Iterator[TestClient]:
    with TestClient(
        create_app(layer),
        base_url="http://127.0.0.1",
        headers=AUTHORIZATION,
        raise_server_exceptions=False,
    ) as client:
        client.event_hooks["response"].append(_looked_at)
        yield client


def _looked_at(response: Any) -> None:
    request = response.request
    keep_to_the_contract(request.url.path, request.method, response)


@pytest.fixture
def stranger(layer: DeviceLayer) -> Iterator[TestClient]:
    """Somebody without a key."""
    app = create_app(layer)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def served(layer: DeviceLayer) -> Iterator[httpx.Client]:
    """Serve over a real socket, for what only shows there."""
    ready = threading.Event()
    with bind("127.0.0.1", 0) as listener:
        # A log of its own to close: that of the device layer is needed by the next test.
        server = ApiServer(create_app(layer, ready=ready.set), EventLog())
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            assert ready.wait(30)
            with httpx.Client(base_url=_url(listener), headers=AUTHORIZATION, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()
    return f"http://{host}:{port}"
