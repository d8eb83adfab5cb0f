"""The twin behind its labels: what the tests ask of it, through the core alone."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices import load_instrument_file
from devices.core import Core
from devices.twin import Side, TwinHub

CONFIG = load_instrument_file("twin").micromanager.config
SEED = 7
XY, FOCUS, PIEZO = "XYStage:XY:31", "ZStage:Z:32", "PiezoStage:P:34"
HEAD, LASERS = "ZStage:V:37", "Coherent-Scientific Remote"
CAMERA, GATE, HUB = "HamCam1", "PLogic:E:36", "TwinHub"


@dataclass(frozen=True)
class Rig:
    core: Core

    @classmethod
    def boot(cls, config: Path = CONFIG) -> "Rig":
        """Boot a twin whose shutter gates blue light, into a sheet that is in focus."""
        rig = cls(Core(config, adapters=None, buffer_mb=64))
        rig.aim("Scanner:AB:33", "A", 0)
        rig.set(LASERS, "Laser 488-150C - PowerSetpoint (%)", 4)
        rig.set(GATE, "OutputChannel", "output 6 only")
        return rig

    def aim(self, scanner: str, side: Side, sheet_um: float) -> None:
        """Put a side's light sheet to a depth, where it is in focus if the piezo is there."""
        sheet = self.hub.world.sheets[side]
        galvo_deg = (sheet_um - sheet.offset_um) / sheet.slope_um_per_deg
        self.set(scanner, "SingleAxisYOffset(deg)", galvo_deg)

    @property
    def hub(self) -> TwinHub:
        """The hub itself, and through it the truth."""
        hub: TwinHub = self.core.ask(HUB, lambda mmc: mmc._pydevices[HUB])
        return hub

    def get(self, label: str, name: str) -> Any:
        return self.core.ask(label, lambda mmc: mmc.getProperty(label, name))

    def set(self, label: str, name: str, value: object) -> None:
        self.core.ask(label, lambda mmc: mmc.setProperty(label, name, value))

    def is_busy(self, label: str) -> bool:
        return bool(self.core.ask(label, lambda mmc: mmc.deviceBusy(label)))

    def go(self, x_um: float, y_um: float) -> None:
        self.core.move_xy(XY, x_um, y_um, tolerance_um=0, timeout_s=10).result()

    def lift(self, label: str, z_um: float) -> None:
        self.core.move(label, z_um, tolerance_um=0, timeout_s=10).result()

    def light(self, *, on: bool) -> None:
        self.core.set_shutter(GATE, is_open=on, timeout_s=1).result()

    def expose(self, exposure_ms: float) -> None:
        self.core.set_exposure_ms(CAMERA, exposure_ms).result()

    def frames(self, count: int, exposure_ms: float = 1) -> list[NDArray[Any]]:
        self.expose(exposure_ms)
        frames = self.core.frames(
            CAMERA, count, exposure_ms=exposure_ms, cancelled=threading.Event()
        )
        return [frame.pixels for frame in frames]


def centroid(frame: NDArray[Any], threshold: float) -> tuple[float, float]:
    """Return (column, row) of the middle of what is brighter than the threshold."""
    rows, columns = np.nonzero(frame > threshold)
    return float(columns.mean()), float(rows.mean())
