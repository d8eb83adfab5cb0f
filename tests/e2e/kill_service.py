"""Kill the device layer at random moments while clients work on its queue, and account for it all.

Each round starts the real script on one and the same storage and checks what it says of the lives
before; then three clients at once add, retry, move, update, remove, execute, start, pause, resume
and end items over HTTP, until the process is killed without warning. Then, at the next start:

- whatever was acknowledged is in exactly one place: it waits, has ended or was removed, and what
  was told of its end still holds; nothing is lost, doubled, back from the dead or stuck in running;
- no request has more than one unfinished item, or completes twice, however often it was retried;
- the history has only grown, and what was moved to the front is still at the front;
- what ran is interrupted, and names exactly the volumes that it had published.

Run: python -m tests.e2e.kill_service [--rounds 200] [--seed N] [--storage DIR] [--limit-s 1800]
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from tests import AUTHORIZATION
from tests.e2e.conftest import Script, free_port, start
from tests.e2e.crash import small_demo

_LATEST_KILL_S = 1.0
_FULL = 40
_PATIENCE_S = 60
_ENDS = ("completed", "failed", "aborted", "stopped", "halted", "interrupted")
_ONCE = frozenset({"completed", "stopped"})
"""How an item ends that is not to be done again."""

Act = Callable[[httpx2.Client, random.Random], None]


class BrokenPromiseError(AssertionError):
    """Something that the queue had acknowledged is not so any more."""


@dataclass
class Ledger:
    """What was asked for and what was acknowledged; each client writes to its own part."""

    acknowledged: dict[str, int] = field(default_factory=dict)
    """The number of the request, by the uid of its item."""
    removed: set[str] = field(default_factory=set)
    ended: dict[str, str] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    front: str | None = None
    going_to_the_front: str | None = None


@dataclass
class Tally:
    """What the rounds have come to."""

    kills: int = 0
    under_an_item: int = 0
    requests: int = 0
    removed: int = 0
    waiting: int = 0
    states: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        states = ", ".join(f"{number} {state}" for state, number in self.states.most_common())
        return (
            f"{self.kills} kills, {self.under_an_item} of them while an item ran; "
            f"{self.requests} requests acknowledged: {self.removed} removed, {self.waiting} "
            f"waiting; the history has {self.states.total()}: {states}"
        )


class Tormentor:
    """Kills, and keeps the books of what the queue has promised.

    Parameters
    ----------
    storage
        Of all the lives of the device layer.
    seed
        Of all that is done at random; when it happens is left to the machine.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._instrument = small_demo(folder)
        self._chance = random.Random(seed)
        self._numbers = count(1)
        self._ledger = Ledger()
        self._history: list[str] = []
        self._known: set[str] = set()
        self._ends: dict[int, list[str]] = defaultdict(list)
        self.tally = Tally()

    def run(self, rounds: int, limit_s: float) -> Tally:
        """Kill so many times, or until the time is over.

        Raises
        ------
        BrokenPromiseError
            At the first thing that is not as it was acknowledged.
        """
        deadline = time.monotonic() + limit_s
        while self.tally.kills < rounds and time.monotonic() < deadline:
            with self._device_layer(goes_on=self.tally.kills % 8 == 7) as layer:
                self._check(layer)
                self._use_and_kill(layer)
            self.tally.kills += 1
        with self._device_layer() as layer:
            self._check(layer)
            self._close_the_books(layer)
        return self.tally

    # ------------------------------------------------------------------ one life

    def _use_and_kill(self, layer: Script) -> None:
        acts: tuple[Act, ...] = (self._add, self._rearrange, self._drive)
        with layer.client() as client, client.events(after=0) as events:

            def listen() -> None:
                for event in events:
                    self._hear(event.kind, event.data)

            with ThreadPoolExecutor(len(acts) + 1) as threads:
                futures = [threads.submit(listen)]
                futures += [threads.submit(_until_killed, layer, act, self._dice()) for act in acts]
                time.sleep(self._chance.uniform(0.05, _LATEST_KILL_S))
                if layer.process.poll() is not None:
                    raise BrokenPromiseError(f"it died by itself:\n{layer.said()[-5_000:]}")
                layer.kill()
                events.close()
                for future in futures:
                    future.result()

    def _dice(self) -> random.Random:
        return random.Random(self._chance.random())

    def _hear(self, kind: str, data: Mapping[str, Any]) -> None:
        step, uid = kind.removeprefix("item."), str(data.get("item_uid"))
        if kind == "item.started":
            self._ledger.started.add(uid)
        elif kind.startswith("item.") and step in _ENDS:
            self._ledger.ended[uid] = step

    # ------------------------------------------------------------------ three clients

    def _add(self, http: httpx2.Client, chance: random.Random) -> None:
        if _get(http, "status")["items_in_queue"] > _FULL:
            time.sleep(0.02)
            return
        numbers = [next(self._numbers) for _ in range(chance.choice((1, 1, 3)))]
        items = [_item(number, chance) for number in numbers]
        what: dict[str, Any] = {"idempotency_key": f"request {numbers[0]}"}
        what |= {"items": items} if len(items) > 1 else {"item": items[0]}
        path = "queue/item/add/batch" if len(items) > 1 else "queue/item/add"
        for _ in range(chance.choice((1, 1, 2))):
            answer = _post(http, path, **what)
            _expect(answer["success"], f"{what} was refused: {answer}")
            uids = [item["item_uid"] for item in answer.get("items", [answer.get("item")])]
            self._ledger.acknowledged.update(zip(uids, numbers, strict=True))

    def _rearrange(self, http: httpx2.Client, chance: random.Random) -> None:
        waiting = _get(http, "queue/get")["items"]
        if len(waiting) < 3:
            time.sleep(0.005)
            return
        item = chance.choice(waiting)
        uid = item["item_uid"]
        what = chance.choice(("front", "front", "batch", "batch", "update", "remove"))
        if what == "front":
            self._ledger.going_to_the_front = uid
            if _post(http, "queue/item/move", uid=uid, pos_dest="front")["success"]:
                self._ledger.front = uid
        elif what == "batch":
            uids = [other["item_uid"] for other in chance.sample(waiting, chance.choice((1, 2)))]
            if self._ledger.front in uids:
                self._ledger.front = None
            _post(http, "queue/item/move/batch", uids=uids, pos_dest="back")
        elif what == "update":
            changed = _item(item["meta"]["number"], chance)
            _post(http, "queue/item/update", item={**changed, "item_uid": uid})
        elif what == "remove" and _post(http, "queue/item/remove", uid=uid)["success"]:
            self._ledger.removed.add(uid)

    def _drive(self, http: httpx2.Client, chance: random.Random) -> None:
        what = chance.choice(("start", "start", "start", "execute", "pause", "stop", "autostart"))
        if what == "execute":
            number = next(self._numbers)
            answer = _post(http, "queue/item/execute", item=_item(number, chance))
            if answer["success"]:
                self._ledger.acknowledged[answer["item"]["item_uid"]] = number
        elif what == "pause":
            _post(http, "re/pause", option=chance.choice(("immediate", "deferred")))
            time.sleep(0.02)
            _post(http, "re/" + chance.choice(("resume", "resume", "abort", "stop", "halt")))
        elif what == "autostart":
            _post(http, "queue/autostart", enable=chance.choice((True, False)))
        else:
            _post(http, f"queue/{what}")
        time.sleep(chance.uniform(0, 0.02))

    # ------------------------------------------------------------------ the books

    def _check(self, layer: Script) -> None:
        """Match what a fresh device layer says with what was acknowledged in the lives before."""
        with _session(layer) as http:
            _wait_until_idle(http)
            queue = _get(http, "queue/get")
            waiting = queue["items"]
            _expect(queue["running_item"] == {}, f"stuck in running: {queue['running_item']}")
            uids = [item["item_uid"] for item in waiting]
            _expect(len(uids) == len(set(uids)), "an item waits twice")
            ended = self._new_history(http)
            _expect(not {*uids} & self._known, "an item waits, and has ended")
            self._check_interrupted(http, ended)
            self._check_each(http, {*uids}, {item["item_uid"]: _state(item) for item in ended})
            self._check_requests(waiting, ended)
            self._check_front(uids)
        self.tally.waiting = len(uids)

    def _new_history(self, http: httpx2.Client) -> list[dict[str, Any]]:
        """Return what has ended since the last look, oldest first; the rest has to be the same."""
        found: list[dict[str, Any]] = []
        last = self._history[-1] if self._history else None
        for item in _history(http):
            if item["item_uid"] == last:
                break
            found.append(item)
        else:
            _expect(last is None, f"{last} is gone from the history")
        found.reverse()
        uids = [item["item_uid"] for item in found]
        _expect(not self._known.intersection(uids), "an item has ended twice")
        self._history += uids
        self._known.update(uids)
        self.tally.states.update(map(_state, found))
        return found

    def _check_interrupted(self, http: httpx2.Client, ended: list[dict[str, Any]]) -> None:
        interrupted = [item for item in ended if _state(item) == "interrupted"]
        _expect(len(interrupted) <= 1, f"{len(interrupted)} items ran at once")
        self.tally.under_an_item += len(interrupted)
        for item in interrupted:
            volumes = http.get("volumes", params={"limit": 10_000}).json()["volumes"]
            mine = {volume["uid"] for volume in volumes if volume["item_uid"] == item["item_uid"]}
            named = set(item["result"]["leftovers"]["volume_uids"])
            _expect(named == mine, f"{item} has published {mine}")

    def _check_each(self, http: httpx2.Client, waiting: set[str], ended: dict[str, str]) -> None:
        """Follow up what was acknowledged in the last life, and what has waited since before."""
        ledger = self._ledger
        for uid, number in list(ledger.acknowledged.items()):
            state = "queued" if uid in waiting else ended.get(uid) or _find(http, uid)
            is_right = {
                "queued": uid not in ledger.removed | ledger.started | ledger.ended.keys(),
                "cancelled": uid not in ledger.started,
            }.get(state, uid not in ledger.removed and ledger.ended.get(uid, state) == state)
            told = ledger.ended.get(uid) or ("started" if uid in ledger.started else "nothing")
            _expect(
                is_right and state not in ("running", "paused"),
                f"{uid} is {state}; of it was told: {told}; removed: {uid in ledger.removed}",
            )
            if state != "queued":
                del ledger.acknowledged[uid]
                self.tally.requests += 1
            if state == "cancelled":
                self.tally.removed += 1
                self._ends[number].append(state)

    def _check_requests(self, waiting: list[dict[str, Any]], ended: list[dict[str, Any]]) -> None:
        for item in ended:
            self._ends[item["meta"]["number"]].append(_state(item))
        unfinished = Counter(item["meta"]["number"] for item in waiting)
        for number, states in self._ends.items():
            once = sum(state in _ONCE for state in states)
            _expect(once <= 1, f"request {number} was done twice: {states}")
            _expect(not (once and unfinished[number]), f"request {number} is done, and waits")
        twice = [number for number, times in unfinished.items() if times > 1]
        _expect(not twice, f"requests {twice} wait twice")

    def _check_front(self, uids: list[str]) -> None:
        """What was moved to the front last is before all that waited already."""
        ledger, mine = self._ledger, self._ledger.front
        others = [uid for uid in uids if uid in ledger.acknowledged]
        if mine in others:
            before = {*others[: others.index(mine)]} - {ledger.going_to_the_front}
            _expect(not before, f"{mine} was moved to the front, and is behind {before}")
        ledger.front = ledger.going_to_the_front = None

    def _close_the_books(self, layer: Script) -> None:
        """Compare the whole history, from the first life on, with all that was ever seen of it."""
        with _session(layer) as http:
            found = [item["item_uid"] for item in _history(http)]
        _expect(found == self._history[::-1], "the history has changed")
        self.tally.requests += len(self._ledger.acknowledged)

    # ------------------------------------------------------------------ the process

    @contextmanager
    def _device_layer(self, *, goes_on: bool = False) -> Iterator[Script]:
        port = free_port()
        arguments = [
            *("--config", self._instrument, "--storage", str(self._folder / "data")),
            *("--port", str(port)),
            *("--queue-after-restart", "continue" if goes_on else "wait"),
        ]
        log = self._folder / "log"
        layer = start("start_device_layer.py", arguments, log, f"http://127.0.0.1:{port}")
        try:
            layer.wait_until_it_says("listening on")
            yield layer
        finally:
            layer.kill()


