"""From the entries of an instrument file to devices."""

from collections.abc import Callable
from typing import Any, TypeVar

from devices.base import HardwareDevice
from devices.camera import Camera
from devices.core import Core
from devices.entries import (
    CameraEntry,
    Entry,
    FocusDriveEntry,
    LaserLineEntry,
    LasersEntry,
    LightSheetEntry,
    PiezoEntry,
    ScannerEntry,
    ShutterEntry,
    TriggeredLightSheetEntry,
    ViewEntry,
    XYStageEntry,
)
from devices.errors import InstrumentError
from devices.frames import OpenSink, ViewName
from devices.instrument_file import InstrumentFile
from devices.lasers import LaserLine, Lasers
from devices.light_sheet import LightSheet
from devices.limits import Limits
from devices.piezo import Piezo
from devices.properties import Properties
from devices.scanner import Scanner
from devices.shutter import Shutter
from devices.slicing import Slicer, Stepper, View
from devices.stage import FocusDrive, Stage, XYStage
from devices.stage_space import ALONG_Z, Axes
from devices.triggered import TriggeredSlicer
from devices.triggered_view import Calibration, TriggeredView

__all__ = ["Builder"]

D = TypeVar("D", bound=HardwareDevice)


class Builder:
    """Turns entries into devices; light sheets last, because they are made of the others."""

    def __init__(self, core: Core, file: InstrumentFile, open_sink: OpenSink) -> None:
        self._core = core
        self._properties = Properties(core)
        self._file = file
        self._open_sink = open_sink
        self._devices: dict[str, HardwareDevice] = {}

    def build(self) -> dict[str, HardwareDevice]:
        """Return the devices by name, in the order of the file."""
        makers: dict[type[Entry], Callable[[str, Any], HardwareDevice]] = {
            XYStageEntry: self._xy_stage,
            FocusDriveEntry: self._focus_drive,
            PiezoEntry: self._piezo,
            ScannerEntry: self._scanner,
            ShutterEntry: self._shutter,
            LasersEntry: self._lasers,
            CameraEntry: self._camera,
            LightSheetEntry: self._light_sheet,
            TriggeredLightSheetEntry: self._triggered_light_sheet,
        }
        for kind, make in makers.items():
            for name, entry in self._file.devices.items():
                if type(entry) is kind:
                    self._devices[name] = make(name, entry)
        return {name: self._devices[name] for name in self._file.devices}

    def _limits(self, pair: tuple[float, float], units: str) -> Limits:
        return Limits(*pair, units=units, source=f"{self._file.name}.yml")

    def _xy_stage(self, name: str, entry: XYStageEntry) -> XYStage:
        return XYStage(
            name,
            core=self._core,
            label=entry.label,
            properties=self._properties,
            x_limits=self._limits(entry.limits_um.x, "um"),
            y_limits=self._limits(entry.limits_um.y, "um"),
            tolerance_um=entry.tolerance_um,
            timeout_s=entry.timeout_s,
        )

    def _focus_drive(self, name: str, entry: FocusDriveEntry) -> FocusDrive:
        return FocusDrive(
            name,
            core=self._core,
            label=entry.label,
            limits=self._limits(entry.limits_um, "um"),
            tolerance_um=entry.tolerance_um,
            timeout_s=entry.timeout_s,
        )

    def _shutter(self, name: str, entry: ShutterEntry) -> Shutter:
        return Shutter(
            name,
            core=self._core,
            label=entry.label,
            timeout_s=entry.timeout_s,
            power_mw=entry.power_mw,
        )

    def _camera(self, name: str, entry: CameraEntry) -> Camera:
        return Camera(
            name,
            core=self._core,
            label=entry.label,
            exposure_limits=self._limits(entry.exposure_limits_ms, "ms"),
            pixel_size_um=entry.pixel_size_um,
            frame_counter=entry.frame_counter,
            frames_differ=entry.frames_differ,
            roi=entry.roi,
            row_us=entry.row_us,
            reset_ms=entry.reset_ms,
        )

    def _piezo(self, name: str, entry: PiezoEntry) -> Piezo:
        return Piezo(
            name,
            core=self._core,
            label=entry.label,
            limits=self._limits(entry.limits_um, "um"),
            tolerance_um=entry.tolerance_um,
            timeout_s=entry.timeout_s,
            properties=self._properties,
        )

    def _scanner(self, name: str, entry: ScannerEntry) -> Scanner:
        return Scanner(
            name,
            core=self._core,
            label=entry.label,
            limits=self._limits(entry.limits_deg, "deg"),
            side=entry.side,
            filter_khz=entry.filter_khz,
            properties=self._properties,
        )

    def _lasers(self, name: str, entry: LasersEntry) -> Lasers:
        return Lasers(
            name,
            core=self._core,
            label=entry.label,
            gate=self._devices[entry.shutter].label,
            group=entry.group,
            off=entry.off_preset,
            lines={line: self._laser_line(one) for line, one in entry.lines.items()},
            properties=self._properties,
            timeout_s=entry.timeout_s,
        )

    def _laser_line(self, entry: LaserLineEntry) -> LaserLine:
        return LaserLine(
            preset=entry.preset,
            power=entry.power,
            switch=entry.switch,
            limits=self._limits(entry.limits_percent, "percent"),
            default_percent=entry.default_percent,
            mw_per_percent=entry.mw_per_percent,
        )

    def _light_sheet(self, name: str, entry: LightSheetEntry) -> LightSheet:
        view = View(self._device(entry.camera, Camera), self._device(entry.slice_drive, FocusDrive))
        shutter = self._device(entry.shutter, Shutter)
        return self._with_slicer(name, Stepper(self._core, view, shutter))

    def _triggered_light_sheet(self, name: str, entry: TriggeredLightSheetEntry) -> LightSheet:
        views: dict[ViewName, TriggeredView] = {"a": self._view(entry.views.a, ALONG_Z)}
        if entry.views.b is not None:
            views["b"] = self._view(entry.views.b, None)
        slicer = TriggeredSlicer(
            self._core,
            views,
            self._device(entry.lasers, Lasers),
            self._properties,
            both_cameras=entry.both_cameras,
        )
        return self._with_slicer(name, slicer)

    def _view(self, entry: ViewEntry, unsaid: Axes | None) -> TriggeredView:
        said = entry.axes
        return TriggeredView(
            camera=self._device(entry.camera, Camera),
            drive=self._device(entry.piezo, Piezo),
            scanner=self._device(entry.scanner, Scanner),
            calibration=Calibration(
                slope_um_per_deg=entry.slope_um_per_deg, offset_um=entry.offset_um
            ),
            sheet_width_deg=entry.sheet_width_deg,
            sheet_center_deg=entry.sheet_center_deg,
            axes=unsaid if said is None else Axes(said.columns, said.rows, said.depth),
        )

    def _with_slicer(self, name: str, slicer: Slicer) -> LightSheet:
        return LightSheet(
            name,
            core=self._core,
            slicer=slicer,
            stages=tuple(device for device in self._devices.values() if isinstance(device, Stage)),
            open_sink=self._open_sink,
        )

    def _device(self, name: str, kind: type[D]) -> D:
        device = self._devices[name]
        if not isinstance(device, kind):
            raise InstrumentError(f"{name} is a {type(device).__name__}, not a {kind.__name__}")
        return device
