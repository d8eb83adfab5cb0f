"""The one owner of MMCore, and the only importer of pymmcore-plus.

Everything that the rest of gently does with Micro-Manager goes through `Core`.
"""

from devices.core.core import Core, Position
from devices.core.python import (
    FocusDirection,
    PythonCamera,
    PythonGalvo,
    PythonGeneric,
    PythonHub,
    PythonMultiCamera,
    PythonPeripheral,
    PythonShutter,
    PythonStage,
    PythonState,
    PythonXYStage,
    python_property,
)
from devices.core.sequence import Frame

__all__ = [
    "Core",
    "FocusDirection",
    "Frame",
    "Position",
    "PythonCamera",
    "PythonGalvo",
    "PythonGeneric",
    "PythonHub",
    "PythonMultiCamera",
    "PythonPeripheral",
    "PythonShutter",
    "PythonStage",
    "PythonState",
    "PythonXYStage",
    "python_property",
]