def _until_killed(layer: Script, act: Act, chance: random.Random) -> None:
    with _session(layer) as http:
        try:
            while True:
                act(http, chance)
        except httpx2.TransportError:
            return


def _session(layer: Script) -> httpx2.Client:
    return httpx2.Client(base_url=f"{layer.url}/api/", headers=AUTHORIZATION, timeout=_PATIENCE_S)


def _item(number: int, chance: random.Random) -> dict[str, Any]:
    """Return a short plan; its number is that of the request, through all that becomes of it."""
    name = chance.choice(("sleep", "read_position", "acquire_volume"))
    kwargs = {
        "sleep": {"duration_s": chance.choice((0, 0.05, 0.5))},
        "read_position": {},
        "acquire_volume": {"num_slices": chance.randint(1, 3), "exposure_ms": 0.1, "step_um": 0},
    }[name]
    return {"name": name, "kwargs": kwargs, "meta": {"number": number}}


def _post(http: httpx2.Client, path: str, **body: Any) -> dict[str, Any]:
    return _answer(http.post(path, json=body))


def _get(http: httpx2.Client, path: str) -> dict[str, Any]:
    return _answer(http.get(path))


def _answer(response: httpx2.Response) -> dict[str, Any]:
    _expect(response.status_code == 200, f"{response.url}: {response.text}")
    found: dict[str, Any] = response.json()
    return found


