"""The door of the detectors' process: one client, with the secret, and UIDs only."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rpyc.core.stream import SocketStream
from rpyc.utils.factory import connect_stream

from gently.detector_child.values import Handover
from storage import new_uid
from tests import REPOSITORY

SECRET = "s" * 64


@pytest.fixture
def process(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gently.detector_child.service"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdin
    handover = Handover(
        secret=SECRET,
        root=str(tmp_path / "storage"),
        kinds="gently.detection:KINDS",
        setups={},
        memory_bytes=4 << 30,
    )
    process.stdin.write(handover.model_dump_json() + "\n")
    process.stdin.flush()
    with process:
        yield process
        process.stdin.close()
        assert process.wait(60) == 0  # it outlives nobody


def port_of(process: "subprocess.Popen[str]") -> int:
    assert process.stdout
    return int(process.stdout.readline())


def dial(port: int, said: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), 10)
    client.sendall(said)
    return client


def is_hung_up(client: socket.socket) -> bool:
    with client:
        try:
            return client.recv(1) == b""
        except ConnectionResetError:  # there was more to read than it wanted to
            return True


def test_only_one_client_with_the_secret_is_served_and_can_do_nothing_but_detect(
    process: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    port = port_of(process)
    (listening,) = {address.laddr.ip for address in _listening(process.pid)}
    assert listening == "127.0.0.1"
    for said in (b"", SECRET[:-1].encode(), b"x" * 64, b"\x00\x00\x00\x05" * 1000):
        assert is_hung_up(dial(port, said))
    client = dial(port, SECRET.encode())
    connection = connect_stream(SocketStream(client))
    try:
        _can_only_detect(connection.root, tmp_path)
        with pytest.raises(ConnectionRefusedError):  # the secret is good for once
            dial(port, SECRET.encode())
    finally:
        connection.close()


def _can_only_detect(root: Any, tmp_path: Path) -> None:
    for name in ("_worker", "worker", "__class__", "__init__", "__dict__", "get_service_name"):
        with pytest.raises(AttributeError):
            getattr(root, name).anything  # noqa: B018
    outside = tmp_path / "outside.tif"
    outside.write_bytes(b"secret")
    order = {"uid": new_uid(), "source_uid": new_uid(), "detector": "classical"}
    for source in (str(outside), "../outside", f"../{new_uid()}", "0" * 31 + "\n"):
        answer = json.loads(root.detect(json.dumps({**order, "source_uid": source})))
        assert "source_uid" in answer["error"]
    assert "\nuid\n" in json.loads(root.detect(json.dumps({**order, "uid": "../x"})))["error"]
    with pytest.raises(TypeError):
        root.detect(order)
    assert "no volume" in json.loads(root.detect(json.dumps(order)))["error"]


def _listening(pid: int) -> list[Any]:
    found = psutil.Process(pid).net_connections("tcp")
    return [each for each in found if each.status == psutil.CONN_LISTEN]


def test_the_secret_is_neither_among_the_arguments_nor_in_the_environment(
    process: "subprocess.Popen[str]",
) -> None:
    port_of(process)
    seen = psutil.Process(process.pid)
    assert SECRET not in " ".join([*seen.cmdline(), *seen.environ().values()])
