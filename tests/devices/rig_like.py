"""The rig's own files, with the twin's Python devices where its adapters cannot be loaded.

All that differs from `devices/instruments/dispim/` is here: each line of `DEVICES` stands for a
`Device` line of the rig's configuration, `PARENTS` and `YAML` are all that is said besides. Groups,
presets, Startup, labels, pre-init properties, limits and regions are the rig's.
"""

from pathlib import Path
from typing import Any

import yaml

from devices.core import PythonGeneric
from devices.twin import TwinHub

__all__ = ["SEED", "Port", "TigerCommHub", "write"]

RIG = Path(__file__).parents[2] / "devices" / "instruments" / "dispim" / "dispim.yml"
SEED = 7
LATENCY_MS = 125.0
"""Of the rig's controller."""

TWIN, HERE = "devices.twin", __name__
DEVICES = {
    "SerialManager,COM3": f"{HERE},Port",
    "ASITiger,TigerCommHub": f"{HERE},TigerCommHub",
    "ASITiger,XYStage:XY:31": f"{TWIN}.stages,XYStage",
    "ASITiger,LED:X:31": f"{TWIN}.gate,Led",
    "ASITiger,ZStage:Z:32": f"{TWIN}.stages,FocusDrive",
    "ASITiger,Turret:S:32": f"{TWIN}.turret,Turret",
    "ASITiger,Scanner:AB:33": f"{TWIN}.scanner,Scanner",
    "ASITiger,Scanner:CD:33": f"{TWIN}.scanner,Scanner",
    "ASITiger,PiezoStage:P:34": f"{TWIN}.stages,Piezo",
    "ASITiger,PiezoStage:Q:35": f"{TWIN}.stages,Piezo",
    "ASITiger,PLogic:E:36": f"{TWIN}.gate,LightGate",
    "ASITiger,ZStage:V:37": f"{TWIN}.stages,FocusDrive",
    "ASITiger,PLogic:G:39": f"{TWIN}.gate,LogicCard",
    "CoherentScientificRemote,Coherent-Scientific Remote": f"{TWIN}.lasers,Lasers",
    "Utilities,Multi Camera": f"{TWIN}.multi_camera,MultiCamera",
    "PCO_Generic,pco_camera": f"{TWIN}.bottom_camera,BottomCamera",
}
CAMERAS = {"HamCam1": f"{TWIN}.camera,SpimCamera", "HamCam2": f"{TWIN}.camera,SpimCameraB"}
PARENTS = ("Coherent-Scientific Remote", *CAMERAS, "Multi Camera", "Bottom PCO")
"""What is no part of the controller has to find the twin's world all the same."""
YAML = {"adapters": None, "buffer_mb": 256}
"""There are no adapters, and the rig's buffer would be most of a small computer's memory."""


class Port(PythonGeneric):  # type: ignore[misc]
    """A serial port at which nobody listens: the twin's line to the controller is its hub's."""

    def __init__(self) -> None:
        super().__init__()
        self.register_property("BaudRate", default_value="9600", is_pre_init=True)


class TigerCommHub(TwinHub):
    """The twin's hub under the rig's name."""

    def __init__(self) -> None:
        super().__init__()
        self.register_property("SerialPort", default_value="Undefined", is_pre_init=True)
        self.set_seed(SEED)


def write(folder: Path, latency_ms: float = LATENCY_MS) -> Path:
    """Write an instrument file and its configuration, and return the path of the former."""
    lines = RIG.with_suffix(".cfg").read_text(encoding="utf-8").splitlines()
    at = 1 + max(n for n, line in enumerate(lines) if line.startswith("Parent,"))
    lines[at:at] = [f"#py Parent,{label},TigerCommHub" for label in PARENTS]
    lines.append(f"#py Property,TigerCommHub,SerialLatencyMs,{latency_ms}")
    cfg = folder / "dispim.cfg"
    cfg.write_text("\n".join(map(_python, lines)), encoding="utf-8")
    said: dict[str, Any] = yaml.safe_load(RIG.read_text(encoding="utf-8"))
    said["micromanager"] |= {**YAML, "config": str(cfg)}
    path = folder / "dispim.yml"
    path.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")
    return path


def _python(line: str) -> str:
    """Return a line of the configuration, with a Python device for one of an adapter."""
    if not line.startswith("Device,"):
        return line
    _, label, adapter = line.split(",", 2)
    python = CAMERAS.get(label) or DEVICES[adapter]
    return f"#py pyDevice,{label},{python}"