def _history(http: httpx2.Client) -> Iterator[dict[str, Any]]:
    """Yield all that has ever ended, the newest first."""
    before: dict[str, Any] = {}
    while True:
        page = http.get("history", params={"limit": 200, **before}).json()
        yield from page["items"]
        if page["next"] is None:
            return
        before = {"before": page["next"]}


def _find(http: httpx2.Client, uid: str) -> str:
    answer = http.get(f"items/{uid}")
    _expect(answer.status_code == 200, f"{uid} is lost: {answer.text}")
    return str(answer.json()["state"])


def _state(item: dict[str, Any]) -> str:
    return str(item["result"]["exit_status"])


def _wait_until_idle(http: httpx2.Client) -> None:
    """Wait for a queue that goes on by itself; one that waits is idle at once."""
    deadline = time.monotonic() + _PATIENCE_S
    while _get(http, "status")["manager_state"] != "idle":
        _expect(time.monotonic() < deadline, "the queue has never come to rest")
        time.sleep(0.05)


def _expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise BrokenPromiseError(otherwise)


def main() -> int:
    """Kill as the command line says, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="how often to kill")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--storage", type=Path, help="where to work; by default a temporary folder")
    parser.add_argument("--limit-s", type=float, default=1800)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.storage) as folder:
        tormentor = Tormentor(Path(folder), options.seed)
        try:
            tally = tormentor.run(options.rounds, options.limit_s)
        except BrokenPromiseError as error:
            print(f"seed {options.seed}, kill {tormentor.tally.kills}: {error}", file=sys.stderr)
            return 1
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s: {tally}")
    return 0 if tally.kills == options.rounds else 1


if __name__ == "__main__":
    sys.exit(main())
