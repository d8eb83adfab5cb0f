"""How long a volume takes from its submission to its published and synced file.

Starts the real device layer as a process, with Micro-Manager's demo camera in its fast
mode, and acquires over HTTP. Beside it, in the same run and on the same disk:

(a) raw: the same bytes written to a preallocated file, in order, and synced
(b) camera: the camera's own time, the same number of frames into MMCore's ring, read by nobody

With --others, the same frames from memory by other writers (needs acquire-zarr for one).

Run: python -m benchmarks.volume [--slices 200] [--exposure-ms 0.1 10] [--runs 5] [--others]
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mm_test_adapters
import numpy as np
import psutil
from pymmcore_plus import CMMCorePlus

from benchmarks.processes import Peak, free_port, resident_mib, started
from benchmarks.ways import WAYS, json_seconds
from gently.client import DeviceLayerClient
from gently.wire import Volume

_HERE = Path(__file__).parent
_FRAME = (2048, 2048)


@dataclass(frozen=True)
class Measured:
    """The seconds of one way, over all runs."""

    name: str
    seconds: list[float]

    @property
    def median(self) -> float:
        """The median, in seconds."""
        return statistics.median(self.seconds)


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.storage) as folder:
        for exposure_ms in options.exposure_ms:
            _measure(Path(folder), options.slices, exposure_ms, options.runs)
        if options.others:
            _compare(Path(folder), options.slices, options.runs)


def _measure(folder: Path, slices: int, exposure_ms: float, runs: int) -> None:
    size = slices * _FRAME[0] * _FRAME[1] * 2
    print(
        f"\n{slices} × {_FRAME[0]} × {_FRAME[1]} uint16 = {size / 1e9:.2f} GB, "
        f"exposure {exposure_ms:g} ms, {runs} runs"
    )
    camera = Measured("camera alone", [_camera(slices, exposure_ms) for _ in range(runs)])
    raw: list[float] = []
    ours: list[float] = []
    volumes: list[dict[str, Any]] = []
    with _device_layer(folder) as (client, process):
        idle_mib = resident_mib(process)
        with Peak(process) as peak:
            # Taken in turn, so that a slow minute of the disk is shared.
            for _ in range(runs):
                raw.append(_raw(folder / "raw.bin", slices))
                seconds, volume = _acquire(client, folder, slices, exposure_ms)
                ours.append(seconds)
                volumes.append(volume.metadata())
    measured = [Measured("raw writes + fsync", raw), camera, Measured("gently", ours)]
    for way in measured:
        print(
            f"  {way.name:<20} {way.median:7.3f} s  (min {min(way.seconds):.3f}, "
            f"max {max(way.seconds):.3f}), {size / way.median / 1e9:5.2f} GB/s, "
            f"{slices / way.median:6.1f} frames/s"
        )
    mine = measured[-1].median
    print(f"  gently / raw    {mine / measured[0].median:.3f}")
    print(f"  gently / camera {mine / camera.median:.3f}")
    waited = [volume["back_pressure_s"] for volume in volumes]
    print(
        f"  frames {min(volume['frames'] for volume in volumes)} of {slices} in every run; "
        f"waited for the disk {statistics.median(waited):.3f} s (max {max(waited):.3f})"
    )
    print(f"  peak memory above idle {peak.mib - idle_mib:.0f} MiB (idle {idle_mib:.0f} MiB)")


def _compare(folder: Path, slices: int, runs: int) -> None:
    """Measure the other ways to write the same frames, without a camera."""
    shape = (slices, *_FRAME)
    pool = np.random.default_rng(0).integers(0, 65535, (4, *_FRAME), dtype=np.uint16)
    print(f"\n{slices} frames from memory to the synced file, {runs} runs in turn")
    taken: dict[str, list[float]] = {"raw writes + fsync": [], **{name: [] for name in WAYS}}
    for _ in range(runs):
        taken["raw writes + fsync"].append(_raw(folder / "raw.bin", slices))
        for name, way in WAYS.items():
            room = folder / "way"
            room.mkdir()
            began = time.perf_counter()
            try:
                way(room / "volume.tif", shape, lambda: (pool[i % 4] for i in range(slices)))
            except ImportError as error:
                print(f"  {name:<20} left out: {error}")
                taken.pop(name)
            else:
                taken[name].append(time.perf_counter() - began)
            shutil.rmtree(room)
    raw = statistics.median(taken["raw writes + fsync"])
    for name, seconds in taken.items():
        way_s = statistics.median(seconds)
        print(f"  {name:<20} {way_s:8.3f} s  {way_s / raw:6.2f} × raw")
    json_s = json_seconds(shape)
    print(f"  {'JSON lists':<20} {json_s:8.0f} s  {json_s / raw:6.0f} × raw (from a small sample)")


def _camera(slices: int, exposure_ms: float) -> float:
    """Return the time in which the camera fills MMCore's ring, read by nobody."""
    folder = mm_test_adapters.device_adapter_path()
    mmc = CMMCorePlus(mm_path=folder, adapter_paths=[folder])
    try:
        mmc.loadSystemConfiguration(str(_HERE / "fast_demo.cfg"))
        mmc.setExposure(exposure_ms)
        mmc.initializeCircularBuffer()
        began = time.perf_counter()
        mmc.startSequenceAcquisition(slices, 0, False)  # noqa: FBT003 - overwrite the oldest
        while mmc.isSequenceRunning():
            time.sleep(0.0005)
        return time.perf_counter() - began
    finally:
        super(CMMCorePlus, mmc).registerCallback(None)
        mmc.unloadAllDevices()


def _raw(path: Path, slices: int) -> float:
    """Return the time of writing the bytes as fast as plain system calls do."""
    frame = np.random.default_rng(0).integers(0, 65535, _FRAME, dtype=np.uint16)
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, slices * frame.nbytes)
        for _ in range(slices):
            file.write(frame.data)
        os.fsync(file.fileno())
    seconds = time.perf_counter() - began
    path.unlink()
    return seconds


def _acquire(
    client: DeviceLayerClient, folder: Path, slices: int, exposure_ms: float
) -> tuple[float, Volume]:
    """Return the time from the submission to the end of the item, by the one clock of both."""
    began = time.time()
    item = client.execute(
        client.plans().acquire_volume(num_slices=slices, exposure_ms=exposure_ms, step_um=0)
    )
    ended = client.wait(item.item_uid)
    if ended.result is None or ended.result.time_stop is None or ended.state != "completed":
        raise SystemExit(f"the volume was not taken: {ended}")
    (volume,) = client.volumes(limit=1)
    for path in (folder / "volumes").iterdir():
        path.unlink()
    return ended.result.time_stop - began, volume


@contextmanager
def _device_layer(folder: Path) -> Iterator[tuple[DeviceLayerClient, psutil.Process]]:
    """Start the real script and give a client of it."""
    port = free_port()
    command = ["start_device_layer.py", "--config", str(_HERE / "fast_demo.yml")]
    command += ["--port", str(port), "--storage", str(folder)]
    with (
        started(command, says="listening on", log=folder / "device-layer.log") as process,
        DeviceLayerClient(f"http://127.0.0.1:{port}") as client,
    ):
        yield client, process


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--exposure-ms", type=float, nargs="+", default=[0.1, 3.55, 5.6, 10.0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--others", action="store_true", help="compare other writers as well")
    parser.add_argument("--storage", type=Path, help="where to write (default: the system's)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
