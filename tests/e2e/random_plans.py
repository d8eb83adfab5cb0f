"""Random plans on the twin: what passes preflight is refused by no limit, and takes its time.

Plans of the catalogue and sequences of them, valid and not, are preflighted, and those that
pass are run. The stages of the twin are made fast, so that thousands are feasible::

    python -m tests.e2e.random_plans --plans 10000
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import bluesky.plan_stubs as bps
from bluesky.utils import MsgGenerator
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from devices import FocusDrive, LightSheet, XYStage, built_in_instruments
from devices.twin.hub import TwinHub
from gently.core.catalogue import Catalogue
from gently.core.device_layer import DeviceLayer
from gently.core.errors import PlanRefusedError
from gently.core.lifecycle import ItemState
from gently.core.queue import Item
from gently.settings import DeviceLayerSettings
from plans import ALL_PLANS, acquire_volume, move_focus, move_stage, read_position, sleep, snap
from plans.parameters import inject

PATIENCE_S = 60
FAST = {
    "XYStage:XY:31": {
        "MotorSpeedX-S(mm/s)": 5,
        "MotorSpeedY-S(mm/s)": 5,
        "AccelerationX-AC(ms)": 10,
        "AccelerationY-AC(ms)": 10,
    },
    "ZStage:Z:32": {"MotorSpeed-S(mm/s)": 5, "Acceleration-AC(ms)": 10},
}

# ---------------------------------------------------------------------- a plan of plans


def itinerary(
    steps: list[dict[str, Any]],
    stage: XYStage = inject("xy_stage"),
    focus: FocusDrive = inject("focus"),
    piezo: FocusDrive = inject("piezo_a"),
    light_sheet: LightSheet = inject("light_sheet"),
) -> MsgGenerator[None]:
    """Do one thing after the other, some of them depending on where the microscope is."""
    drives = {"focus": focus, "piezo_a": piezo}

    def mirror() -> MsgGenerator[None]:
        at = yield from bps.read(stage)
        yield from bps.mv(stage, tuple(-reading["value"] for reading in at.values()))

    # With a volume no stage is read: the next step has to know where the drive is all the same.
    stubs: dict[str, Callable[..., MsgGenerator[Any]]] = {
        "move_stage": partial(move_stage, stage=stage),
        "move_focus": lambda z_um, drive: move_focus(z_um, drives[drive]),
        "shift": lambda by_um, drive: bps.mvr(drives[drive], by_um),
        "mirror": mirror,
        "both": lambda x_um, y_um, z_um: bps.mv(stage, (x_um, y_um), focus, z_um),
        "acquire_volume": partial(acquire_volume, light_sheet=light_sheet, stages=[]),
        "snap": partial(snap, light_sheet=light_sheet, stages=[stage]),
        "sleep": sleep,
        "read_position": partial(read_position, [stage, focus, piezo]),
    }
    for step in steps:
        yield from stubs[step["do"]](**{key: step[key] for key in step if key != "do"})


# ---------------------------------------------------------------------- strategies


def mostly(near: SearchStrategy[Any], far: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Draw from `near`, and once in a while from `far`."""
    return st.integers(0, 11).flatmap(lambda number: near if number else far)


def floats(low: float, high: float) -> SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False, allow_infinity=False)


X_UM = mostly(floats(-80, 80), floats(-2400, 1100))
Y_UM = mostly(floats(-80, 80), floats(-1800, 700))
FOCUS_UM = mostly(floats(120, 180), floats(30, 270))
PIEZO_UM = mostly(floats(-60, 60), floats(-230, 230))
QUARTERS_MS = st.integers(1, 20).map(lambda quarters: quarters / 4)  # as the controller counts
EXPOSURE_MS = mostly(QUARTERS_MS, st.sampled_from([0.05, 0.1, 20.0, 10_001.0]))
STAGE = st.fixed_dictionaries({"x_um": X_UM, "y_um": Y_UM})
DRIVE = st.one_of(
    st.fixed_dictionaries({"z_um": FOCUS_UM, "drive": st.just("focus")}),
    st.fixed_dictionaries({"z_um": PIEZO_UM, "drive": st.just("piezo_a")}),
)
VOLUME = st.fixed_dictionaries(
    {
        "num_slices": st.integers(1, 12),
        "exposure_ms": EXPOSURE_MS,
        "step_um": mostly(floats(0, 5), floats(0, 60)),
    },
    optional={
        "center_um": PIEZO_UM,
        "file_format": st.sampled_from(["ome-tiff", "ome-zarr"]),
        "on_short": st.sampled_from(["discard", "keep"]),
    },
)
SNAP = st.fixed_dictionaries({}, optional={"exposure_ms": EXPOSURE_MS})
SLEEP = st.fixed_dictionaries({"duration_s": floats(0, 0.2)})
NOTHING: SearchStrategy[dict[str, Any]] = st.just({})


