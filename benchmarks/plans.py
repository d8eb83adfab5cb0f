"""How fast the plan service is, side by side with Bluesky's queue server in the same run.

Both are real processes on loopback, asked by the same thin client over one connection, in turns;
both run the same smallest plan, ``sleep`` of 0 s. Ours drives the digital twin, and has the item in
a file, which outlives it, before it answers; the reference has Redis, whose snapshots are off.
Measured with an empty queue, and with 1,000 items waiting:

status
    the reply to GET /api/status
execute
    the reply to POST /api/queue/item/execute
history
    from before that request until the item is in the history and the service idle; looked for
    again after 1 ms or 2 % of the time that has passed, whichever is longer

And of ours alone: 100 different plans, each validated and preflighted by a request of its own.

Run: python -m benchmarks.plans [--repeats 200] [--executes 30] [--environment DIR]
"""

import argparse
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.reference import Connection, Service, free_port, process, reference_stack, wait_for

_REPOSITORY = Path(__file__).parent.parent
_QUEUED = 1_000
_BATCH = 50
_TURNS = 5
_PLANS = 100
_WANTED = {"status": 3, "execute": 3, "history": 20}
"""How many times faster than the reference ours has to be."""
_MOST_SLOWER = 1.5
"""How much slower 1,000 waiting items may make anything, before it counts as slowed down."""
_END_S = 60.0

Seconds = dict[str, list[float]]


def main() -> int:
    """Measure and print; return 1 if ours is not as fast as it has to be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=200, help="of the status")
    parser.add_argument("--executes", type=int, default=30, help="of the smallest plan")
    parser.add_argument(
        "--environment",
        type=Path,
        default=Path(tempfile.gettempdir()) / "gently-reference-stack",
        help="where the reference stack is installed, once",
    )
    options = parser.parse_args()
    if not (0 < options.repeats <= 10_000 and 0 < options.executes <= 1_000):
        parser.error("at most 10,000 repeats and 1,000 executes")
    with tempfile.TemporaryDirectory() as folder, _gently(Path(folder)) as ours:
        with reference_stack(options.environment.absolute()) as reference:
            empty, full = _measure((ours, reference), options.repeats, options.executes)
        is_good = _report(ours, reference, empty, full)
        preflights_s = _preflights_s(ours)
    print(f"\n{_PLANS} plans validated and preflighted: {preflights_s:.3f} s (wanted: below 1 s)")
    return 0 if is_good and preflights_s < 1 else 1


@contextmanager
def _gently(folder: Path) -> Iterator[Service]:
    port, key, log = free_port(), secrets.token_hex(16), folder / "log"
    service = Service("gently", port, key)
    script = str(_REPOSITORY / "start_device_layer.py")
    arguments = ["--config", "twin", "--storage", str(folder / "data"), "--port", str(port)]
    command = [sys.executable, script, *arguments]
    with process(command, log, {"GENTLY_API_KEY": key}) as child:
        wait_for(service, child, log)
        yield service


# ---------------------------------------------------------------------- both


def _measure(
    services: tuple[Service, ...], repeats: int, executes: int
) -> tuple[dict[str, Seconds], dict[str, Seconds]]:
    """Return the seconds by service and measure, with an empty queue and with a full one."""
    found = []
    for queued in (0, _QUEUED):
        for service in services:
            _fill(service, queued)
        seconds: dict[str, Seconds] = {
            service.name: {measure: [] for measure in _WANTED} for service in services
        }
        for _ in range(_TURNS):
            for service in services:
                _turn(service, seconds[service.name], repeats // _TURNS, executes // _TURNS)
        found.append(seconds)
    for service in services:
        with service.client() as http:
            _posted(http, "queue/clear")
    return found[0], found[1]


def _fill(service: Service, count: int) -> None:
    with service.client() as http:
        for _ in range(0, count, _BATCH):  # of 1,000 at once the reference loses its patience
            _posted(http, "queue/item/add/batch", items=[_sleep(3_600)] * _BATCH)
        status = http.get("status")
        if status["items_in_queue"] != count:
            raise SystemExit(f"{service.name} has {status['items_in_queue']} items, not {count}")


def _turn(service: Service, seconds: Seconds, repeats: int, executes: int) -> None:
    with service.client() as http:
        http.get("status")  # the connection is made
        for _ in range(max(1, repeats)):
            seconds["status"].append(_seconds(lambda: http.get("status")))
        for _ in range(max(1, executes)):
            _execute(service, http, seconds)


def _execute(service: Service, http: Connection, seconds: Seconds) -> None:
    before = http.get("status")["items_in_history"]
    began = time.perf_counter()
    _posted(http, "queue/item/execute", item=_sleep(0))
    seconds["execute"].append(time.perf_counter() - began)
    while True:
        status = http.get("status")
        passed_s = time.perf_counter() - began
        if status["items_in_history"] > before and status["manager_state"] == "idle":
            seconds["history"].append(passed_s)
            return
        if passed_s > _END_S:
            raise SystemExit(f"{service.name} did not finish a sleep of 0 s: {status}")
        time.sleep(max(0.001, 0.02 * passed_s))


def _sleep(duration_s: float) -> dict[str, Any]:
    return {"item_type": "plan", "name": "sleep", "kwargs": {"duration_s": duration_s}}


def _posted(http: Connection, path: str, **body: Any) -> dict[str, Any]:
    found = http.post(path, **body)
    if not found["success"]:
        raise SystemExit(f"{path} was refused: {found['msg']}")
    return found


# ---------------------------------------------------------------------- ours


def _preflights_s(service: Service) -> float:
    """Return how long it takes to validate and preflight plans that are all different."""
    items = [
        {"name": "acquire_volume", "kwargs": {"num_slices": 10 + n, "exposure_ms": 5 + n % 20 / 4}}
        if n % 2
        else {"name": "move_stage", "kwargs": {"x_um": float(n), "y_um": -float(n)}}
        for n in range(_PLANS)
    ]
    with service.client() as http:
        http.get("status")

        def preflight() -> None:
            for item in items:
                report = http.post("plans/preflight", item=item)
                if not report["ok"]:
                    raise SystemExit(f"{item} does not pass preflight: {report}")

        return _seconds(preflight)


# ---------------------------------------------------------------------- the report


def _report(
    ours: Service, reference: Service, empty: dict[str, Seconds], full: dict[str, Seconds]
) -> bool:
    print(f"\n{'median (p90) in ms':<26}{ours.name:>18}{reference.name:>24}   faster   wanted")
    is_good = True
    for title, seconds in (("", empty), (f", {_QUEUED:,} waiting", full)):
        for measure, wanted in _WANTED.items():
            mine, theirs = seconds[ours.name][measure], seconds[reference.name][measure]
            ratio = statistics.median(theirs) / statistics.median(mine)
            is_good &= ratio >= wanted
            print(
                f"{measure + title:<26}{_shown(mine):>18}{_shown(theirs):>24}"
                f"{ratio:>8.1f}×{'≥' + str(wanted) + '×':>9}"
            )
    for measure in _WANTED:
        slower = statistics.median(full[ours.name][measure]) / statistics.median(
            empty[ours.name][measure]
        )
        is_good &= slower < _MOST_SLOWER
        print(f"{measure}: {slower:.2f} × as long with {_QUEUED:,} items waiting")
    return is_good


def _shown(seconds: list[float]) -> str:
    ranked = sorted(seconds)
    p90 = ranked[int(0.9 * len(ranked))]
    return f"{1e3 * statistics.median(ranked):.2f} ({1e3 * p90:.2f})"


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
