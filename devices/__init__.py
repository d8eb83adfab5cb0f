"""Ophyd devices over MMCore, with limits that fail closed.

This room knows nothing of HTTP, files or plans.
"""

from devices.base import HardwareDevice
from devices.camera import Camera
from devices.dose import Dose, DoseBudget
from devices.errors import (
    AcquisitionError,
    CoreError,
    CoreTimeoutError,
    DeviceError,
    DoseError,
    InstrumentError,
    LimitError,
    StoppedError,
)
from devices.finder import Finder, FindRequest, Projection, Search
from devices.frames import (
    AcquiredVolume,
    Compression,
    FileFormat,
    FrameSink,
    Labels,
    OnShort,
    OpenSink,
    PlannedVolume,
    ViewName,
    Views,
    VolumeRequest,
)
from devices.instrument import Instrument
from devices.instrument_file import InstrumentFile, built_in_instruments, load_instrument_file
from devices.lasers import Lasers
from devices.light import LightSource
from devices.light_sheet import LightSheet
from devices.light_sheet_model import LightSheetModel
from devices.limits import Limits
from devices.model import DeviceModel, Models, Use
from devices.pace import Line, Pace
from devices.piezo import Piezo
from devices.scanner import Scanner
from devices.shutter import Shutter
from devices.stage import FocusDrive, Stage, XYStage
from devices.triggered import TriggeredSlicer
from devices.triggered_view import Calibration

__all__ = [
    "AcquiredVolume",
    "AcquisitionError",
    "Calibration",
    "Camera",
    "Compression",
    "CoreError",
    "CoreTimeoutError",
    "DeviceError",
    "DeviceModel",
    "Dose",
    "DoseBudget",
    "DoseError",
    "FileFormat",
    "FindRequest",
    "Finder",
    "FocusDrive",
    "FrameSink",
    "HardwareDevice",
    "Instrument",
    "InstrumentError",
    "InstrumentFile",
    "Labels",
    "Lasers",
    "LightSheet",
    "LightSheetModel",
    "LightSource",
    "LimitError",
    "Limits",
    "Line",
    "Models",
    "OnShort",
    "OpenSink",
    "Pace",
    "Piezo",
    "PlannedVolume",
    "Projection",
    "Scanner",
    "Search",
    "Shutter",
    "Stage",
    "StoppedError",
    "TriggeredSlicer",
    "Use",
    "ViewName",
    "Views",
    "VolumeRequest",
    "XYStage",
    "built_in_instruments",
    "load_instrument_file",
]
