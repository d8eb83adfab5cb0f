"""Twins to be checked: sound ones, and ones that are built wrongly."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from devices import Instrument, load_instrument_file
from devices.twin.bottom_camera import BottomCamera
from devices.twin.camera import Buffer
from devices.twin.hub import TwinHub
from devices.twin.stages import XYStage
from devices.twin.world import World
from gently.check import Bench, Checkup, Finding, Group, Shelf, Status, Step
from gently.core.calibrations import Calibrations

STAGE, BOTTOM = "devices.twin.stages,XYStage", "devices.twin.bottom_camera,BottomCamera"


class SwappedStage(XYStage):
    """Its cables are swapped: told to go along x it goes along y, and says that it went along x."""

    def set_position_um(self, x: float, y: float) -> None:
        super().set_position_um(y, x)

    def get_position_um(self) -> tuple[float, float]:
        x, y = super().get_position_um()
        return y, x


class SlippingStage(XYStage):
    """Its motors turn and count, and the stage stays where it is."""

    def __init__(self) -> None:
        super().__init__()
        self._counted_um = (0.0, 0.0)

    def set_position_um(self, x: float, y: float) -> None:
        self._counted_um = (x, y)

    def get_position_um(self) -> tuple[float, float]:
        return self._counted_um


class MirroredCamera(BottomCamera):
    """Shows left what is right."""

    def start_sequence(self, n: int | None, get_buffer: Buffer) -> Iterator[Mapping[str, Any]]:
        made: list[np.ndarray[Any, np.dtype[np.uint16]]] = []

        def sensor(shape: tuple[int, int], dtype: type[np.uint16]) -> Any:
            made.append(np.empty(shape, dtype))
            return made[-1]

        for tags in super().start_sequence(n, sensor):
            get_buffer(self.shape(), np.uint16)[:] = made.pop()[:, ::-1]
            yield tags


@dataclass(frozen=True)
class Rig:
    """A booted twin that is to be checked, and the truth of it."""

    bench: Bench

    @property
    def hub(self) -> TwinHub:
        found = self.bench.instrument.core.ask("TwinHub", lambda mmc: mmc._pydevices["TwinHub"])
        assert isinstance(found, TwinHub)
        return found

    @property
    def world(self) -> World:
        return self.hub.world

    @property
    def places_um(self) -> list[float]:
        """Where everything is in truth."""
        world = self.world
        axes = (world.x, world.y, world.focus, world.head, *world.piezos.values())
        return [axis.position_um() for axis in axes]

    @property
    def is_dark(self) -> bool:
        """Whether no light can reach the sample, in truth."""
        passage = self.world.light.passage
        return not (passage.is_open or passage.outputs or self.world.lamp.is_on)

    def check(self, *names: str, tell: Any = lambda _finding: None) -> "Found":
        """Check with leave for what is about these groups, or has these names."""

        def refusal(step: Step) -> str:
            return "" if {step.group, step.name} & set(names) else "declined"

        checkup = Checkup(self.bench, refusal=refusal, tell=tell)
        checkup.run()
        return Found(tuple(checkup.findings), checkup.ended_early)


@dataclass(frozen=True)
class Found:
    """What a check has found."""

    findings: tuple[Finding, ...]
    ended_early: str

    def __getitem__(self, key: tuple[Group, str]) -> Finding:
        group, name = key
        (found,) = (one for one in self.findings if (one.group, one.name) == (group, name))
        return found

    def failed(self, group: Group) -> dict[str, str]:
        """Return what has failed in a group, and its words."""
        return {
            one.name: one.says
            for one in self.findings
            if one.group is group and one.status is Status.FAILED
        }

    @property
    def failures(self) -> list[str]:
        return [f"{one.group}: {one.name}" for one in self.findings if one.status is Status.FAILED]


def instrument_file(folder: Path, cfg: Mapping[str, str], yml: Mapping[str, str]) -> Path:
    """Write the twin's instrument file with replacements, and return its path."""
    source = load_instrument_file("twin").micromanager.config
    for suffix, replaced in ((".cfg", cfg), (".yml", yml)):
        text = source.with_suffix(suffix).read_text(encoding="utf-8")
        for old, new in replaced.items():
            assert old in text, old
            text = text.replace(old, new)
        (folder / f"twin{suffix}").write_text(text, encoding="utf-8")
    return folder / "twin.yml"


@contextmanager
def booted(
    folder: Path, cfg: Mapping[str, str] | None = None, yml: Mapping[str, str] | None = None
) -> Iterator[Rig]:
    """Boot a twin with replacements in its files; its pictures are small, and take less time."""
    small = {"roi: [896, 896, 512, 512]": "roi: [1024, 1024, 256, 256]", **(yml or {})}
    file = load_instrument_file(str(instrument_file(folder, cfg or {}, small)))
    shelf = Shelf()
    with patch("devices.twin.bottom_camera._SENSOR_PX", 512):
        instrument = Instrument(file, open_sink=shelf.open)
        try:
            calibrations = Calibrations(folder / "calibrations.json", file.name)
            yield Rig(Bench(instrument, shelf, calibrations, folder))
        finally:
            instrument.close()
