"""Devices that misbehave on demand, behind MMCore as the real ones are."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from devices import InstrumentFile, load_instrument_file
from devices.core import Core, FocusDirection, PythonShutter, PythonStage

DRIVE, GATE = "Drive", "Gate"
PATIENCE_S = 10

CFG = """\
Property,Core,Initialize,0
Device,DHub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Device,XY,DemoCamera,DXYStage
#py pyDevice,Drive,tests.devices.faults,Drive
#py pyDevice,Gate,tests.devices.faults,Gate
Parent,Camera,DHub
Parent,XY,DHub
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Camera,PixelType,16bit
Property,Camera,FastImage,1
"""

YML = """\
name: faulty
micromanager: {config: faulty.cfg, buffer_mb: 16}
devices:
  xy_stage: {kind: xy_stage, label: XY, limits_um: {x: [-100, 100], y: [-100, 100]}}
  focus: {kind: focus_drive, label: Drive, limits_um: [-100, 100], timeout_s: 5}
  shutter: {kind: shutter, label: Gate}
  camera: {kind: camera, label: Camera, pixel_size_um: 1, exposure_limits_ms: [0.1, 100]}
  light_sheet:
    {kind: light_sheet, camera: camera, slice_drive: focus, shutter: shutter}
"""


class Drive(PythonStage):  # type: ignore[misc]
    """A drive that arrives at once, unless told otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[float] = []
        self.stops = 0
        self.lands_off_um = 0.0
        self.is_moving = False
        self.on_command: Callable[[float], None] = lambda _position_um: None
        self._position_um = 0.0

    def set_position_um(self, val: float) -> None:
        self.on_command(val)
        self.commands.append(val)
        self._position_um = val + self.lands_off_um

    def get_position_um(self) -> float:
        return self._position_um

    def busy(self) -> bool:
        return self.is_moving

    def stop(self) -> None:
        self.stops += 1
        self.is_moving = False

    def home(self) -> None:
        raise NotImplementedError

    def set_origin(self) -> None:
        raise NotImplementedError

    def set_focus_direction(self, sign: int) -> None:
        pass

    def get_focus_direction(self) -> FocusDirection:
        return FocusDirection.Unknown


class Broken(Drive):
    """A drive that is switched off."""

    def initialize(self) -> None:
        raise RuntimeError("no answer on COM3")


class Gate(PythonShutter):  # type: ignore[misc]
    """A shutter that may refuse to close; light is on when the configuration is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = True
        self.openings = 0
        self.will_close = True
        self.on_open: Callable[[], None] = lambda: None
        self.on_close: Callable[[], None] = lambda: None

    def get_open(self) -> bool:
        return self.is_open

    def set_open(self, open: bool) -> None:  # noqa: A002
        if open:
            self.openings += 1
            self.on_open()
        else:
            self.on_close()
        if open or self.will_close:
            self.is_open = open


def written_to(folder: Path, cfg: str = CFG, yml: str = YML) -> InstrumentFile:
    (folder / "faulty.cfg").write_text(cfg, encoding="utf-8")
    path = folder / "faulty.yml"
    path.write_text(yml, encoding="utf-8")
    return load_instrument_file(str(path))


def drive(core: Core) -> Drive:
    return cast("Drive", _behind(core, DRIVE))


def gate(core: Core) -> Gate:
    return cast("Gate", _behind(core, GATE))


def _behind(core: Core, label: str) -> Any:
    return core.ask(label, lambda mmc: mmc._pydevices[label])


class Hold:
    """Keeps whoever enters it until it is let go; never longer than a test may take."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._let_go = threading.Event()

    def __call__(self, *_: object) -> None:
        self._entered.set()
        self._let_go.wait(PATIENCE_S)

    def wait_until_entered(self) -> None:
        assert self._entered.wait(PATIENCE_S)

    def let_go(self) -> None:
        self._let_go.set()
