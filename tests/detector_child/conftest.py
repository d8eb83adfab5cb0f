"""A store with a volume to look at, and supervisors that are told of bad detectors too."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks.phantoms import ORDINARY, Phantom
from gently.detector_child import Limits, Order, Outcome, Supervisor
from storage import VolumeRecord, VolumeStore, new_uid
from tests.visualization.specimen import keep
from tests.waiting import until

BAD = "tests.detector_child.bad_detectors:KINDS"
PHANTOM = Phantom(ORDINARY.resized((1024, 1024), 0.325), 100)


class Bench:
    """A supervisor over a store with one volume."""

    def __init__(self, root: Path, setups: dict[str, dict[str, Any]], limits: Limits) -> None:
        self.store = VolumeStore(root)
        self.source = keep(
            self.store,
            PHANTOM.pixels[None],
            pixel_size_um=PHANTOM.scene.pixel_size_um,
            positions_um={"xy_stage.x": 1000.0, "xy_stage.y": -500.0},
        )
        self.supervisor = Supervisor(root, setups, limits=limits, kinds=BAD)

    def begin(self, detector: str = "classical", timeout_s: float = 240, **order: Any) -> "Pending":
        return Pending(self, detector, timeout_s, order)

    def detect(self, detector: str = "classical", **order: Any) -> VolumeRecord:
        pending = self.begin(detector, **order)
        outcome = pending.outcome()
        assert outcome == Outcome(), outcome
        return self.store.verify(pending.uid)

    def bad(self, does: str, timeout_s: float = 240) -> "Pending":
        return self.begin("bad", timeout_s, settings={"does": does})

    def pid_at_work(self) -> int:
        """Wait until the process works, and return which it is."""
        until(lambda: self.supervisor.status()["pid"] is not None)
        time.sleep(0.1)
        return int(self.supervisor.status()["pid"])

    def close(self) -> None:
        self.supervisor.close()
        self.store.close()


class Pending:
    """An order that was given."""

    def __init__(
        self, bench: Bench, detector: str, timeout_s: float, order: dict[str, Any]
    ) -> None:
        self.uid = new_uid()
        self.order = Order(uid=self.uid, source_uid=bench.source.uid, detector=detector, **order)
        self._ended = threading.Event()
        self._outcomes: list[Outcome] = []
        bench.supervisor.submit(self.uid, timeout_s, lambda: self.order, self._end)

    def _end(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._ended.set()

    def outcome(self) -> Outcome:
        assert self._ended.wait(300), "nobody was told"
        (outcome,) = self._outcomes
        return outcome


@contextmanager
def bench_in(
    root: Path, setups: dict[str, dict[str, Any]] | None = None, **limits: Any
) -> Iterator[Bench]:
    bench = Bench(root, setups or {}, Limits(**limits))
    try:
        yield bench
    finally:
        bench.close()


@pytest.fixture(scope="package")
def shared_bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One process for all tests that do it no harm, at work already."""
    with bench_in(tmp_path_factory.mktemp("storage"), {"sam": {"model": "tiny"}}) as bench:
        bench.detect()
        yield bench


@pytest.fixture
def bench(shared_bench: Bench) -> Bench:
    return shared_bench


@pytest.fixture
def doomed(tmp_path: Path) -> Iterator[Bench]:
    """One whose process may be harmed."""
    with bench_in(tmp_path, memory_bytes=700 << 20, waiting=3, first_pause_s=0.05) as bench:
        yield bench
