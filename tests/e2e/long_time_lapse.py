"""Kill a time-lapse in the middle of volumes, go on with it, and account for every frame and pulse.

The real script on the twin takes embryos of the sample again and again. Its process is killed
without warning while a volume is lit, as the twin's own log of its light says, started again, and
asked for the same plan with the same `acquisition_uid`. In the end:

- each time point of each embryo is there once, its file reopens and verifies, and every frame says
  by its stamp that it is the one that belongs there;
- the punctuality is reported, and the memory of the process did not grow;
- the ledger of light says of each embryo what the twin's own log of the light says, in ms and in
  mJ, to one percent; the volumes that the process died under are counted as they were planned.

Run: python -m tests.e2e.long_time_lapse [--embryos 4] [--points 100] [--interval-s 0] ...
"""

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import psutil

from devices import built_in_instruments
from devices.twin import FrameStamp, LightAccount, Phantom
from devices.twin.light_log import Portion
from storage import VolumeRecord, VolumeStore, new_uid
from tests import AUTHORIZATION
from tests.e2e.conftest import DeviceLayers, Script, device_layers

_SEED: Final = 7
_APART: Final = (0, 6, 1, 5)
"""Embryos of that seed with ways between them that are short, and none in view of another."""
_PATIENCE_S: Final = 60.0
_MOST_OFF: Final = 0.01
_MOST_GROWTH_MB: Final = 64.0
_LOOK_S: Final = 0.002
_MEMORY_EVERY_S: Final = 0.5


class BrokenPromiseError(AssertionError):
    """Something of the time-lapse is not as it has to be."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is taken.

    Parameters
    ----------
    embryos, points, slices, exposure_ms, interval_s
        As of the plan.
    kills
        At which part of all volumes the process dies.
    limit_s
        How long a life of the process may take.
    """

    embryos: int = 4
    points: int = 100
    slices: int = 10
    exposure_ms: float = 2.0
    interval_s: float = 0.0
    kills: tuple[float, ...] = (0.21, 0.405)
    limit_s: float = 3600.0

    @property
    def indices(self) -> tuple[int, ...]:
        """Of the embryos in the sample."""
        return _APART[: self.embryos]

    @property
    def volumes(self) -> int:
        """How many there are to be."""
        return self.embryos * self.points

    def kwargs(self, acquisition_uid: str) -> dict[str, Any]:
        """Return what the plan is asked for."""
        sample = Phantom(_SEED).embryos
        places = (dict(zip(_AXES, sample[index].centre_um, strict=True)) for index in self.indices)
        return {
            "embryos": [
                {"name": _name(index), **place}
                for index, place in zip(self.indices, places, strict=True)
            ],
            "num_points": self.points,
            "interval_s": self.interval_s,
            "num_slices": self.slices,
            "exposure_ms": self.exposure_ms,
            "step_um": 1.0,
            "acquisition_uid": acquisition_uid,
        }


_AXES = ("x_um", "y_um", "z_um")


