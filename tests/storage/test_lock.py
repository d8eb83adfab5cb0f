"""One process writes into a store, and the next one is told who that is."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage import StoreLock, StoreLockedError

HOLD = """
import sys, time
from pathlib import Path
from storage import StoreLock
with StoreLock(Path(sys.argv[1]), {"pid": 4711, "address": "http://127.0.0.1:60610"}):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the store until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_holds_the_store(
    holder: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    lock = StoreLock(tmp_path, {"pid": 1})
    with pytest.raises(
        StoreLockedError, match=r"pid 4711, address http://127\.0\.0\.1:60610"
    ) as held:
        lock.acquire()
    assert held.value.holder == {"pid": 4711, "address": "http://127.0.0.1:60610"}
    lock.release()
    assert json.loads((tmp_path / "store.holder.json").read_text())["pid"] == 4711


def test_a_killed_holder_blocks_nobody(holder: "subprocess.Popen[str]", tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / "store.holder.json").exists()
    with StoreLock(tmp_path, {"pid": 2}):
        assert json.loads((tmp_path / "store.holder.json").read_text()) == {"pid": 2}


def test_a_holder_that_ends_leaves_the_store_free(
    holder: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    holder.communicate("")
    assert holder.returncode == 0
    assert not (tmp_path / "store.holder.json").exists()
    with StoreLock(tmp_path, {}):
        pass


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    with StoreLock(tmp_path, {"pid": 1}), pytest.raises(StoreLockedError, match="pid 1"):
        StoreLock(tmp_path, {"pid": 2}).acquire()
    with StoreLock(tmp_path, {"pid": 2}) as lock:
        lock.release()
        lock.release()


@pytest.mark.parametrize("note", [None, "not json", "[1]"])
def test_a_holder_that_left_no_name_is_still_a_holder(note: str | None, tmp_path: Path) -> None:
    with StoreLock(tmp_path, {"pid": 1}):
        path = tmp_path / "store.holder.json"
        path.unlink() if note is None else path.write_text(note)
        with pytest.raises(StoreLockedError, match="gave no name"):
            StoreLock(tmp_path, {}).acquire()


def test_the_folder_is_made(tmp_path: Path) -> None:
    with StoreLock(tmp_path / "new" / "data", {}):
        assert (tmp_path / "new" / "data").is_dir()
