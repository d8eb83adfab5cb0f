"""How long it takes from POST /api/stop until the microscope is safe, whatever it was doing.

A device layer with the digital twin and its HTTP server run in this process. In each round the
microscope is made to move, to shine or both, stop is asked for over HTTP at a random moment, and
another thread looks every 0.2 ms at the twin itself, not at what the device layer says of it:

safe
    from before the request was sent until the twin's light is off and its axes stand still, for
    good; of an axis that refuses to stop all others
answer
    until the report has come, with everything read back, and the plan ended

Each report is checked: it has to name the device that hangs or refuses, and no other.

Run: python -m benchmarks.stop [--rounds 100] [--phase NAME]
"""

import argparse
import io
import os
import random
import secrets
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import httpx2

from benchmarks.faulty import HangingFocus, StubbornStage
from devices import FocusDrive, Shutter, XYStage, load_instrument_file
from devices.twin.hub import TwinHub
from devices.twin.world import World
from gently.api import ApiServer, bind, create_app
from gently.core.device_layer import DeviceLayer
from gently.core.queue import Item
from gently.core.runner import Order
from gently.settings import DeviceLayerSettings
from storage import VolumeRecord, VolumeWriter

__all__ = ["PHASES", "Bench", "Found", "NotSafeError", "Phase", "bench_of", "one_round"]

