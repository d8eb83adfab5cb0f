"""Does what a document tells its reader to do, block by block, and looks at what comes of it."""

import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests import AUTHORIZATION, REPOSITORY
from tests.docs.markdown import Block

SCRIPTS = ("start_device_layer.py", "launch_copilot.py")
_PATIENCE_S = 60


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Reader:
    """Somebody at a shell, in a folder of their own, where the addresses are not the usual ones.

    Parameters
    ----------
    folder
        Where they work; the scripts are linked into it.
    stack
        Ends what they leave running.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._python: dict[str, Any] = {"__name__": "__main__"}
        self._ports = {"60610": free_port(), "8080": free_port()}
        self.url = self._here("http://127.0.0.1:60610")
        for script in SCRIPTS:
            (folder / script).symlink_to(REPOSITORY / script)

    def start_device_layer(self) -> None:
        """Do what documents take for done, unless they say it themselves."""
        self._leave_running("python start_device_layer.py", "...listening on...")

    def do(self, block: Block, expected: str | None) -> None:
        """Carry out one block, and compare what it prints with what the document says."""
        if block.language == "python":
            printed = self._run_python(block)
        elif "until-stopped" in block.words:
            self._leave_running(block.text, "..." if expected is None else f"{expected}...")
            return
        else:
            printed = self._run_shell(block)
        if expected is not None:
            assert looks_like(self._here(expected), printed), f"{block} printed:\n{printed}"

    def _run_python(self, block: Block) -> str:
        out = io.StringIO()
        source = compile(self._here(block.text), str(block), "exec")
        with contextlib.redirect_stdout(out), contextlib.chdir(self._folder):
            exec(source, self._python)
        return out.getvalue()

    def _run_shell(self, block: Block) -> str:
        wanted = next((int(w[5:]) for w in block.words if w.startswith("exit-")), 0)
        done = subprocess.run(
            self._bash(f"set -eo pipefail\n{block.text}"),
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        assert done.returncode == wanted, f"{block} ended with {done.returncode}: {done.stdout}"
        return done.stdout

    def _leave_running(self, command: str, expected: str) -> None:
        log = self._folder / f"{len(list(self._folder.iterdir()))}.log"
        with log.open("w", encoding="utf-8") as out:
            process = subprocess.Popen(
                self._bash(f"exec {command}"),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self._stack.enter_context(_interrupted(process, log, is_ours=command.startswith("python")))
        deadline = time.monotonic() + _PATIENCE_S
        while not looks_like(self._here(expected), printed := log.read_text(encoding="utf-8")):
            assert process.poll() is None, f"{command} ended: {printed}"
            assert time.monotonic() < deadline, f"{command} printed: {printed}"
            time.sleep(0.05)

    def _bash(self, script: str) -> list[str]:
        bash = shutil.which("bash")
        assert bash is not None
        return [bash, "-c", self._here(script)]

    @property
    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(REPOSITORY),  # as if gently was installed, whether it is or not
            "GENTLY_PORT": str(self._ports["60610"]),
            "GENTLY_URL": self.url,
            "GENTLY_VIZ_PORT": str(self._ports["8080"]),
        }

    def _here(self, text: str) -> str:
        for usual, port in self._ports.items():
            text = text.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{port}")
        return text


def looks_like(expected: str, printed: str) -> bool:
    """Compare, where ``...`` stands for something and all white space is alike."""
    pieces = [re.escape(" ".join(piece.split())) for piece in expected.split("...")]
    return re.fullmatch(".+".join(pieces), " ".join(printed.split())) is not None


@contextmanager
def _interrupted(process: "subprocess.Popen[bytes]", log: Path, *, is_ours: bool) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        if is_ours:
            assert code == 0, f"ended with {code}: {log.read_text(encoding='utf-8')}"


@contextmanager
def device_layer(folder: Path) -> Iterator[httpx.Client]:
    """A device layer on the twin, and a client that speaks to it."""
    with ExitStack() as stack:
        reader = Reader(folder, stack)
        reader.start_device_layer()
        yield stack.enter_context(
            httpx.Client(base_url=reader.url, headers=AUTHORIZATION, trust_env=False, timeout=30)
        )