@dataclass
class Found:
    """What came of it.

    Attributes
    ----------
    result
        What the plan returned in its last life.
    frames
        How many were looked at.
    between_s
        From one time point of an embryo to the next, within a life of the process.
    given, died_under
        The light of each embryo by the twin's own log: in volumes that ended, and planned for
        those that the process died under.
    counted
        By the ledger.
    memory_mb
        Of the process in its last life, in the order of time.
    """

    result: dict[str, Any] = field(default_factory=dict)
    frames: int = 0
    between_s: dict[str, list[float]] = field(default_factory=dict)
    given: dict[str, Portion] = field(default_factory=dict)
    died_under: dict[str, Portion] = field(default_factory=dict)
    counted: dict[str, Portion] = field(default_factory=dict)
    memory_mb: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{sum(map(len, self.between_s.values()))} intervals, {self.frames} frames"]
        for name, told in self.result["embryos"].items():
            apart = self.between_s[name]
            given, died = self.given[name], self.died_under.get(name, Portion())
            counted = self.counted[name]
            lines.append(
                f"{name}: found {told['num_found']}, taken {told['num_taken']}; "
                f"every {statistics.mean(apart):.3f} s ({min(apart):.3f}…{max(apart):.3f}), "
                f"late by {told['mean_late_s']:.3f} s, at most {told['most_late_s']:.3f} s; "
                f"light: ledger {counted.ms:.2f} ms {counted.uj / 1000:.4f} mJ, twin "
                f"{given.ms:.2f} ms {given.uj / 1000:.4f} mJ and {died.ms:.2f} ms "
                f"{died.uj / 1000:.4f} mJ planned when it was killed"
            )
        times = (0, len(self.memory_mb) // 4, len(self.memory_mb) // 2, -1)
        memory = ", ".join(f"{self.memory_mb[time]:.0f}" for time in times)
        lines.append(f"memory of the last life, at its begin, quarter, half and end: {memory} MB")
        return "\n".join(lines)


class Lapse:
    """A time-lapse through all the lives of its process.

    Parameters
    ----------
    folder
        Of everything.
    asked
        What is taken.
    layers
        Starts the process.
    """

    def __init__(self, folder: Path, asked: Asked, layers: DeviceLayers) -> None:
        self._asked = asked
        self._layers = layers
        self._storage = folder / "data"
        self._log = folder / "light.ndjson"
        self._instrument = _instrument(folder, self._log)
        self._uid = new_uid()
        self._found = Found()

    def run(self) -> Found:
        """Take it, kill it on the way, go on with it, and check all of it.

        Raises
        ------
        BrokenPromiseError
            At the first thing that is not so.
        """
        for number, part in enumerate(self._asked.kills, 1):
            # A volume may just have ended when the process was.
            while self._deaths() < number:
                self._live_until_killed(round(part * self._asked.volumes))
        layer = self._begin()
        item = self._ask(layer)
        self._watch(layer, item)
        ended = _get(layer, f"items/{item}")
        _expect(ended["state"] == "completed", f"it ended as {ended['state']}: {ended['result']}")
        self._found.result = ended["result"]["return_value"]
        doses = _get(layer, "dose")["doses"]
        _expect(layer.end() == 0, layer.said())
        self._check_volumes()
        self._check_light(doses)
        self._check_memory()
        return self._found

    # ------------------------------------------------------------------ lives

    def _deaths(self) -> int:
        """Return how often a process died under the light of a volume."""
        return len(LightAccount.read(self._log).died_under) if self._log.exists() else 0

    def _live_until_killed(self, volumes: int) -> None:
        """Kill the process in the middle of the light of a volume, once so many have had theirs."""
        layer = self._begin()
        self._ask(layer)
        slice_s = self._asked.exposure_ms / 1000 + 0.008
        deadline = time.monotonic() + self._asked.limit_s
        lines = _Lines(self._log)
        while True:
            _expect(time.monotonic() < deadline, "it has not come so far")
            kind = lines.next_kind()
            if kind == "will" and lines.lit >= volumes:
                time.sleep(0.4 * self._asked.slices * slice_s)
                if lines.next_kind() is None:
                    break
            elif kind is None:
                _expect(layer.process.poll() is None, f"it died by itself:\n{layer.said()}")
                time.sleep(_LOOK_S)
        layer.kill()

    def _begin(self) -> Script:
        return self._layers(self._instrument, self._storage)

    def _ask(self, layer: Script) -> str:
        item = {"name": "time_lapse", "kwargs": self._asked.kwargs(self._uid)}
        answer = httpx2.post(
            f"{layer.url}/api/queue/item/execute",
            json={"item": {"item_type": "plan", **item}},
            headers=AUTHORIZATION,
            timeout=_PATIENCE_S,
        ).json()
        _expect(answer["success"], f"it was refused: {answer}")
        return str(answer["item"]["item_uid"])

    def _watch(self, layer: Script, item: str) -> None:
        """Look at the memory of the process until the plan has ended."""
        process = psutil.Process(layer.process.pid)
        deadline = time.monotonic() + self._asked.limit_s
        while _get(layer, f"items/{item}")["state"] in ("queued", "running"):
            _expect(time.monotonic() < deadline, "it does not end")
            with suppress(psutil.Error):
                self._found.memory_mb.append(process.memory_info().rss / 1e6)
            time.sleep(_MEMORY_EVERY_S)

    # ------------------------------------------------------------------ what is there

    def _check_volumes(self) -> None:
        asked = self._asked
        with VolumeStore(self._storage) as store:
            records = store.query(acquisition=self._uid)
            there = Counter((record.spec.embryo, record.spec.time_point) for record in records)
            due = {
                (_name(index), point) for index in asked.indices for point in range(asked.points)
            }
            _expect(there == Counter(due), f"missing or double: {_differences(there, due)}")
            for record in records:
                self._check_frames(store, record)
        told = self._found.result["embryos"].values()
        _expect(self._found.result["num_taken"] == sum(one["num_taken"] for one in told), "a sum")
        parts = sum(one["num_taken"] + one["num_found"] for one in told)
        _expect(parts == asked.volumes, f"{parts} volumes were found or taken")
        self._found.between_s = _between_s(records)

    def _check_frames(self, store: VolumeStore, record: VolumeRecord) -> None:
        """See that the file is as it was written, and that its frames are those of its place."""
        store.verify(record.uid)
        index = next(i for i in self._asked.indices if _name(i) == record.spec.embryo)
        x_um, y_um, _ = Phantom(_SEED).embryos[index].centre_um
        with store.open(record.uid) as volume:
            stamps = [FrameStamp.read(frame) for frame in volume.slices()]
        numbers = [stamp.index for stamp in stamps]
        _expect(numbers == list(range(self._asked.slices)), f"{record.uid} has frames {numbers}")
        off_um = max(max(abs(one.x_um - x_um), abs(one.y_um - y_um)) for one in stamps)
        _expect(off_um < 1, f"{record.uid} was taken {off_um:g} µm beside {record.spec.embryo}")
        self._found.frames += len(stamps)

    def _check_light(self, doses: Iterable[Mapping[str, Any]]) -> None:
        """Match the ledger with the twin's own log, for each embryo."""
        found = self._found
        counted: dict[str, Portion] = defaultdict(Portion)
        for dose in doses:
            counted[dose["embryo"]] += Portion(dose["light_ms"], 1000 * dose["energy_mj"])
        account = LightAccount.read(self._log)
        died: dict[str, Portion] = defaultdict(Portion)
        for run in account.died_under:
            for index, portion in run.items():
                died[_name(index)] += portion
        found.given = {_name(index): portion for index, portion in account.embryos.items()}
        found.died_under, found.counted = dict(died), dict(counted)
        names = {_name(index) for index in self._asked.indices}
        _expect(set(counted) == set(found.given) == names, f"light fell on {set(found.given)}")
        for name in names:
            true, told = found.given[name] + died[name], counted[name]
            off = max(abs(told.ms / true.ms - 1), abs(told.uj / true.uj - 1))
            _expect(off <= _MOST_OFF, f"{name} was given {true}, and the ledger says {told}")

    def _check_memory(self) -> None:
        """See that the second half of the last life has not grown; in the first it warms up."""
        settled = self._found.memory_mb[len(self._found.memory_mb) // 2 :]
        growth_mb = settled[-1] - settled[0]
        _expect(growth_mb < _MOST_GROWTH_MB, f"the process has grown by {growth_mb:.0f} MB")


class _Lines:
    """The lines of a log of light as they come; how many volumes have had their light."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.lit = 0

    def next_kind(self) -> str | None:
        """Return what the next line is; None if there is none yet."""
        with self._path.open("rb") as file:
            file.seek(self._read)
            line = file.readline()
        if not line.endswith(b"\n"):
            return None
        self._read += len(line)
        kind = line[2:].partition(b'"')[0].decode()
        self.lit += kind == "lit"
        return kind


def _instrument(folder: Path, log: Path) -> str:
    """Write an instrument file of a twin that stamps its frames and keeps a log of its light."""
    cfg, yml = (built_in_instruments()["twin"].with_suffix(end) for end in (".cfg", ".yml"))
    seed = f"#py Property,TwinHub,Seed,{_SEED}\n"
    text = cfg.read_text("utf-8")
    assert seed in text
    text = text.replace(seed, f"{seed}#py Property,TwinHub,LightLog,{log}\n")
    text += "\n#py Property,HamCam1,FrameStamp,On\n"
    (folder / "lapse.cfg").write_text(text, encoding="utf-8")
    path = folder / "lapse.yml"
    text = yml.read_text("utf-8").replace("twin.cfg", "lapse.cfg")
    # So small that all of it has been used, and does not look like growth, after a few volumes.
    assert "buffer_mb: 256" in text
    path.write_text(text.replace("buffer_mb: 256", "buffer_mb: 32"), encoding="utf-8")
    return str(path)


def _name(index: int) -> str:
    return f"embryo {index + 1}"


def _between_s(records: Iterable[VolumeRecord]) -> dict[str, list[float]]:
    """Return how far apart the time points of each embryo have begun, in one life each."""
    begun: dict[tuple[str, str], list[float]] = defaultdict(list)
    for record in records:
        begun[record.spec.embryo, record.spec.session_id].append(record.created.timestamp())
    found: dict[str, list[float]] = defaultdict(list)
    for (name, _), times_s in sorted(begun.items()):
        times_s.sort()
        found[name] += [later - sooner for sooner, later in itertools.pairwise(times_s)]
    return found


def _differences(there: Counter[tuple[str, int]], due: set[tuple[str, int]]) -> list[Any]:
    return sorted((set(there) ^ due) | {place for place, times in there.items() if times > 1})[:20]


def _get(layer: Script, path: str) -> dict[str, Any]:
    answer = httpx2.get(f"{layer.url}/api/{path}", headers=AUTHORIZATION, timeout=_PATIENCE_S)
    found: dict[str, Any] = answer.json()
    return found


def _expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise BrokenPromiseError(otherwise)


def main() -> int:
    """Take a time-lapse as the command line says, and print what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--embryos", type=int, default=4, choices=range(1, len(_APART) + 1))
    parser.add_argument("--points", type=int, default=100, help="time points of each")
    parser.add_argument("--slices", type=int, default=10, help="of each volume")
    parser.add_argument("--exposure-ms", type=float, default=2.0)
    parser.add_argument("--interval-s", type=float, default=0.0, help="0 is as fast as it goes")
    parser.add_argument("--storage", type=Path, help="where to work; by default a temporary folder")
    options = vars(parser.parse_args())
    storage, began = options.pop("storage"), time.monotonic()
    with tempfile.TemporaryDirectory(dir=storage) as name, device_layers(Path(name)) as layers:
        try:
            found = Lapse(Path(name), Asked(**options), layers).run()
        except BrokenPromiseError as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{time.monotonic() - began:.0f} s: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
