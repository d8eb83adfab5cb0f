"""How quickly a volume is read by its UID over HTTP, and what a projection of it takes.

Starts the real page server (launch_copilot.py, with no device layer) on one volume in a temporary
store. Beside it, in the same run and of the same bytes:

(a) mapped: the slice copied from the mapped file, in this process
(b) plain: the bytes of a slice, sent by Python's own http.server from a file in memory
(c) in this process: the three projections computed from the mapped file

Every slice is asked for once. Cold: the operating system was told to drop the volume's file from
its memory before (where it can be told).

Run: python -m benchmarks.reading [--slices 200] [--runs 9] [--folder DIR]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from psutil import Process

from benchmarks.processes import Peak, free_port, resident_mib, started
from gently.visualization.projections import project
from storage import FrameInfo, VolumeRecord, VolumeSpec, VolumeStore, new_uid

_SIDE = 2048
_TILE = 1024
_SLICE_BYTES = _SIDE * _SIDE * 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's)")
    options = parser.parse_args()
    if options.slices <= 2 * options.runs:
        parser.error(f"{options.runs} runs need {2 * options.runs + 1} slices: each is read once")
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        VolumeStore(Path(folder)) as store,
    ):
        record = _written(store, options.slices)
        port, plain_port = free_port(), free_port()
        (Path(folder) / "plain").mkdir()
        (Path(folder) / "plain" / "slice").write_bytes(bytes(_SLICE_BYTES))
        plain = ["-m", "http.server", str(plain_port), "--bind", "127.0.0.1"]
        ours = ["launch_copilot.py", "--storage", folder, "--viz-port", str(port)]
        ours += ["--url", f"http://127.0.0.1:{free_port()}"]
        with (
            started(
                [*plain, "--directory", str(Path(folder) / "plain")],
                says="Serving HTTP",
                log=Path(folder) / "plain.log",
            ),
            started(ours, says="page: http", log=Path(folder) / "page.log") as server,
        ):
            print(f"{record.shape} uint16 = {record.spec.volume_bytes / 1e9:.2f} GB")
            _check(port, store, record)
            _slices(port, plain_port, store, record, options.runs)
            _projection(port, server, store, record)


def _written(store: VolumeStore, slices: int) -> VolumeRecord:
    spec = VolumeSpec(
        uid=new_uid(),
        shape=(slices, _SIDE, _SIDE),
        dtype="uint16",
        pixel_size_um=0.1625,
        step_um=0.5,
        exposure_ms=5,
    )
    noise = np.random.default_rng(0).integers(0, 65535, (_SIDE, _SIDE), np.uint16)
    with store.create(spec) as writer:
        for index in range(slices):
            noise[0, 0] = index
            writer.write(noise, FrameInfo(index=index, delta_t_s=index / 100, z_um=index / 2))
        return writer.finish()


# ---------------------------------------------------------------- one slice


def _check(port: int, store: VolumeStore, record: VolumeRecord) -> None:
    """Make sure that what is measured is the slice; loads what the server loads once, too."""
    last = record.shape[0] - 1
    with store.open(record.uid) as volume:
        expected = np.array(volume.array[last])
    tiles = _get(port, *_tiles(record, last))[2:]
    pixels = np.array([np.frombuffer(tile, "<u2").reshape(_TILE, _TILE) for tile in tiles])
    joined = pixels.reshape(2, 2, _TILE, _TILE).swapaxes(1, 2).reshape(_SIDE, _SIDE)
    (region,) = _get(port, _region(record, last))
    if not (np.array_equal(joined, expected) and region == expected.tobytes()):
        raise SystemExit("what was served is not what the file has")


def _slices(
    port: int, plain_port: int, store: VolumeStore, record: VolumeRecord, runs: int
) -> None:
    def mapped(z: int) -> None:
        with store.open(record.uid) as volume:
            np.array(volume.array[z])

    ways: dict[str, Callable[[int], object]] = {
        "mapped": mapped,
        "plain": lambda _: _get(plain_port, "/slice"),
        "zarr": lambda z: _get(port, *_tiles(record, z)),
        "region": lambda z: _get(port, _region(record, z)),
    }
    fresh = iter(range(record.shape[0]))
    for state in ("cold", "warm"):
        if state == "cold" and not hasattr(os, "posix_fadvise"):
            print("cold: left out, since this system cannot be told to forget a file")
            continue
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(runs):
            z = next(fresh)
            for name, way in ways.items():
                _prepare(state, store, record, z)
                taken[name].append(_seconds(lambda way=way, z=z: way(z)))  # type: ignore[misc]
        _report(state, taken)


def _report(state: str, taken: dict[str, list[float]]) -> None:
    ms = {name: statistics.median(seconds) * 1e3 for name, seconds in taken.items()}
    reference = ms["mapped"] + ms["plain"]
    print(f"first 2048 x 2048 slice by UID, {state}, medians of {len(taken['zarr'])}")
    print(f"  mapped {ms['mapped']:.1f} ms + plain {ms['plain']:.1f} ms = {reference:.1f} ms")
    print(f"  OME-Zarr: metadata and 4 tiles {ms['zarr']:7.1f} ms  {ms['zarr'] / reference:.2f} x")
    print(
        f"  region: one answer             {ms['region']:7.1f} ms  {ms['region'] / reference:.2f} x"
    )


def _prepare(state: str, store: VolumeStore, record: VolumeRecord, z: int) -> None:
    if state == "cold":
        with record.path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    else:
        with store.open(record.uid) as volume:
            volume.array[z].max()


def _tiles(record: VolumeRecord, z: int) -> Sequence[str]:
    root = f"/volumes/{record.uid}.zarr"
    corners = [f"{y}/{x}" for y in range(2) for x in range(2)]
    return [f"{root}/zarr.json", f"{root}/0/zarr.json", *(f"{root}/0/c/{z}/{c}" for c in corners)]


def _region(record: VolumeRecord, z: int) -> str:
    return f"/api/volumes/{record.uid}/roi?z={z}:{z + 1}"


# ---------------------------------------------------------------- a projection


def _projection(port: int, server: Process, store: VolumeStore, record: VolumeRecord) -> None:
    def ours(plane: str) -> float:
        return _seconds(lambda: _get(port, f"/api/volumes/{record.uid}/projection?plane={plane}"))

    def here() -> None:
        with store.open(record.uid) as volume:
            project(record.shape, volume.array)

    here()  # from now on the file is in memory, as far as it fits
    reference = _seconds(here)
    idle = resident_mib(server)
    with Peak(server) as peak:
        first, others = ours("xy"), [ours(plane) for plane in ("xz", "yz", "xy")]
    print(f"projections of {record.spec.volume_bytes / 1e9:.2f} GB, warm")
    print(f"  in this process, all three     {reference * 1e3:7.0f} ms")
    print(f"  xy, the first asked for        {first * 1e3:7.0f} ms  {first / reference:.2f} x")
    print(f"  then xz, yz, and xy again      {', '.join(f'{s * 1e3:.1f}' for s in others)} ms")
    print(f"  peak memory above idle {peak.mib - idle:.0f} MiB (idle {idle:.0f} MiB)")


def _get(port: int, *paths: str) -> list[bytes]:
    """Return the answers over one fresh connection, or end with the one that is none."""
    found = []
    with closing(HTTPConnection("127.0.0.1", port)) as connection:
        for path in paths:
            connection.request("GET", path)
            answer = connection.getresponse()
            found.append(answer.read())
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status} {found[-1][:300]!r}")
    return found


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
