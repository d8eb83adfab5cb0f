"""`launch_copilot.py` as a user and a shell see it: a process, its output, its exit code."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gently.core.data_store import DataStore
from storage import VolumeRecord
from tests import AUTHORIZATION, REPOSITORY
from tests.agent.conftest import returned
from tests.scripted_device_layer import ScriptedDeviceLayer, item_state
from tests.waiting import until

SCRIPT = REPOSITORY / "launch_copilot.py"
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminal")


def unused_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return int(listener.getsockname()[1])


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, str(SCRIPT), *map(str, arguments)]


def copilot(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


@contextmanager
def running(folder: Path, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


class TestHelp:
    def test_explains_every_argument_and_exit_code(self, tmp_path: Path) -> None:
        done = copilot(tmp_path, "--help")
        assert done.returncode == 0
        for word in (
            "--url",
            "--storage",
            "--viz-port",
            "--no-viz",
            "--run",
            "--session",
            "130",
            "GENTLY_URL",
        ):
            assert word in done.stdout

    def test_and_a_stop_need_neither_the_terminal_nor_the_page_nor_hardware(
        self,
    ) -> None:
        program = (
            "import sys, launch_copilot\n"
            "launch_copilot.main(['--url', 'http://127.0.0.1:9', '--run', 'stop'])\n"
            "print(*sorted({name.partition('.')[0] for name in sys.modules}))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        loaded = set(done.stdout.split())
        assert "gently" in loaded
        assert not loaded & {"prompt_toolkit", "starlette", "uvicorn", "ome_types"}
        assert not loaded & {"devices", "plans", "bluesky", "ophyd", "pymmcore", "pymmcore_plus"}


class TestOneCommand:
    def test_prints_the_uid_and_registers_the_volume(
        self,
        server: ScriptedDeviceLayer,
        storage: Path,
        acquire: Callable[[], VolumeRecord],
    ) -> None:
        volume = acquire()
        item = {"item_uid": "i1", "name": "acquire_volume", "kwargs": {}}
        server.answers["POST queue/item/execute"] = {"success": True, "item": item}
        server.answers["GET items/i1"] = item_state(
            "completed", result={"return_value": returned(volume)}
        )
        done = copilot(
            storage,
            *("--url", server.url, "--session", "embryo-7", "--title", "heat shock"),
            *("--run", "acquire_volume num_slices=3"),
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == returned(volume)
        assert volume.uid in done.stderr
        with DataStore(storage / "lineage.sqlite") as data_store:
            assert data_store.record(volume.uid).path == volume.path
            (prompt,) = data_store.find(kind="prompt", session_id="embryo-7")
            assert [r.uid for r in data_store.children(prompt.uid)] == ["i1"]
            session = next(s for s in data_store.sessions() if s.uid == "embryo-7")
            assert session.title == "heat shock"
            assert session.begun <= prompt.created
        (body,) = [body for key, body in server.asked if key == "POST queue/item/execute"]
        assert body["item"]["meta"] == {"prompt_uid": prompt.uid, "session_id": "embryo-7"}

    @pytest.mark.parametrize(
        ("line", "code"),
        [("acquire", 2), ("acquire_volume num_slices=0", 1), ("status", 1)],
    )
    def test_has_an_exit_code_for_each_refusal(
        self,
        server: ScriptedDeviceLayer,
        tmp_path: Path,
        line: str,
        code: int,
    ) -> None:
        done = copilot(tmp_path, "--url", server.url, "--run", line)
        assert done.returncode == code
        assert done.stdout == ""
        assert done.stderr

    def test_without_a_device_layer_says_how_to_start_it(self, tmp_path: Path) -> None:
        done = copilot(tmp_path, "--url", f"http://127.0.0.1:{unused_port()}", "--run", "status")
        assert done.returncode == 3
        assert "python start_device_layer.py" in done.stderr

    @pytest.mark.parametrize("arguments", [["--url", "nonsense"], ["--viz-port", "99999"]])
    def test_refuses_settings_that_cannot_be(self, tmp_path: Path, arguments: list[str]) -> None:
        done = copilot(tmp_path, *arguments, "--run", "status")
        assert done.returncode == 2
        assert arguments[0].strip("-").replace("-", "_") in done.stderr

    @POSIX
    def test_interrupted_leaves_the_plan_running_and_says_so(
        self,
        server: ScriptedDeviceLayer,
        tmp_path: Path,
    ) -> None:
        item = {"item_uid": "i1", "name": "acquire_volume", "kwargs": {}}
        server.answers["POST queue/item/execute"] = {"success": True, "item": item}
        server.answers["GET items/i1"] = item_state("running")
        with running(tmp_path, "--url", server.url, "--run", "acquire_volume") as process:
            until(lambda: ("GET items/i1", None) in server.asked)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert out == ""
        assert "goes on as item i1" in err
        assert "--run stop" in err
        assert "POST stop" not in [key for key, _ in server.asked]


class TestAsAService:
    def test_it_serves_the_page_and_registers_what_is_published_until_it_is_told_to_end(
        self,
        server: ScriptedDeviceLayer,
        storage: Path,
        acquire: Callable[[], VolumeRecord],
    ) -> None:
        port = unused_port()
        with running(storage.parent, "--url", server.url, "--viz-port", str(port)) as process:
            until(lambda: bool(server.last_event_ids))
            volume = acquire()
            server.publish({"seq": 1, "time": 0.0, "kind": "volume.published", "uid": volume.uid})
            with DataStore(storage / "lineage.sqlite") as data_store:
                until(lambda: volume.uid in data_store)
            url = f"http://127.0.0.1:{port}/api/volumes/{volume.uid}"
            with urllib.request.urlopen(urllib.request.Request(url, headers=AUTHORIZATION)) as page:
                assert json.load(page)["uid"] == volume.uid
            process.terminate()
            _, err = process.communicate(timeout=30)
        if os.name != "nt":
            assert process.returncode == 0, err
            assert "connected to" in err

    @POSIX
    def test_it_needs_no_device_layer_to_show_what_is_on_disk(
        self,
        storage: Path,
        acquire: Callable[[], VolumeRecord],
    ) -> None:
        volume, port = acquire(), unused_port()
        nobody = f"http://127.0.0.1:{unused_port()}"
        with running(
            storage.parent, "--url", nobody, "--viz-port", str(port), "--storage", storage
        ) as process:
            with DataStore(storage / "lineage.sqlite") as data_store:
                until(lambda: volume.uid in data_store)
            assert process.stderr is not None
            assert any("Trying again" in line for line in process.stderr)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err

    def test_a_port_that_is_taken_is_refused_with_the_remedy(
        self,
        server: ScriptedDeviceLayer,
        tmp_path: Path,
    ) -> None:
        done = copilot(tmp_path, "--url", server.url, "--viz-port", str(server.port))
        assert done.returncode == 2
        assert "--viz-port" in done.stderr


@POSIX
class TestInATerminal:
    @contextmanager
    def terminal(self, folder: Path, program: list[str]) -> Iterator["Typist"]:
        import pty

        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        process = subprocess.Popen(
            program,
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            yield Typist(ours, process)
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    def test_a_plan_may_be_left_running_and_the_session_goes_on(
        self,
        server: ScriptedDeviceLayer,
        storage: Path,
        tmp_path: Path,
    ) -> None:
        item = {"item_uid": "i1", "name": "acquire_volume", "kwargs": {}}
        server.answers["POST queue/item/execute"] = {"success": True, "item": item}
        server.answers["GET items/i1"] = item_state("running", progress={"fraction": 0.25})
        server.answers["GET status"] = {"manager_state": "executing_queue"}
        program = command("--url", server.url, "--no-viz")
        with self.terminal(tmp_path, program) as typist:
            typist.sees("gently>")
            typist.types("acquire_volume num_slices=3\r")
            typist.sees("25%")
            typist.interrupts()
            typist.sees("stop the microscope or leave it running?")
            typist.types("l\r")
            typist.sees("goes on as item i1")
            typist.types("status\r")
            typist.sees("executing_queue")
            typist.types("quit\r")
            assert typist.waits() == 0
        with DataStore(storage / "lineage.sqlite") as data_store:
            (session,) = data_store.sessions()
            prompts = data_store.find(kind="prompt", session_id=session.uid)
        assert session.ended is not None
        assert [p.metadata["text"] for p in prompts] == [
            "quit",
            "status",
            "acquire_volume num_slices=3",
        ]
        (body,) = [body for key, body in server.asked if key == "POST queue/item/execute"]
        assert body["item"]["meta"]["session_id"] == session.uid
        assert "POST stop" not in [key for key, _ in server.asked]

    def test_esc_twice_stops_beside_a_plan_and_at_the_prompt(
        self, server: ScriptedDeviceLayer, tmp_path: Path
    ) -> None:
        def state() -> dict[str, Any]:
            is_stopped = "POST stop" in [key for key, _ in server.asked]
            return item_state("aborted" if is_stopped else "running", progress={"fraction": 0.25})

        item = {"item_uid": "i1", "name": "acquire_volume", "kwargs": {}}
        server.answers["POST queue/item/execute"] = {"success": True, "item": item}
        server.answers["GET items/i1"] = state
        server.answers["POST stop"] = {"success": True, "devices": {"piezo": {"stopped": True}}}
        with self.terminal(tmp_path, command("--url", server.url, "--no-viz")) as typist:
            typist.sees("Esc Esc stops everything")
            typist.sees("gently>")
            typist.types("acquire_volume\r")
            typist.sees("25%")
            typist.types("\x1b\x1b")
            typist.sees("piezo stopped")
            typist.sees("acquire_volume was aborted")
            typist.sees("gently>")
            typist.types("half a line\x1b\x1b")
            typist.sees("piezo stopped")
            typist.sees("half a line")  # the prompt is there again
            typist.types("\x15quit\r")
            assert typist.waits() == 0
        assert [key for key, _ in server.asked].count("POST stop") == 2

    def test_without_the_extra_it_says_what_to_install(
        self,
        server: ScriptedDeviceLayer,
        tmp_path: Path,
    ) -> None:
        program = (
            "import sys; sys.modules['prompt_toolkit'] = None\n"
            f"sys.path.insert(0, {str(REPOSITORY)!r})\n"
            "import launch_copilot\n"
            f"sys.exit(launch_copilot.main(['--url', {server.url!r}, '--no-viz']))\n"
        )
        with self.terminal(tmp_path, [sys.executable, "-c", program]) as typist:
            typist.sees('pip install "gently[agent]"')
            assert typist.waits() == 2


class Typist:
    """A person at a pseudo-terminal."""

    def __init__(self, terminal: int, process: subprocess.Popen[bytes]) -> None:
        self._terminal = terminal
        self._process = process
        self._seen = ""

    def types(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def interrupts(self) -> None:
        # The session has no controlling terminal, so the key is sent as what it causes.
        self._process.send_signal(signal.SIGINT)

    def sees(self, text: str) -> None:
        """Read until the text has been shown since the last that was waited for."""
        while text not in self._seen:
            if not self._reads():
                pytest.fail(f"the terminal closed before {text!r}; it showed: {self._seen}")
        self._seen = self._seen.partition(text)[2]

    def waits(self) -> int:
        """Return the exit code, reading what is shown meanwhile."""
        while self._reads():
            pass
        return self._process.wait(60)

    def _reads(self) -> bool:
        """Read what is shown next; return False if the terminal was closed."""
        if not select.select([self._terminal], [], [], 60)[0]:
            pytest.fail(f"nothing more is shown; what was shown last: {self._seen}")
        try:
            self._seen += os.read(self._terminal, 65536).decode(errors="replace")
        except OSError:
            return False
        return True
