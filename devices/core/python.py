"""Devices written in Python: their bases, and a core in which they know their hub."""

from pymmcore_plus import FocusDirection
from pymmcore_plus.experimental.unicore import CameraDevice as PythonCamera
from pymmcore_plus.experimental.unicore import Device as PythonDevice
from pymmcore_plus.experimental.unicore import HubDevice as PythonHub
from pymmcore_plus.experimental.unicore import ShutterDevice as PythonShutter
from pymmcore_plus.experimental.unicore import StageDevice as PythonStage
from pymmcore_plus.experimental.unicore import UniMMCore
from pymmcore_plus.experimental.unicore import XYStageDevice as PythonXYStage
from pymmcore_plus.experimental.unicore import pymm_property as python_property

__all__ = [
    "FocusDirection",
    "HubAwareCore",
    "PythonCamera",
    "PythonHub",
    "PythonPeripheral",
    "PythonShutter",
    "PythonStage",
    "PythonXYStage",
    "python_property",
]


class PythonPeripheral(PythonDevice):
    """A Python device that knows its hub; mix it in before `PythonStage` and its like.

    Micro-Manager's C++ devices ask for theirs by `GetParentHub`; UniMMCore tells a Python
    device the label only.
    """

    hub: PythonHub | None = None


class HubAwareCore(UniMMCore):
    """MMCore with Python devices, of which each peripheral is told its hub."""

    def setParentLabel(self, deviceLabel: str, parentHubLabel: str) -> None:  # noqa: N802, N803
        """Make a hub the parent of a device."""
        super().setParentLabel(deviceLabel, parentHubLabel)
        if deviceLabel in self._pydevices:
            peripheral = self._pydevices[deviceLabel]
            if isinstance(peripheral, PythonPeripheral):
                peripheral.hub = self._pydevices[parentHubLabel] if parentHubLabel else None
