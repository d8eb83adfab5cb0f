"""How true focus, calibration, survey and an acquired embryo are, on the twin: a table over seeds.

The instrument file says 100 µm/deg and an offset of 0 for all; the truth is another for each seed.

``python -m benchmarks.focus --seeds 20``
"""

import argparse
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from devices import LightSheet, load_instrument_file
from devices.twin import Phantom, sheets
from gently.core.device_layer import DeviceLayer
from gently.core.items import Item
from gently.settings import DeviceLayerSettings

EMPTY_UM = (-1800.0, -1400.0)
POWER_PERCENT = 4.0
SAME_UM = 10.0
FOCUS_UM = 150.0
DRIFT_UM = 3.0
"""Of the sheet, between its calibration and the volume."""


@contextmanager
def twin(seed: int, folder: Path) -> Iterator[DeviceLayer]:
    """Start a device layer on the twin of a seed, with a calibration that is not its own."""
    built_in = load_instrument_file("twin").micromanager.config
    said = yaml.safe_load(built_in.with_name("twin.yml").read_text(encoding="utf-8"))
    lines = built_in.read_text(encoding="utf-8").splitlines()
    config = [f"#py Property,TwinHub,Seed,{seed}" if ",Seed," in line else line for line in lines]
    (folder / "twin.cfg").write_text("\n".join(config), encoding="utf-8")
    for view in said["devices"]["light_sheet"]["views"].values():
        view |= {"slope_um_per_deg": 100, "offset_um": 0}
    (folder / "twin.yml").write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    settings = DeviceLayerSettings(config=str(folder / "twin.yml"), storage=folder / "data")
    with DeviceLayer(settings) as layer:
        yield layer


def run(layer: DeviceLayer, name: str, **kwargs: Any) -> dict[str, Any]:
    """Run a plan to its end, and return what it returns."""
    item = Item(name=name, kwargs=kwargs)
    layer.execute(item)
    layer.queue.wait_until_ended(item.item_uid, 300)
    ended = layer.queue.find(item.item_uid)
    if ended.result is None or ended.result.return_value is None:
        raise RuntimeError(f"{name}: {ended.state} {ended.result.msg if ended.result else ''}")
    found: dict[str, Any] = ended.result.return_value
    return found


def measure(seed: int, folder: Path) -> dict[str, Any]:
    """Return how far off focus and calibration are on the twin of a seed."""
    truth = sheets(seed)["A"]
    x_um, y_um, _ = Phantom(seed).embryos[0].centre_um
    with twin(seed, folder) as layer:
        found = survey(layer, seed)
        run(layer, "move_stage", x_um=x_um, y_um=y_um)
        focused = run(layer, "focus", power_percent=POWER_PERCENT, step_um=2.5)
        run(layer, "move_focus", z_um=0.0, drive="piezo_a")  # the middle of the embryo again
        calibrated = run(layer, "calibrate_piezo_galvo", power_percent=POWER_PERCENT)
        again = run(layer, "calibrate_piezo_galvo", power_percent=POWER_PERCENT, purpose="check")
        acquired = acquire(layer, seed, found["objects"])
        run(layer, "move_stage", x_um=EMPTY_UM[0], y_um=EMPTY_UM[1])
        empty = run(layer, "calibrate_piezo_galvo", power_percent=POWER_PERCENT)
        empty_focus = run(layer, "focus", power_percent=POWER_PERCENT)
    slope, best_um = calibrated["slope_um_per_deg"], focused["best_um"]
    return {
        **found,
        **acquired,
        "seed": seed,
        "focus_off_um": None if best_um is None else best_um - truth.sheet_um(0.0),
        "quality": focused["quality"],
        "slope_off_percent": None if slope is None else 100 * (slope / truth.slope_um_per_deg - 1),
        "drift_um": again["drift_um"],
        "empty": f"{empty['quality']}/{empty_focus['quality']}",
        "reason": calibrated["reason"],
    }


