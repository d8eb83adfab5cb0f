"""How fast volumes are found: in a large index, and in a folder whose index is lost.

Two parts, each in a temporary folder:

(a) an index of N made-up rows (the files themselves are not made): look-up by UID, the newest 100,
    a session's newest 100, a page from the middle, one embryo, one tag, the sums
(b) a folder of M real, small volumes: rebuild from the files alone, from memory and (where the
    platform lets a program drop a file's pages) from the disk; a look at files that are known

Run: python -m benchmarks.index [--rows 100000] [--files 5000] [--folder DIR]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from sqlite3 import Connection

import numpy as np

from storage import FrameInfo, Refreshed, VolumeRecord, VolumeSpec, VolumeStore, new_uid
from storage.index import Entry, Index

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH = 10_000
_REPEATS = 200
_PER_SESSION = 500
_EMBRYOS = 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000, help="of the made-up index")
    parser.add_argument("--files", type=int, default=5_000, help="to rebuild from")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    options = parser.parse_args()
    if not (0 < options.rows <= 2_000_000 and 0 < options.files <= 200_000):
        parser.error("at most 2,000,000 rows (about 1.5 kB each) and 200,000 files (55 kB each)")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        _index(Path(folder) / "index", options.rows)
        _files(Path(folder) / "files", options.files)


def _index(root: Path, rows: int) -> None:
    (root / "volumes").mkdir(parents=True)
    index = Index(root)
    try:
        seconds = _seconds(lambda: _fill(index, root, rows))
        size = index.path.stat().st_size
        print(f"\n{rows:,} rows, {size / 1e6:,.0f} MB: filled at {rows / seconds:,.0f} rows/s")
        _ask(index, root, rows)
    finally:
        index.close()


def _fill(index: Index, root: Path, rows: int) -> None:
    """Fill the index, past its own check that every file is there."""
    generation, _ = index.marks()
    records = (_record(root, number) for number in range(rows))
    while batch := list(islice(records, _BATCH)):
        index._database.write(partial(_insert, index, batch))
    index.completed(generation)


def _insert(index: Index, records: list[VolumeRecord], connection: Connection) -> None:
    for record in records:
        index._insert(connection, Entry(path=record.path, mark=(8192, 1), found=record))


def _record(root: Path, number: int) -> VolumeRecord:
    """Return the volume of this number: its UID looks random and can be told again."""
    uid = f"{(number * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << 128):032x}"
    spec = VolumeSpec(
        uid=uid,
        shape=(50, 2048, 2048),
        dtype="uint16",
        pixel_size_um=0.1625,
        step_um=0.5,
        exposure_ms=5,
        session_id=f"session-{number // _PER_SESSION:06d}",
        item_uid=uid,
        run_uid=uid,
        plan_name="acquire_volume",
        instrument="twin",
        camera="HamCam1",
        positions_um={"xy_stage.x": 12.5, "xy_stage.y": -3.25, "focus": 40.0},
        embryo=f"embryo-{number % _EMBRYOS}",
        tags=("good",) * (number % 2),
    )
    return VolumeRecord(
        spec=spec,
        path=root / "volumes" / f"{uid}.tif",
        created=_BEGAN + timedelta(seconds=number),
        checksum="xxh3_64:0123456789abcdef",
        waits=0,
        back_pressure_s=0,
    )


def _ask(index: Index, root: Path, rows: int) -> None:
    middle = _record(root, rows // 2)
    path, session = middle.path, middle.session_id

    def query(after: str | None = None, **asked: str | datetime) -> Callable[[], object]:
        return lambda: index.query({"status": "complete", **asked}, 100, after)

    asked: dict[str, Callable[[], object]] = {
        "look-up by UID": lambda: index.get(path),
        "newest 100": query(),
        "100 after the middle one": query(after=middle.uid),
        "100 of one session": query(session=session),
        "100 of one embryo": query(embryo="embryo-7"),
        "100 of one tag": query(tag="good"),
        "100 of one embryo and tag": query(embryo="embryo-7", tag="good"),
        "100 before a time": query(until=middle.created),
    }
    for name, ask in asked.items():
        _report(name, [_seconds(ask) for _ in range(_REPEATS)])
    _report("sums", [_seconds(index.stats) for _ in range(3)])


def _files(root: Path, files: int) -> None:
    with VolumeStore(root) as store:
        _copies(store, files)
        size = sum(path.stat().st_size for path in store.volumes.iterdir())
        print(f"\n{files:,} files, {size / 1e6:,.0f} MB")
        _rate("rebuild, files in memory", files, store.rebuild)
        if hasattr(os, "posix_fadvise"):
            _forget(store.volumes)
            _rate("rebuild, files on the disk", files, store.rebuild)
        _rate("look at known files", files, store.refresh)


def _copies(store: VolumeStore, files: int) -> None:
    """Make volumes of 50 slices by giving the bytes of one other UIDs."""
    record = _record(store.root, 0)
    spec = record.spec.model_copy(update={"shape": (50, 8, 8), "uid": new_uid()})
    with store.create(spec) as writer:
        for index in range(50):
            frame = np.full((8, 8), index, np.uint16)
            writer.write(frame, FrameInfo(index=index, delta_t_s=0.01 * index, z_um=index))
        written = writer.finish()
    data, old = written.path.read_bytes(), written.uid.encode()
    for _ in range(files - 1):
        uid = new_uid()
        store.path(uid).write_bytes(data.replace(old, uid.encode()))


def _forget(folder: Path) -> None:
    """Drop the files' pages from the operating system's memory."""
    os.sync()
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _rate(name: str, files: int, work: Callable[[], Refreshed]) -> None:
    cpu, found = time.process_time(), work()
    busy = (time.process_time() - cpu) / found.seconds
    if found.files != files or found.broken:
        raise SystemExit(f"{name} found {found.files} files, {len(found.broken)} broken")
    print(
        f"  {name:<28} {found.files / found.seconds:9,.0f} files/s "
        f"({found.seconds:.2f} s, {found.read} read, {busy:.0%} of one processor)"
    )


def _report(name: str, seconds: list[float]) -> None:
    ranked = sorted(seconds)
    print(
        f"  {name:<28} median {statistics.median(ranked) * 1e3:8.2f} ms, "
        f"p95 {ranked[int(0.95 * len(ranked))] * 1e3:8.2f} ms"
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