def doing(what: str, kwargs: SearchStrategy[dict[str, Any]]) -> SearchStrategy[dict[str, Any]]:
    return kwargs.map(lambda given: {"do": what, **given})


STEP = st.one_of(
    doing("move_stage", STAGE),
    doing("move_focus", DRIVE),
    doing("mirror", NOTHING),
    doing("both", st.fixed_dictionaries({"x_um": X_UM, "y_um": Y_UM, "z_um": FOCUS_UM})),
    doing(
        "shift",
        st.fixed_dictionaries(
            {
                "drive": st.sampled_from(["focus", "piezo_a"]),
                "by_um": mostly(floats(-9, 9), PIEZO_UM),
            }
        ),
    ),
    doing("acquire_volume", VOLUME),
    doing("snap", SNAP),
    doing("sleep", SLEEP),
    doing("read_position", NOTHING),
)
WRONG_ITEMS: list[tuple[str, dict[str, Any]]] = [
    ("move_stage", {"x_um": 1.0}),
    ("move_stage", {"x_um": "1", "y_um": 2.0}),
    ("move_focus", {"z_um": float("nan")}),
    ("move_focus", {"z_um": 100.0, "drive": "xy_stage"}),
    ("acquire_volume", {"num_slices": 0}),
    ("acquire_volume", {"num_slices": 3, "colour": "red"}),
    ("sleep", {"duration_s": -1.0}),
    ("dance", {}),
    ("itinerary", {"steps": [{"do": "sleep", "duration_s": "long"}]}),
    ("itinerary", {"steps": [{"x_um": 0.0}]}),
]


def called(name: str, kwargs: SearchStrategy[dict[str, Any]]) -> SearchStrategy[Item]:
    return kwargs.map(lambda given: Item(name=name, kwargs=given))


ITEMS = st.one_of(
    called("move_stage", STAGE),
    called("move_focus", DRIVE),
    called("acquire_volume", VOLUME),
    called("acquire_volume", VOLUME),
    called("snap", SNAP),
    called("sleep", SLEEP),
    called("read_position", NOTHING),
    called("itinerary", st.fixed_dictionaries({"steps": st.lists(STEP, min_size=1, max_size=6)})),
    called("itinerary", st.fixed_dictionaries({"steps": st.lists(STEP, min_size=1, max_size=6)})),
    st.sampled_from(WRONG_ITEMS).map(lambda pair: Item(name=pair[0], kwargs=pair[1])),
)


# ---------------------------------------------------------------------- running them


@dataclass
class Figures:
    """What came of all plans."""

    states: Counter[str] = field(default_factory=Counter)
    errors: dict[str, list[float]] = field(default_factory=dict)
    """Of the estimate, each as a part of the time taken, by plan; negative if too short."""
    took_s: dict[str, list[float]] = field(default_factory=dict)
    light: list[float] = field(default_factory=list)
    """Estimated illumination as a part of what the gate has counted."""
    preflight_ms: list[float] = field(default_factory=list)

    def message(self) -> dict[str, Any]:
        """Return them as they are printed."""
        return {
            "plans": self.states.total(),
            **self.states,
            "median_error_of_time": _median(abs(e) for all_ in self.errors.values() for e in all_),
            "by_plan": {
                name: {
                    "plans": len(errors),
                    "median_error": _median(map(abs, errors)),
                    "median_too_long": _median(errors),
                    "median_s": _median(self.took_s[name]),
                }
                for name, errors in sorted(self.errors.items())
            },
            "median_light_estimated_by_measured": _median(self.light),
            "median_preflight_ms": _median(self.preflight_ms),
        }


def _median(numbers: Iterable[float]) -> float | None:
    found = list(numbers)
    return round(median(found), 4) if found else None


