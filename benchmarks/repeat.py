"""How near repeated volumes come to what exposure and readout allow, and what a change costs.

A device layer in this process, on the twin, whose frames come in the true time. Measured:

repeats
    a `burst` of the same volume, each published and proven, from its beginning to the last
    publication, beside volumes × slices × (exposure + readout)
alone
    the same volume again and again, each asked for by itself and made ready for anew
re-arming
    with the serial line of the rig (125 ms an exchange): how much longer a volume takes that is
    around another centre than one that is around the same, beside the exchanges of the properties
    that changed

Run: python -m benchmarks.repeat [--repeats 20] [--exposure-ms 5]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from devices import LightSheet, VolumeRequest
from devices.triggered import TriggeredSlicer
from gently.core.device_layer import DeviceLayer
from gently.core.items import Item
from gently.settings import DeviceLayerSettings

_SLICES = (25, 50, 100, 200)
_LINE_MS = 125
_WANTED = 0.95
_MOST = 1.5
_PATIENCE_S = 60.0
_ALONE = 4


def main() -> int:
    """Measure and print; return 1 if it is not as good as it has to be."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        settings = DeviceLayerSettings(config="twin", storage=Path(folder))
        with DeviceLayer(settings) as layer:
            bench = Bench(layer, options.exposure_ms, options.repeats)
            fractions = [bench.repeats(slices) for slices in _SLICES]
            cost = bench.rearming()
    return 0 if min(fractions) >= _WANTED and cost <= _MOST else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20, help="volumes of each size")
    parser.add_argument("--exposure-ms", type=float, default=5.0)
    options = parser.parse_args()
    if not 2 <= options.repeats <= 100:
        parser.error("2 to 100 repeats")
    return options


class Bench:
    """The light sheet of a device layer, and what it is asked for.

    Parameters
    ----------
    layer
        On the twin.
    exposure_ms, repeats
        Of each frame, and how often the same volume is taken.
    """

    def __init__(self, layer: DeviceLayer, exposure_ms: float, repeats: int) -> None:
        sheet = layer.instrument.devices["light_sheet"]
        assert isinstance(sheet, LightSheet)
        assert isinstance(sheet.slicer, TriggeredSlicer)
        self._layer = layer
        self._core = layer.instrument.core
        self._sheet, self._slicer = sheet, sheet.slicer
        self._exposure_ms = exposure_ms
        self._repeats = repeats

    def repeats(self, slices: int) -> float:
        """Print how fast a volume follows the one before; return the fraction of the limit."""
        self._take(slices, 0.0)  # which tells everything
        clock = self._slicer.views["a"].camera.clock()
        limit_s = slices * (self._exposure_ms + clock.readout_ms) / 1000
        alone_s = statistics.median(self._take(slices, 0.0) for _ in range(_ALONE))
        each_s = self._burst(slices) / self._repeats
        print(
            f"{slices:4d} slices: {1 / each_s:5.2f} volumes/s, {1000 * each_s:7.1f} ms each; "
            f"exposure and readout allow {1 / limit_s:5.2f}: {limit_s / each_s:.3f} (wanted: "
            f"{_WANTED:g}); alone {1000 * alone_s:.1f} ms: {limit_s / alone_s:.3f}"
        )
        return limit_s / each_s

    def _burst(self, slices: int) -> float:
        """Take volumes in a row as a plan, and return the seconds from the first to the last."""
        asked = {"num_volumes": self._repeats, "num_slices": slices, "step_um": 0.2}
        item = Item(name="burst", kwargs={**asked, "exposure_ms": self._exposure_ms})
        self._layer.execute(item)
        self._layer.queue.wait_until_ended(item.item_uid, _PATIENCE_S + self._repeats)
        ended = self._layer.queue.find(item.item_uid)
        if ended.result is None or ended.state != "completed":
            raise RuntimeError(f"the burst is {ended.state}: {ended.result and ended.result.msg}")
        found: dict[str, float] = ended.result.return_value
        return found["seconds"]

    def rearming(self) -> float:
        """Print what another centre costs; return it beside the exchanges that it needs."""
        self._core.ask(
            "TwinHub", lambda mmc: mmc.setProperty("TwinHub", "SerialLatencyMs", _LINE_MS)
        )
        self._take(25, 0.0)
        same_s = min(self._take(25, 0.0) for _ in range(3))
        other_s = min(self._take(25, 10.0 * (n + 1)) for n in range(3))
        changed = len(_CHANGED)
        cost = (other_s - same_s) / (changed * _LINE_MS / 1000)
        print(
            f"with {_LINE_MS} ms an exchange: {1000 * same_s:.0f} ms around the same centre, "
            f"{1000 * other_s:.0f} ms around another; {changed} properties changed: {cost:.2f} of "
            f"their time (wanted: at most {_MOST:g})"
        )
        return cost

    def _take(self, slices: int, center_um: float) -> float:
        """Take a volume until it is published, and return the seconds."""
        request = VolumeRequest(
            num_slices=slices, exposure_ms=self._exposure_ms, step_um=0.2, center_um=center_um
        )
        began = time.perf_counter()
        self._sheet.prepare(request).wait(_PATIENCE_S)
        self._sheet.trigger().wait(_PATIENCE_S)
        return time.perf_counter() - began


_CHANGED = ("SingleAxisYOffset(deg)", "SingleAxisOffset(um)")
"""What another centre changes: of the scanner, and of the piezo."""


if __name__ == "__main__":
    sys.exit(main())