_HEAD = f"{'ms':<24}{'rounds':>7}{'safe: median':>14}{'p99':>8}{'answer: median':>16}{'p99':>9}"
_LOOK_S = 0.0002
_QUIET_S = 0.03
"""For how long after the report nothing may begin to move or to shine again."""
_PATIENCE_S = 30.0
_SLOW_DISK_S = 0.4
_SLOW_ROUNDS = 10
"""A call that hangs costs seconds a round: it has so many times fewer."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100, help="of each phase")
    parser.add_argument("--phase", choices=list(PHASES), help="only this one")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not 0 < options.rounds <= 10_000:
        parser.error("at most 10,000 rounds")
    phases = [options.phase] if options.phase else list(PHASES)
    with tempfile.TemporaryDirectory() as folder, bench_of(Path(folder), options.seed) as bench:
        print(_HEAD)
        for name in phases:
            phase = PHASES[name]
            rounds = max(1, options.rounds // (_SLOW_ROUNDS if phase.is_slow else 1))
            with redirect_stdout(io.StringIO()):  # bluesky tells of each plan that it ends
                found = [one_round(bench, phase) for _ in range(rounds)]
            _report(name, phase, found)


class NotSafeError(AssertionError):
    """A stop has not done what it has to, or could not be tried; says what was found."""


@dataclass
class Bench:
    """A device layer on the twin, and what to do with it in a round."""

    layer: DeviceLayer
    http: httpx2.Client
    world: World
    focus: HangingFocus
    stage: StubbornStage
    dice: random.Random
    is_finishing: threading.Event = field(default_factory=threading.Event)

    def execute(self, name: str, **kwargs: Any) -> None:
        """Run a plan now."""
        self.layer.execute(Item(name=name, kwargs=kwargs))

    def dawdle(self, longest_s: float) -> None:
        """Let a random time pass."""
        time.sleep(self.dice.uniform(0, longest_s))

    def far_um(self) -> tuple[float, float]:
        """Return the corner from which the stage is further away."""
        return (-2_252.0, -1_677.0) if self.world.x.position_um() > -600 else (983.0, 586.0)

    def by_hand(self, *, stage: bool = True) -> None:
        """Move and shine past any plan, so that there is something to stop."""
        devices = self.layer.instrument.devices
        shutter, xy_stage, focus = (devices[name] for name in ("shutter", "xy_stage", "focus"))
        assert isinstance(shutter, Shutter)
        assert isinstance(xy_stage, XYStage)
        assert isinstance(focus, FocusDrive)
        shutter.set("open").wait(_PATIENCE_S)
        if stage:
            xy_stage.set(self.far_um())
            _until(lambda: self.world.x.is_moving)
        else:
            focus.set(60.0 if self.world.focus.position_um() > 150 else 240.0)
            _until(lambda: self.world.focus.is_moving)


@dataclass(frozen=True)
class Phase:
    """What the microscope is doing when stop is asked for."""

    begin: Callable[[Bench], None]
    end: Callable[[Bench], None] = lambda _: None
    refuses: str | None = None
    is_slow: bool = False


@dataclass(frozen=True)
class Found:
    """One round, in seconds."""

    safe_s: float
    answer_s: float


# ---------------------------------------------------------------------- phases


def _moving(bench: Bench) -> None:
    x_um, y_um = bench.far_um()
    bench.execute("move_stage", x_um=x_um, y_um=y_um)
    _until(lambda: bench.world.x.is_moving)
    bench.dawdle(0.3)


def _exposing(bench: Bench) -> None:
    bench.execute("snap", exposure_ms=1000, light_sheet="bottom")
    _until(lambda: _is_lit(bench.world))
    bench.dawdle(0.2)


def _sequence(bench: Bench) -> None:
    bench.execute("acquire_volume", num_slices=400, exposure_ms=2, step_um=0.1, center_um=0)
    _until(lambda: _is_lit(bench.world))
    bench.dawdle(0.5)


def _writing(bench: Bench) -> None:
    bench.is_finishing.clear()
    bench.execute("acquire_volume", num_slices=3, exposure_ms=1, step_um=0.1, center_um=0)
    assert bench.is_finishing.wait(_PATIENCE_S)
    bench.by_hand()


def _paused(bench: Bench) -> None:
    bench.execute("sleep", duration_s=600)
    _until(lambda: bench.layer.runner.state == "running")
    bench.layer.runner.order(Order.PAUSE)
    _until(lambda: bench.layer.runner.state == "paused")
    bench.by_hand()


def _between(bench: Bench) -> None:
    bench.layer.queue.clear()
    items = [Item(name="sleep", kwargs={"duration_s": 0}) for _ in range(500)]
    bench.layer.queue.add_batch(items, len)
    bench.by_hand()
    bench.layer.queue.start()
    bench.dawdle(0.1)


def _hanging(bench: Bench) -> None:
    bench.by_hand()
    bench.focus.answers.clear()
    bench.focus.is_asked.clear()
    bench.execute("read_position")
    assert bench.focus.is_asked.wait(_PATIENCE_S)  # the core's thread and the RunEngine's are stuck


def _let_go(bench: Bench) -> None:
    bench.focus.answers.set()


def _refusing(bench: Bench) -> None:
    bench.by_hand()
    bench.by_hand(stage=False)
    bench.stage.will_stop = False


def _obey(bench: Bench) -> None:
    bench.stage.will_stop = True


PHASES: Mapping[str, Phase] = {
    "idle, light left on": Phase(lambda bench: bench.by_hand()),
    "moving": Phase(_moving),
    "exposing": Phase(_exposing),
    "mid-sequence": Phase(_sequence),
    "writing": Phase(_writing),
    "paused": Phase(_paused),
    "between plans": Phase(_between),
    "a call hangs": Phase(_hanging, _let_go, refuses="focus", is_slow=True),
    "an axis refuses": Phase(_refusing, _obey, refuses="xy_stage"),
}


# ---------------------------------------------------------------------- one round


def one_round(bench: Bench, phase: Phase) -> Found:
    """Bring the microscope into a phase, stop it, and see that it is safe and says so.

    Raises
    ------
    NotSafeError
        If it is not, or if the report names another device than the one that refuses.
    """
    phase.begin(bench)
    look = _Look(bench.world, without=phase.refuses)
    began = time.perf_counter()
    report = bench.http.post("stop", json={"reason": "benchmark"}).raise_for_status().json()
    answer_s = time.perf_counter() - began
    time.sleep(_QUIET_S)
    last_unsafe, found = look.end()
    phase.end(bench)
    _check(report, phase)
    _until(lambda: bench.layer.queue.running is None and not bench.world.x.is_moving)
    _until(lambda: _is_released(bench))
    if not found:
        raise NotSafeError(f"the twin is not safe after the stop: {report}")
    return Found(max(0.0, last_unsafe - began), answer_s)


class _Look:
    """Looks at the twin all the time, on a thread of its own."""

    def __init__(self, world: World, without: str | None) -> None:
        axes = {
            "xy_stage": (world.x, world.y),
            "focus": (world.focus,),
            "piezo_a": (world.piezos["A"],),
        }
        self._axes = [axis for name, own in axes.items() if name != without for axis in own]
        self._world = world
        self._is_over = threading.Event()
        self._safe_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="look")
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.is_set():
            if _is_lit(self._world) or any(axis.is_moving for axis in self._axes):
                self._safe_since = None
            elif self._safe_since is None:
                self._safe_since = time.perf_counter()
            time.sleep(_LOOK_S)

    def end(self) -> tuple[float, bool]:
        """Return since when it has been safe, and whether it is at all."""
        self._is_over.set()
        self._thread.join()
        return self._safe_since or 0.0, self._safe_since is not None


def _is_lit(world: World) -> bool:
    """Return whether light can get onto the sample: in a run it shines in pulses."""
    passage = world.light.passage
    shines = bool(passage.outputs) and world.scan.state == "Running"
    return world.lamp.is_on or passage.is_open or shines


def _check(report: dict[str, Any], phase: Phase) -> None:
    refused = [name for name, device in report["devices"].items() if not device["stopped"]]
    if refused != ([phase.refuses] if phase.refuses else []):
        raise NotSafeError(f"the report names {refused}, and not {phase.refuses}: {report}")


def _is_released(bench: Bench) -> bool:
    shutter = bench.layer.instrument.devices["shutter"]
    assert isinstance(shutter, Shutter)
    try:
        shutter.set("open").wait(_PATIENCE_S)
    except Exception:  # noqa: BLE001 - refused as long as the plan has not ended
        return False
    shutter.set("closed").wait(_PATIENCE_S)
    return True


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise NotSafeError("the microscope does not come to what is to be measured")
        time.sleep(0.001)


def _report(name: str, phase: Phase, found: list[Found]) -> None:
    safe = sorted(1e3 * one.safe_s for one in found)
    answer = sorted(1e3 * one.answer_s for one in found)
    print(
        f"{name:<24}{len(found):>7}{statistics.median(safe):>14.2f}{_p99(safe):>8.2f}"
        f"{statistics.median(answer):>16.2f}{_p99(answer):>9.2f}"
        + (f"   names {phase.refuses}" if phase.refuses else ""),
        flush=True,
    )


def _p99(ranked: list[float]) -> float:
    return ranked[min(len(ranked) - 1, int(0.99 * len(ranked)))]


# ---------------------------------------------------------------------- the device layer


@contextmanager
def bench_of(folder: Path, seed: int) -> Iterator[Bench]:
    """Start a device layer on the faulty twin, and its HTTP server, in this process."""
    key = os.environ["GENTLY_API_KEY"] = secrets.token_hex(16)
    settings = DeviceLayerSettings(config=str(_faulty_twin(folder)), storage=folder / "data")
    with (
        bind("127.0.0.1", 0) as listener,
        DeviceLayer(settings) as layer,
        _served(layer, listener),
        httpx2.Client(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}/api/",
            headers={"Authorization": f"ApiKey {key}"},
            timeout=_PATIENCE_S,
        ) as http,
    ):
        http.get("status").raise_for_status()
        parts = {label: _twin_part(layer, label) for label in layer.instrument.core.labels}
        hub, focus, stage = (parts[label] for label in ("TwinHub", "ZStage:Z:32", "XYStage:XY:31"))
        assert isinstance(hub, TwinHub)
        assert isinstance(focus, HangingFocus)
        assert isinstance(stage, StubbornStage)
        bench = Bench(layer, http, hub.world, focus, stage, random.Random(seed))
        with _slow_disk(bench):
            yield bench


def _faulty_twin(folder: Path) -> Path:
    """Return an instrument file of the twin with the devices of `benchmarks.faulty`."""
    source = load_instrument_file("twin").micromanager.config
    cfg = source.read_text(encoding="utf-8")
    for own, faulty in (("FocusDrive", "HangingFocus"), ("XYStage", "StubbornStage")):
        cfg = cfg.replace(f"devices.twin.stages,{own}", f"benchmarks.faulty,{faulty}")
    (folder / "twin.cfg").write_text(cfg, encoding="utf-8")
    path = folder / "faulty.yml"
    path.write_bytes(source.with_suffix(".yml").read_bytes())
    return path


def _twin_part(layer: DeviceLayer, label: str) -> object:
    return layer.instrument.core.ask(label, lambda mmc: mmc._pydevices[label])


@contextmanager
def _served(layer: DeviceLayer, listener: socket.socket) -> Iterator[None]:
    server = ApiServer(create_app(layer), layer.events, layer.console.lines)
    thread = threading.Thread(target=server.run, args=([listener],), name="http")
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def _slow_disk(bench: Bench) -> AbstractContextManager[object]:
    """Let every volume take its time at its end, when all frames have come and the light is off."""
    finish = VolumeWriter.finish

    def slowly(writer: VolumeWriter) -> VolumeRecord:
        bench.is_finishing.set()
        time.sleep(_SLOW_DISK_S)
        return finish(writer)

    return mock.patch.object(VolumeWriter, "finish", slowly)


if __name__ == "__main__":
    main()