class Track:
    """A device layer on which random plans run, one after the other."""

    def __init__(self, layer: DeviceLayer) -> None:
        self._layer = layer
        self.figures = Figures()

    def run(self, item: Item) -> None:
        """Preflight an item, and run it if it passes; raises AssertionError if that was wrong."""
        item = item.again()
        began = time.perf_counter()
        report = self._layer.preflight(item)
        self.figures.preflight_ms.append(1000 * (time.perf_counter() - began))
        if not report.ok:
            assert report.refusals
            self._see_it_refused(item)
            return
        lit_ms = self._lit_ms()
        self._layer.execute(item)
        ended = self._ended(item)
        self.figures.states[str(ended.state)] += 1
        assert ended.result is not None
        assert ended.state is ItemState.COMPLETED, (
            f"{ended.name} {dict(ended.kwargs)} passed, and then: {ended.result.msg}"
        )
        self._compare(ended, report.seconds, report.light_ms, self._lit_ms() - lit_ms)
        self._clear()

    def _see_it_refused(self, item: Item) -> None:
        try:
            self._layer.execute(item)
        except PlanRefusedError:
            self.figures.states["refused"] += 1
            return
        # The quick look before it was accepted has not come so far, as on a busy machine.
        ended = self._ended(item)
        assert ended.result is not None
        assert ended.state is ItemState.FAILED, f"{item.name} was refused by the preflight, and ran"
        assert f"{item.name} was refused: " in ended.result.msg
        self.figures.states["refused before it ran"] += 1

    def _ended(self, item: Item) -> Item:
        assert self._layer.queue.wait_until_ended(item.item_uid, PATIENCE_S), "it does not end"
        return self._layer.queue.find(item.item_uid)

    def _compare(self, item: Item, seconds: float, light_ms: float, lit_ms: float) -> None:
        assert item.result is not None
        assert item.time_start is not None
        took_s = item.result.time_stop - item.time_start
        self.figures.errors.setdefault(item.name, []).append(seconds / took_s - 1)
        self.figures.took_s.setdefault(item.name, []).append(took_s)
        if light_ms:
            self.figures.light.append(light_ms / lit_ms)

    def _lit_ms(self) -> float:
        core = self._layer.instrument.core
        hub: TwinHub = core.ask("TwinHub", lambda mmc: mmc._pydevices["TwinHub"])
        counted = hub.world.light.count()
        return counted.open_ms + sum(counted.lit_ms.values())

    def _clear(self) -> None:
        for record in self._layer.store.list():
            self._layer.store.trash(record.uid, reason="it was seen", by="random plans")
        self._layer.store.empty_trash(timedelta(0))


@contextmanager
def track(folder: Path) -> Iterator[Track]:
    """Give a twin with fast stages."""
    cfg, yml = (built_in_instruments()["twin"].with_suffix(end) for end in (".cfg", ".yml"))
    fast = "".join(
        f"#py Property,{label},{name},{value}\n"
        for label, properties in FAST.items()
        for name, value in properties.items()
    )
    (folder / "fast.cfg").write_text(cfg.read_text("utf-8") + fast, encoding="utf-8")
    text = yml.read_text("utf-8").replace("twin.cfg", "fast.cfg")
    (folder / "fast.yml").write_text(text, encoding="utf-8")
    chosen = DeviceLayerSettings(config=str(folder / "fast.yml"), storage=folder / "storage")
    with DeviceLayer(chosen) as layer:
        layer.catalogue = Catalogue((*ALL_PLANS, itinerary), layer.instrument.devices)
        yield Track(layer)


def run(folder: Path, plans: int, seed_number: int) -> Figures:
    """Run so many random plans, and return what came of them."""
    with track(folder) as on:

        @seed(seed_number)
        @settings(
            max_examples=plans,
            deadline=None,
            database=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(ITEMS)
        def each(item: Item) -> None:
            on.run(item)
            total = sum(on.figures.states.values())
            if total % 500 == 0:
                sys.stderr.write(f"{total} plans: {json.dumps(on.figures.message())}\n")

        each()
        return on.figures


def main() -> None:
    """Run them, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.disable(logging.INFO)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        figures = run(Path(folder), arguments.plans, arguments.seed)
    sys.stdout.write(json.dumps({**figures.message(), "seconds": time.monotonic() - began}) + "\n")


if __name__ == "__main__":
    main()
