"""A whole device layer in this process, on the twin whose hardware can go wrong."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices import load_instrument_file
from devices.twin import TwinHub
from devices.twin.faults import Faults
from devices.twin.world import World
from gently.core.device_layer import DeviceLayer
from gently.core.queue import Item
from gently.settings import DeviceLayerSettings
from tests.faults.bench import Ended
from tests.waiting import PATIENCE_S

ANSWER_S = 0.6
"""For how long these device layers wait for an answer or a frame."""
SWEEP = {"num_slices": 12, "exposure_ms": 1, "step_um": 2, "center_um": 0}


@dataclass(frozen=True)
class Plan:
    """A plan and its arguments."""

    name: str
    kwargs: Mapping[str, Any]

    def item(self) -> Item:
        return Item(name=self.name, kwargs=dict(self.kwargs))


@dataclass(frozen=True)
class TwinBench:
    """A device layer on the twin, what is wrong with its hardware, and the truth."""

    layer: DeviceLayer
    hub: TwinHub

    @property
    def faults(self) -> Faults:
        found: Faults = self.hub.faults
        return found

    @property
    def world(self) -> World:
        found: World = self.hub.world
        return found

    def begin(self, plan: Plan) -> Item:
        item = plan.item()
        self.layer.execute(item)
        return item

    def ended(self, item: Item) -> Ended:
        """Wait for the end of an item, which has to come."""
        assert self.layer.queue.wait_until_ended(item.item_uid, PATIENCE_S), "it hangs"
        ended = self.layer.queue.find(item.item_uid)
        assert ended.result is not None
        return Ended(str(ended.state), ended.result)

    def run(self, plan: Plan) -> Ended:
        return self.ended(self.begin(plan))

    def value(self, device: str) -> Any:
        """Read a device back, and return the value that has its name."""
        return self.layer.instrument.devices[device].read()[device]["value"]

    @property
    def shines(self) -> bool:
        """Whether light falls on the sample in truth, whatever anything says of itself."""
        lit_ms = self.world.light.count().lit_ms
        time.sleep(0.01)
        return self.world.light.count().lit_ms != lit_ms or self.world.lamp.is_on

    @property
    def is_lit(self) -> bool:
        """Whether a volume or a picture is being taken."""
        return self.world.scan.state == "Running" or self.world.lamp.is_on

    def volumes(self) -> dict[str, str]:
        """Return what there is among the volumes, and what of it was announced as whole."""
        names = {path.name: "" for path in self.layer.store.volumes.iterdir()}
        told = {e.data["uid"]: e.kind for e in self.layer.events.after(0) if "volume." in e.kind}
        return names | told

    def run_ends(self, item: Item) -> list[str]:
        """Return how the runs of an item have ended."""
        told = [event.data for event in self.layer.events.after(0) if event.kind == "document"]
        mine = [data for data in told if data["item_uid"] == item.item_uid]
        return [data["doc"]["exit_status"] for data in mine if data["name"] == "stop"]

    def put_back(self) -> None:
        """Mend everything, and bring all axes to where they were at first."""
        self.faults.mend()
        self.hub.set_latency_ms(0)
        world, devices = self.world, self.layer.instrument.devices
        if world.x.position_um() or world.y.position_um():
            devices["xy_stage"].set((0, 0)).wait(PATIENCE_S)
        for name, found, place_um in (
            ("focus", world.focus, 150),
            ("f_drive", world.head, 100),
            ("piezo_a", world.piezos["A"], 0),
            ("piezo_b", world.piezos["B"], 0),
        ):
            if found.position_um() != place_um:
                devices[name].set(place_um).wait(PATIENCE_S)


@contextmanager
def booted_twin(folder: Path) -> Iterator[TwinBench]:
    """Boot the twin of a controller that is not waited for as long as the rig's."""
    source = load_instrument_file("twin").micromanager.config
    (folder / "twin.cfg").write_bytes(source.read_bytes())
    yml = source.with_suffix(".yml").read_text(encoding="utf-8")
    yml = yml.replace("buffer_mb: 256", f"buffer_mb: 64\n  timeout_s: {ANSWER_S}")
    for timeout_s in (120, 30, 10):
        yml = yml.replace(f"timeout_s: {timeout_s}", "timeout_s: 1.5")
    path = folder / "impatient.yml"
    path.write_text(yml, encoding="utf-8")
    settings = DeviceLayerSettings(config=str(path), storage=folder / "data")
    with DeviceLayer(settings) as layer:
        hub = layer.instrument.core.ask("TwinHub", lambda mmc: mmc._pydevices["TwinHub"])
        assert isinstance(hub, TwinHub)
        bench = TwinBench(layer, hub)
        yield bench
        bench.faults.mend()
