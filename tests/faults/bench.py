"""A whole device layer in this process, on the twin with a camera that can fail."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devices import load_instrument_file
from gently.core.device_layer import DeviceLayer
from gently.core.queue import Item, Result
from gently.settings import DeviceLayerSettings
from storage import VolumeRecord
from tests.faults.camera import FaultyCamera

CAMERA = "HamCam1"
SWEEP = {"num_slices": 12, "exposure_ms": 0.25, "step_um": 0.5}
AT_REST = {"num_slices": 12, "exposure_ms": 0.25, "step_um": 0.0}


@dataclass(frozen=True)
class Ended:
    """What became of an item."""

    state: str
    result: Result

    @property
    def why(self) -> str:
        return self.result.msg


@dataclass(frozen=True)
class Bench:
    """A device layer, and what a test wants to know of it."""

    layer: DeviceLayer

    @property
    def camera(self) -> FaultyCamera:
        found = self.layer.instrument.core.ask(CAMERA, lambda mmc: mmc._pydevices[CAMERA])
        assert isinstance(found, FaultyCamera)
        return found

    def acquire(self, **kwargs: Any) -> Ended:
        """Run one `acquire_volume` to its end."""
        item = Item(name="acquire_volume", kwargs=kwargs)
        self.layer.execute(item)
        assert self.layer.queue.wait_until_ended(item.item_uid, 60)
        ended = self.layer.queue.find(item.item_uid)
        assert ended.result is not None
        return Ended(str(ended.state), ended.result)

    def announced(self, kind: str = "volume.published") -> list[str]:
        """Return the UIDs of the volumes of which an event told."""
        return [event.data["uid"] for event in self.layer.events.after(0) if event.kind == kind]

    def names(self) -> Sequence[str]:
        """Return the names among the volumes, whatever they are."""
        return sorted(path.name for path in self.layer.store.volumes.iterdir())

    def assert_nothing_is_left(self) -> None:
        """Nothing is published, listed or reserved, and the light is off."""
        assert self.names() == []
        assert self.announced() == []
        assert self.layer.store.list() == []
        devices = self.layer.instrument.devices
        assert devices["shutter"].read()["shutter"]["value"] == "closed"
        assert devices["lasers"].read()["lasers"]["value"] == "off"
        assert devices["scanner_a"].read()["scanner_a_state"]["value"] == "Idle"

    def assert_the_next_works(self) -> VolumeRecord:
        """Acquire once more without a fault, and check what comes of it."""
        before = set(self.announced())
        self.camera.fault, self.camera.extra_frames = iter, 0
        ended = self.acquire(**SWEEP)
        assert ended.state == "completed", ended.why
        uid = ended.result.return_value["uid"]
        assert set(self.announced()) - before == {uid}
        record = self.layer.store.verify(uid)
        assert record.status == "complete"
        return record


@contextmanager
def booted(
    folder: Path, storage: Path, *, buffer_mb: int = 16, counts: bool = True
) -> Iterator[Bench]:
    """Boot the twin with the faulty camera.

    Parameters
    ----------
    counts
        Whether the instrument file says where the camera counts its frames itself.
    """
    source = load_instrument_file("twin").micromanager.config
    cfg = source.read_text(encoding="utf-8").replace(
        "HamCam1,devices.twin.camera,SpimCamera", "HamCam1,tests.faults.camera,FaultyCamera"
    )
    (folder / "twin.cfg").write_text(cfg, encoding="utf-8")
    yml = source.with_suffix(".yml").read_text(encoding="utf-8")
    yml = yml.replace("buffer_mb: 256", f"buffer_mb: {buffer_mb}")
    if not counts:
        yml = yml.replace("frame_counter: FrameNumber", "frame_counter: null")
    instrument = folder / "faulty.yml"
    instrument.write_text(yml, encoding="utf-8")
    with DeviceLayer(DeviceLayerSettings(config=str(instrument), storage=storage)) as layer:
        yield Bench(layer)
