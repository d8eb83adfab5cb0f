"""Kill a process again and again while it works on a queue, and look at what is on disk.

``python -m tests.e2e.kill_queue --rounds 200``: in each round a process adds, moves, updates,
removes, runs, pauses and ends items as fast as it can, and says so line by line once each is
acknowledged; it is killed at a random moment. Then: whatever was acknowledged is in exactly one
place, nothing is lost, doubled or stuck in running, and what ran is interrupted.
"""

import argparse
import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from gently.core.items import Item, Result
from gently.core.lifecycle import Step
from gently.core.queue import PlanQueue
from gently.core.queue_store import QueueStore
from tests import REPOSITORY

LONGEST_S = 0.15
ENDS = (Step.COMPLETE, Step.COMPLETE, Step.FAIL, Step.ABORT, Step.STOP)
WAITS = frozenset({"item.queued", "item.updated", "item.moved"})


# ---------------------------------------------------------------------- the process that dies


def work(path: Path, seed: int) -> None:
    """Change a queue at random for ever; say what was announced once it is acknowledged."""
    dice = random.Random(seed)
    said: list[tuple[str, str]] = []
    queue = PlanQueue(lambda kind, item: said.append((kind, item.item_uid)), QueueStore(path))
    while True:
        _change(queue, dice)
        for kind, uid in said:
            sys.stdout.write(json.dumps([kind, uid]) + "\n")
        sys.stdout.flush()
        said.clear()


def _change(queue: PlanQueue, dice: random.Random) -> None:
    waiting = queue.snapshot().uids()
    running = queue.running
    what = dice.choice(
        ["add", "add", "move", "update", "remove", "run", "run", "run", "run", "pause"]
    )
    if what == "add" or not waiting:
        place = dice.randrange(len(waiting) + 1)
        batch = [Item(name="plan") for _ in range(dice.choice((1, 1, 3)))]
        queue.add_batch(batch, lambda _: place)
    elif what == "move":
        uids = dice.sample(waiting, min(len(waiting), dice.randint(1, 3)))
        queue.move(uids, lambda others: dice.randrange(len(others) + 1))
    elif what == "update":
        uid = dice.choice(waiting)
        queue.update(uid, Item(name="plan", item_uid=uid, kwargs={"x": dice.random()}))
    elif what == "remove" or len(waiting) > 50:
        queue.remove(dice.choice(waiting))
    elif what == "run" and running is None:
        queue.start()
    elif running is not None and running.state == "paused":
        queue.step(Step.RESUME)
    elif running is not None and what == "pause":
        queue.step(Step.PAUSE)
    elif running is not None:
        step = dice.choice(ENDS)
        queue.end(step, Result(str(step), time.time(), time.time()))


# ---------------------------------------------------------------------- the one who looks


@dataclass
class Ledger:
    """The last thing that was acknowledged of each item."""

    last: dict[str, str] = field(default_factory=dict)
    kills: int = 0
    under_a_running_item: int = 0

    def take(self, output: str) -> None:
        for line in output.splitlines(keepends=True):
            if line.endswith("\n"):  # a line that was cut off was not acknowledged
                kind, uid = json.loads(line)
                self.last[uid] = kind

    def check(self, path: Path) -> None:
        """Open the queue as the next process would, and account for every item."""
        with contextlib.closing(QueueStore(path)) as store:
            ran = store.load().running
            said: list[tuple[str, str]] = []
            queue = PlanQueue(lambda kind, item: said.append((kind, item.item_uid)), store)
            now = queue.snapshot()
            assert (now.running, now.mode) == (None, "idle")
            waiting = now.uids()
            assert len(waiting) == len(set(waiting)), "an item is in the queue twice"
            if ran is not None:
                self.under_a_running_item += 1
                assert queue.find(ran.item_uid).state == "interrupted"
            for uid, kind in self.last.items():
                self._account(queue, uid, kind, frozenset(waiting))
            self.last.update({uid: kind for kind, uid in said})
        self.kills += 1

    def _account(self, queue: PlanQueue, uid: str, kind: str, waiting: frozenset[str]) -> None:
        """The item is where it was last said to be, or one step further, and nowhere else."""
        state = str(queue.find(uid).state)
        assert (state == "queued") == (uid in waiting), f"{uid} is {state}, after {kind}"
        assert state not in ("running", "paused"), f"{uid} is stuck in {state}"
        if kind not in WAITS:
            assert state != "queued", f"{uid} is back, after {kind}"
        is_over = kind not in WAITS | {"item.started", "item.paused", "item.resumed"}
        assert not is_over or kind == f"item.{state}", f"{uid} is {state}, after {kind}"


def torment(path: Path, rounds: int, seed: int) -> Ledger:
    """Kill `rounds` processes; raises AssertionError at the first thing that is not right."""
    ledger, dice = Ledger(), random.Random(seed)
    for number in range(rounds):
        command = [sys.executable, "-m", "tests.e2e.kill_queue", "--work", str(path)]
        with subprocess.Popen(
            [*command, "--seed", str(seed + number)],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            cwd=REPOSITORY,
            text=True,
        ) as process:
            assert process.stdout is not None
            first = process.stdout.readline()  # from here on it is at work
            time.sleep(dice.uniform(0, LONGEST_S))
            process.kill()
            ledger.take(first + process.stdout.read())
        ledger.check(path)
    return ledger


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--work", type=Path, help="be the process that is killed")
    given = parser.parse_args()
    if given.work:
        work(given.work, given.seed)
        return
    with tempfile.TemporaryDirectory() as folder:
        ledger = torment(Path(folder) / "queue.sqlite", given.rounds, given.seed)
    sys.stdout.write(
        f"seed {given.seed}: {ledger.kills} kills, {len(ledger.last)} items accounted for, "
        f"{ledger.under_a_running_item} of them killed while they ran\n"
    )


if __name__ == "__main__":
    main()
