"""Kill the device layer at random moments, and see that its store tells the truth afterwards.

Each round starts the real script on one and the same storage, queues acquisitions, kills the
process without warning while they run, and sometimes deletes or spoils the index. Then, and again
after the next start:

- what was announced as published is there, and verifies against its checksums;
- what is there is good: nothing torn has a final name, nothing good is missing from the list;
- nothing is left of what was under way: no part files, no reserved space.

A killed process leaves the page cache behind, a power cut does not: what that would take is
shown elsewhere, by the order of sync and rename.

Run: python -m tests.e2e.crash [--rounds 200] [--seed N] [--storage DIR] [--limit-s 1200]
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from storage import StorageError, VolumeStore
from tests.e2e.conftest import Script, free_port, start

_LATEST_KILL_S = 0.8
_QUEUED = 20
"""More than a process lives to take."""

_KEPT: tuple[dict[str, JsonValue], ...] = (
    {"file_format": "ome-tiff"},
    {"file_format": "ome-zarr"},
    {"file_format": "ome-zarr", "compression": "blosc-lz4"},
)

_MOST = 10_000
"""As many volumes as a device layer lists at once."""

_FAST_CFG = """\
Property,Core,Initialize,0
Device,Camera,DemoCamera,DCam
Device,Z,DemoCamera,DStage
Device,Shutter,DemoCamera,DShutter
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Core,AutoShutter,0
Property,Camera,PixelType,16bit
Property,Camera,OnCameraCCDXSize,128
Property,Camera,OnCameraCCDYSize,128
"""
_FAST_YML = """\
name: small_demo
micromanager: {config: small_demo.cfg, buffer_mb: 16}
devices:
  focus: {kind: focus_drive, label: Z, limits_um: [-200, 200]}
  shutter: {kind: shutter, label: Shutter}
  camera:
    kind: camera
    label: Camera
    pixel_size_um: 0.1625
    exposure_limits_ms: [0.1, 10000]
    frames_differ: false
  light_sheet:
    {kind: light_sheet, camera: camera, slice_drive: focus, shutter: shutter}
