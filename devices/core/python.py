"""Devices written in Python: their bases, and a core in which they know their hub."""

from typing import ClassVar

from pymmcore_plus import DeviceType, FocusDirection
from pymmcore_plus.experimental.unicore import CameraDevice as PythonCamera
from pymmcore_plus.experimental.unicore import Device as PythonDevice
from pymmcore_plus.experimental.unicore import GenericDevice as PythonGeneric
from pymmcore_plus.experimental.unicore import HubDevice as PythonHub
from pymmcore_plus.experimental.unicore import ShutterDevice as PythonShutter
from pymmcore_plus.experimental.unicore import StageDevice as PythonStage
from pymmcore_plus.experimental.unicore import StateDevice as PythonState
from pymmcore_plus.experimental.unicore import UniMMCore
from pymmcore_plus.experimental.unicore import XYStageDevice as PythonXYStage
from pymmcore_plus.experimental.unicore import pymm_property as python_property

__all__ = [
    "FocusDirection",
    "HubAwareCore",
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


class PythonPeripheral(PythonDevice):
    """A Python device that knows its hub; mix it in before `PythonStage` and its like.

    Micro-Manager's C++ devices ask for theirs by `GetParentHub`; UniMMCore tells a Python
    device the label only.
    """

    hub: PythonHub | None = None


class PythonGalvo(PythonGeneric):
    """A scanner that is driven by its properties; UniMMCore knows galvos by their type alone."""

    _TYPE: ClassVar[DeviceType] = DeviceType.GalvoDevice


class PythonMultiCamera(PythonCamera):
    """Several cameras as one: a sequence of n frames is of n frames of each."""

    @property
    def channels(self) -> tuple[str, ...]:
        """The labels of its cameras."""
        raise NotImplementedError


class HubAwareCore(UniMMCore):
    """MMCore with Python devices, of which each peripheral is told its hub."""

    def _start_sequence(
        self,
        cam: PythonCamera,
        n_images: int | None,
        stop_on_overflow: bool,  # noqa: FBT001
    ) -> None:
        """Start a sequence; UniMMCore ends it after so many frames of all cameras together."""
        if isinstance(cam, PythonMultiCamera) and n_images is not None:
            n_images *= len(cam.channels)
        super()._start_sequence(cam, n_images, stop_on_overflow)

    def getNumberOfCameraChannels(self) -> int:  # noqa: N802
        """Return how many cameras the current camera consists of."""
        camera = self._py_camera()
        if isinstance(camera, PythonMultiCamera):
            return len(camera.channels)
        return int(super().getNumberOfCameraChannels())

    def getCameraChannelName(self, channelNr: int) -> str:  # noqa: N802, N803
        """Return the label of one camera of the current camera."""
        camera = self._py_camera()
        if isinstance(camera, PythonMultiCamera):
            return camera.channels[channelNr]
        return str(super().getCameraChannelName(channelNr))

    def setParentLabel(self, deviceLabel: str, parentHubLabel: str) -> None:  # noqa: N802, N803
        """Make a hub the parent of a device."""
        super().setParentLabel(deviceLabel, parentHubLabel)
        if deviceLabel in self._pydevices:
            peripheral = self._pydevices[deviceLabel]
            if isinstance(peripheral, PythonPeripheral):
                peripheral.hub = self._pydevices[parentHubLabel] if parentHubLabel else None