def survey(layer: DeviceLayer, seed: int) -> dict[str, Any]:
    """Return how many embryos are found by the camera below, and how far off."""
    found = run(layer, "find_embryos", light_sheet="bottom", width_um=1400.0, height_um=600.0)
    places = [(one["x_um"], one["y_um"]) for one in found["objects"]]
    truth = [embryo.centre_um[:2] for embryo in Phantom(seed).embryos]
    off_um = [min((math.dist(place, true) for place in places), default=1e9) for true in truth]
    hits = [um for um in off_um if um <= SAME_UM]
    return {
        "recall": len(hits) / len(truth),
        "false": len(places) - len(hits),
        "place_off_um": max(hits, default=0.0),
        "objects": found["objects"],
    }


def acquire(layer: DeviceLayer, seed: int, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how far the middle of a volume is from that of its embryo, along x, y and z.

    The embryo is one that the camera below has found, of those the one that is furthest from the
    height of the stage; and the sheet has drifted since it was calibrated.
    """
    true = max(
        (embryo.centre_um for embryo in Phantom(seed).embryos),
        key=lambda centre: abs(centre[2] - FOCUS_UM),
    )
    one = min(found, key=lambda one: math.dist((one["x_um"], one["y_um"]), true[:2]))
    sheet = layer.instrument.devices["light_sheet"]
    assert isinstance(sheet, LightSheet)
    used = sheet.calibration("a")
    sheet.calibrate("a", replace(used, offset_um=used.offset_um + DRIFT_UM))
    embryo = {"name": one["name"], "x_um": one["x_um"], "y_um": one["y_um"]}
    taken = run(layer, "acquire_embryo", embryo=embryo, power_percent=POWER_PERCENT)
    if taken["volume"] is None:
        return {"centre_off_um": None, "sheet_off_um": None}
    at_um = middle_um(layer, taken["volume"]["uid"])
    truth = sheets(seed)["A"]
    now = sheet.calibration("a")
    return {
        "centre_off_um": tuple(a - b for a, b in zip(at_um, true, strict=True)),
        "sheet_off_um": truth.sheet_um(now.deg(0.0)),
    }


def middle_um(layer: DeviceLayer, uid: str) -> tuple[float, float, float]:
    """Return where the middle of a volume is on the stage, by what the volume says itself."""
    spec = layer.store.record(uid).spec
    affine = np.array(spec.metadata["to_stage_um"])
    x, y, z = affine @ [*((size - 1) / 2 for size in spec.shape), 1]
    return float(x), float(y), float(z)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(1, parser.parse_args().seeds + 1)
    names = ("seed", "focus off (µm)", "slope off (%)", "drift then (µm)", "empty field")
    more = ("recall", "false", "place off (µm)", "centre off (x, y, z; µm)", "sheet off (µm)")
    print("|", " | ".join((*names, *more)), "|")
    print("|---|---|---|---|---|---|---|---|---|---|")
    centres = []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(seed, Path(folder))
        off = [row[name] for name in ("focus_off_um", "slope_off_percent", "drift_um")]
        told = [f"{value:+.3f}" if value is not None else row["reason"] for value in off]
        told += [row["empty"], f"{row['recall']:.2f}", str(row["false"])]
        told += [f"{row['place_off_um']:.2f}", *_acquired(row)]
        print("|", " | ".join([str(seed), *told]), "|", flush=True)
        centres.append(row["centre_off_um"])
    away = np.abs([centre or (math.inf,) * 3 for centre in centres])
    worst, median = away.max(axis=0), np.median(away, axis=0)
    print("centre off, worst:", worst.round(2), "median:", median.round(2))


def _acquired(row: dict[str, Any]) -> list[str]:
    if row["centre_off_um"] is None:
        return ["none taken", ""]
    return [", ".join(f"{um:+.2f}" for um in row["centre_off_um"]), f"{row['sheet_off_um']:+.3f}"]


if __name__ == "__main__":
    main()