"""


class LostTruthError(AssertionError):
    """The store said something after a crash that is not so."""


@dataclass
class Tally:
    """What the rounds have come to.

    Attributes
    ----------
    in_mid_volume
        Kills that left a part file behind: a volume was being written.
    volumes, announced
        Good volumes at the end, and those of which an event had told.
    unannounced
        Whole volumes whose announcement was lost with the process.
    """

    kills: int = 0
    in_mid_volume: int = 0
    volumes: int = 0
    announced: int = 0
    unannounced: int = 0
    indexes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_SPOILERS, 0))

    def __str__(self) -> str:
        indexes = ", ".join(f"{count} {what}" for what, count in self.indexes.items())
        return (
            f"{self.kills} kills, {self.in_mid_volume} of them in mid-volume; "
            f"{self.volumes} good volumes, {self.announced} announced, {self.unannounced} whose "
            f"announcement died with the process; index {indexes}"
        )


def run(folder: Path, rounds: int, seed: int, limit_s: float) -> Tally:
    """Crash until `rounds` volumes were killed half-way, or until the time is over.

    Raises
    ------
    LostTruthError
        At the first thing that the store says and is not so.
    """
    chance = random.Random(seed)
    deadline = time.monotonic() + limit_s
    tally, known = Tally(), set[str]()
    instruments = ("twin", small_demo(folder))
    storage = folder / "data"
    while tally.in_mid_volume < rounds and time.monotonic() < deadline:
        with _device_layer(instruments[tally.kills % 2], storage, folder / "log") as layer:
            _expect_same(layer, storage, known)
            announced = _acquire_and_kill(layer, chance)
        tally.kills += 1
        tally.in_mid_volume += bool(_parts(storage))
        good = known | _whole(storage, known)
        if lost := announced - good:
            raise LostTruthError(f"announced, and not there: {sorted(lost)}")
        tally.announced += len(announced)
        tally.unannounced += len(good - known - announced)
        known = good
        what = chance.choice(list(_SPOILERS))
        tally.indexes[what] += 1
        _SPOILERS[what](storage, chance)
    with _device_layer(instruments[0], storage, folder / "log") as layer:
        _expect_same(layer, storage, known)
        layer.end()
    if (again := _whole(storage, set())) != known:
        raise LostTruthError(f"at the end {sorted(again ^ known)} have come or gone")
    tally.volumes = len(known)
    return tally


# ---------------------------------------------------------------- one round


def _acquire_and_kill(layer: Script, chance: random.Random) -> set[str]:
    """Let it acquire for a random time; return the UIDs that it told of before it died."""
    announced: set[str] = set()
    with layer.client() as client, client.events(after=0, kinds=["volume.published"]) as events:

        def listen() -> None:
            for event in events:
                announced.add(str(event.data["uid"]))

        listener = threading.Thread(target=listen, name="listener")
        listener.start()
        try:
            for _ in range(_QUEUED - len(client.queue().items)):  # the last life's are still there
                client.enqueue(client.plans().acquire_volume(**_request(chance)))
            client.start_queue()
            time.sleep(chance.uniform(0, _LATEST_KILL_S))
        finally:
            layer.kill()
            events.close()
            listener.join()
    return announced


def _request(chance: random.Random) -> dict[str, JsonValue]:
    return {
        "num_slices": chance.randint(1, 12),
        "exposure_ms": 0.25,
        "step_um": chance.choice([0.0, 0.25]),
        **chance.choice(_KEPT),
    }


def _expect_same(layer: Script, storage: Path, known: set[str]) -> None:
    """Match what a fresh device layer lists and has left on the disk with what is known."""
    with layer.client() as client:
        listed = {volume.uid for volume in client.volumes(limit=_MOST)}
    if listed != known:
        raise LostTruthError(f"after the start {sorted(listed ^ known)} have come or gone")
    if left := [path.name for path in _named(storage) if _uid(path) not in known]:
        raise LostTruthError(f"after the start there is still {left}")
    if parts := [path.name for path in _parts(storage)]:
        raise LostTruthError(f"after the start space is still reserved by {parts}")


def _whole(storage: Path, known: set[str]) -> set[str]:
    """Verify, pixel by pixel, whatever has a final name and is not known; return the UIDs."""
    with VolumeStore(storage) as store:
        fresh = {_uid(path) for path in _named(storage)} - known
        for uid in fresh:
            try:
                record = store.verify(uid)
            except StorageError as error:
                raise LostTruthError(f"a torn file has a final name: {error}") from error
            if record.status != "complete":
                raise LostTruthError(f"{uid} is {record.status}, and nothing had failed")
    return fresh


def _parts(storage: Path) -> list[Path]:
    return sorted((storage / "volumes").glob("*.part"))


def _named(storage: Path) -> list[Path]:
    """Return whatever has a final name."""
    return sorted({*(storage / "volumes").iterdir()} - {*_parts(storage)})


def _uid(path: Path) -> str:
    return path.name.partition(".")[0]


# ---------------------------------------------------------------- what else goes wrong


def _index(storage: Path) -> list[Path]:
    return sorted(storage.glob("index.sqlite*"))


def _delete(storage: Path, _: random.Random) -> None:
    for path in _index(storage):
        path.unlink()


def _delete_one(storage: Path, chance: random.Random) -> None:
    if files := _index(storage):
        chance.choice(files).unlink()


def _spoil(storage: Path, chance: random.Random) -> None:
    if files := _index(storage):
        path = chance.choice(files)
        content = bytearray(path.read_bytes())
        if content:
            place = chance.randrange(len(content))
            content[place : place + 100] = chance.randbytes(100)
        path.write_bytes(content[: chance.randint(0, len(content))])


_SPOILERS: dict[str, Callable[[Path, random.Random], None]] = {
    "left alone": lambda *_: None,
    "deleted": _delete,
    "deleted in part": _delete_one,
    "spoiled": _spoil,
}


# ---------------------------------------------------------------- the process


@contextmanager
def _device_layer(config: str, storage: Path, log: Path) -> Iterator[Script]:
    port = free_port()
    arguments = ["--config", config, "--storage", str(storage), "--port", str(port)]
    layer = start("start_device_layer.py", arguments, log, f"http://127.0.0.1:{port}")
    try:
        layer.wait_until_it_says("listening on")
        yield layer
    finally:
        layer.kill()


def small_demo(folder: Path) -> str:
    """Write an instrument file whose frames are small, and return its path."""
    (folder / "small_demo.cfg").write_text(_FAST_CFG, encoding="utf-8")
    path = folder / "small_demo.yml"
    path.write_text(_FAST_YML, encoding="utf-8")
    return str(path)


def main() -> int:
    """Crash as the command line says, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200, help="how many volumes to kill half-way")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--storage", type=Path, help="where to work; by default a temporary folder")
    parser.add_argument("--limit-s", type=float, default=1200)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.storage) as folder:
        try:
            tally = run(Path(folder), options.rounds, options.seed, options.limit_s)
        except LostTruthError as error:
            print(f"seed {options.seed}: {error}", file=sys.stderr)
            return 1
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s: {tally}")
    return 0 if tally.in_mid_volume == options.rounds else 1


if __name__ == "__main__":
    sys.exit(main())
