"""The two real scripts as processes, used over the network as a user would."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gently.client import DeviceLayerClient
from tests import REPOSITORY

_START_S = 60
_END_S = 60


@dataclass
class Script:
    """A script that runs, and what it has said so far."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def wait_until_it_says(self, words: str) -> str:
        deadline = time.monotonic() + _START_S
        while words not in (said := self.said()):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"it never said {words!r} (exit {self.process.poll()}):\n{said}")
            time.sleep(0.02)
        return said

    def client(self) -> DeviceLayerClient:
        return DeviceLayerClient(self.url)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and return the exit code; a free machine takes less than 10 s."""
        self.process.send_signal(number)
        return self.process.wait(_END_S)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait(_END_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def run_copilot(url: str, command: str, *more: str) -> subprocess.CompletedProcess[str]:
    """Run one command as a user would, to its end."""
    script = [sys.executable, str(REPOSITORY / "launch_copilot.py"), "--url", url]
    return subprocess.run(
        [*script, "--run", command, *more], capture_output=True, text=True, timeout=60, check=False
    )


def start(script: str, arguments: Sequence[str], log: Path, url: str) -> Script:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / script), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    return Script(process, log, url)


DeviceLayers = Callable[..., Script]


@pytest.fixture
def device_layer(tmp_path: Path) -> Iterator[DeviceLayers]:
    """Start device layers; whatever still runs at the end of the test is killed."""
    with device_layers(tmp_path) as begin:
        yield begin


@contextmanager
def device_layers(folder: Path) -> Iterator[DeviceLayers]:
    """Start device layers that keep what they keep in a folder, and kill them at the end."""
    with ExitStack() as running:

        def begin(
            config: str = "twin",
            storage: Path = folder / "data",
            port: int | None = None,
            *,
            ready: bool = True,
        ) -> Script:
            port = port or free_port()
            arguments = ["--config", config, "--storage", str(storage), "--port", str(port)]
            log = folder / f"device-layer-{port}-{time.monotonic_ns()}.log"
            layer = start("start_device_layer.py", arguments, log, f"http://127.0.0.1:{port}")
            running.callback(layer.kill)
            if ready:
                layer.wait_until_it_says("listening on")
            return layer

        yield begin


@pytest.fixture
def copilot(tmp_path: Path) -> Iterator[Callable[[str], Script]]:
    """Start copilots without a terminal: the viewer and the follower."""
    with ExitStack() as running:

        def begin(url: str) -> Script:
            port = free_port()
            log = tmp_path / f"copilot-{port}.log"
            arguments = ["--url", url, "--viz-port", str(port)]
            script = start("launch_copilot.py", arguments, log, f"http://127.0.0.1:{port}")
            running.callback(script.kill)
            script.wait_until_it_says("connected to")
            return script

        yield begin
