"""Devices without hardware, for what only looks at them: limits, names, messages."""

from typing import cast

from devices import (
    Camera,
    Finder,
    FocusDrive,
    HardwareDevice,
    LightSheet,
    Limits,
    Shutter,
    Stage,
    XYStage,
)
from devices.core import Core
from devices.properties import Properties
from devices.slicing import Stepper, View

NO_CORE = cast("Core", None)


def xy_stage(name: str = "xy_stage", *, reach_um: float = 100) -> XYStage:
    limits = Limits(-reach_um, reach_um, units="um", source="bench.yml")
    return XYStage(
        name,
        core=NO_CORE,
        label=name.upper(),
        x_limits=limits,
        y_limits=limits,
        tolerance_um=1,
        timeout_s=1,
        properties=Properties(NO_CORE),
    )


def focus_drive(name: str = "focus", *, low: float = -50, high: float = 50) -> FocusDrive:
    limits = Limits(low, high, units="um", source="bench.yml")
    drive = FocusDrive(
        name, core=NO_CORE, label=name.upper(), limits=limits, tolerance_um=1, timeout_s=1
    )
    drive.last_reading()[name] = {"value": 0.0, "timestamp": 1.0}
    return drive


def camera() -> Camera:
    limits = Limits(1, 1000, units="ms", source="bench.yml")
    return Camera("camera", core=NO_CORE, label="CAM", exposure_limits=limits, pixel_size_um=1)


def shutter() -> Shutter:
    return Shutter("shutter", core=NO_CORE, label="SHUTTER", timeout_s=1)


def bench() -> dict[str, HardwareDevice]:
    """Return a whole microscope on which nothing can happen."""

    def nowhere(_: object) -> None:
        raise AssertionError("nothing is acquired on the bench")

    parts = [xy_stage(), focus_drive(), shutter(), camera()]
    devices: dict[str, HardwareDevice] = {part.name: part for part in parts}
    devices["light_sheet"] = LightSheet(
        "light_sheet",
        core=NO_CORE,
        slicer=Stepper(
            NO_CORE,
            View(cast("Camera", devices["camera"]), cast("FocusDrive", devices["focus"])),
            cast("Shutter", devices["shutter"]),
        ),
        stages=tuple(part for part in parts if isinstance(part, Stage)),
        open_sink=nowhere,  # type: ignore[arg-type]
    )
    devices["finder"] = Finder("finder", core=NO_CORE, detectors=("classical",), search=nowhere)  # type: ignore[arg-type]
    return devices
