"""How true focus, calibration and the survey are, on the twin, which knows: a table over seeds.

The instrument file says 100 µm/deg and an offset of 0 for all; the truth is another for each seed.

``python -m benchmarks.focus --seeds 20``
"""

import argparse
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from devices import load_instrument_file
from devices.twin import Phantom, sheets
from gently.core.device_layer import DeviceLayer
from gently.core.items import Item
from gently.settings import DeviceLayerSettings

EMPTY_UM = (-1800.0, -1400.0)
POWER_PERCENT = 4.0
SAME_UM = 10.0


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
        run(layer, "move_stage", x_um=EMPTY_UM[0], y_um=EMPTY_UM[1])
        empty = run(layer, "calibrate_piezo_galvo", power_percent=POWER_PERCENT)
        empty_focus = run(layer, "focus", power_percent=POWER_PERCENT)
    slope, best_um = calibrated["slope_um_per_deg"], focused["best_um"]
    return {
        **found,
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
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = range(1, parser.parse_args().seeds + 1)
    names = ("seed", "focus off (µm)", "slope off (%)", "drift then (µm)", "empty field")
    print("|", " | ".join((*names, "recall", "false", "place off (µm)")), "|")
    print("|---|---|---|---|---|---|---|---|")
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(seed, Path(folder))
        off = [row[name] for name in ("focus_off_um", "slope_off_percent", "drift_um")]
        told = [f"{value:+.3f}" if value is not None else row["reason"] for value in off]
        told += [row["empty"], f"{row['recall']:.2f}", str(row["false"])]
        told += [f"{row['place_off_um']:.2f}"]
        print("|", " | ".join([str(seed), *told]), "|", flush=True)


if __name__ == "__main__":
    main()
