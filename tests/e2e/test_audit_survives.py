"""The audit log of a process that is killed while it writes: what was written stays proven."""

import random
import subprocess
import sys
import time
from pathlib import Path

from gently.core.operations import Action, AuditLog, Head
from tests import REPOSITORY

APPENDING = """
import itertools, os, pathlib, sys, time
from gently.core.operations import Action, AuditLog
from gently.core.operations import audit

def in_small_pieces(fd, content):
    for first in range(0, len(content), 16):
        os.write(fd, content[first : first + 16])
        time.sleep(0.001)

audit._write_all = in_small_pieces  # as a slow disk may, that takes little at a time
with AuditLog(pathlib.Path(sys.argv[1])) as log:
    for number in itertools.count():
        log.record(Action(what=f"turn {number}", detail="x" * 200))
        if log.flush():
            print(log.head, flush=True)
"""


def killed_while_it_writes(path: Path, after_s: float) -> Head:
    """Let a process append to a log, kill it, and return the last head that it told."""
    process = subprocess.Popen(
        [sys.executable, "-c", APPENDING, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    with process:
        assert process.stdout is not None
        told = [process.stdout.readline()]
        time.sleep(after_s)
        process.kill()
        told += process.stdout
    return Head.parse(told[-1].strip())


def test_after_a_kill_in_the_midst_of_appends_the_chain_is_whole_and_says_what_was_torn(
    tmp_path: Path,
) -> None:
    path, chance, torn = tmp_path / "audit.ndjson", random.Random(7), 0
    for _ in range(20):
        told = killed_while_it_writes(path, chance.uniform(0, 0.1))
        torn += not path.read_bytes().endswith(b"\n")
        with AuditLog(path) as log:
            log.record(Action(what="start"))
            found = log.verify(told)
        assert found.ok, found.findings
        assert found.head.count > told.count, "what was told to be written is there"
        assert len(found.notes) >= torn
        if torn == 2:
            return
    raise AssertionError("no kill has hit a line while it was written: nothing was shown")
