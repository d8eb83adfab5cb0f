"""The scanner: a mirror of two axes that makes the sheet, and moves it from slice to slice."""

import time
from typing import Any, ClassVar, Literal

from devices.base import ActionStatus, HardwareDevice
from devices.core import Core
from devices.errors import DeviceError
from devices.limits import Limits
from devices.model import DeviceModel, Models
from devices.properties import Properties

__all__ = ["IDLE", "SPIM_STATE", "Scanner", "Side", "idle", "refuse_unless_idle"]

Side = Literal["A", "B"]
SPIM_STATE = "SPIMState"
IDLE = "Idle"
_OFFSET = "SingleAxisYOffset(deg)"
_REST_S = 1.0
_POLL_S = 0.01


class Scanner(HardwareDevice):
    """A mirror that turns about x, which makes the sheet, and y, which moves it; in degrees.

    Setting it turns y, within its limits. A light sheet has it scan by itself.

    Parameters
    ----------
    limits
        Of either axis, in degrees.
    side
        As the controller calls the side that it lights.
    filter_khz
        Of the filter of its mirrors, as set at the controller.
    properties
        By which it is told.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"Galvo", "Generic"})

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        label: str,
        limits: Limits,
        side: Side,
        filter_khz: float,
        properties: Properties,
    ) -> None:
        super().__init__(name, core=core, label=label)
        self.limits = {"x": limits, "y": limits}
        self.side = side
        self.filter_khz = filter_khz
        self._properties = properties

    def set(self, value: float) -> ActionStatus:
        """Turn y to an angle in degrees; returns at once."""
        y_deg = self.checked("y", value)

        def turn() -> None:
            self._properties.write(self.label, {_OFFSET: y_deg})
            self.read()

        return self._soon(turn)

    def check_value(self, value: Any) -> None:
        """Raise `LimitError` unless `value` is an angle within the limits of y."""
        self.checked("y", value)

    def checked(self, axis: str, value: Any) -> float:
        """Return an angle of an axis in degrees, or raise `LimitError`."""
        return self.limits[axis].check(f"{self.name}.{axis}", value)

    def stop(self, *, success: bool = False) -> None:  # noqa: ARG002 - bluesky's signature
        """Scan no more, at once."""
        self._at_once(lambda: idle(self._core, self.label))

    def check_safe(self) -> None:
        """Raise `DeviceError` if it still scans, after a moment to end."""
        refuse_unless_idle(self, self._properties)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data keys of its state, and of the angle of y in degrees."""
        return {f"{self.name}_state": self._key("", "string"), f"{self.name}_y": self._key("deg")}

    def model(self, models: Models) -> DeviceModel:  # noqa: ARG002
        """Return a model that turns."""
        return ScannerModel(self)

    def _read_hardware(self) -> dict[str, Any]:
        return {
            f"{self.name}_state": self._properties.read(self.label, SPIM_STATE),
            f"{self.name}_y": float(self._properties.read(self.label, _OFFSET)),
        }


class ScannerModel(DeviceModel):
    """A scanner that turns where the plan wants it."""

    device: Scanner

    def set(self, value: Any) -> float:
        """Turn y."""
        self.values[f"{self.device.name}_y"] = self.device.checked("y", value)
        return 0.0


def idle(core: Core, label: str) -> None:
    """Have a device of the controller leave its part in a volume, past the queue."""
    core.write_at_once(label, SPIM_STATE, IDLE)


def refuse_unless_idle(device: HardwareDevice, properties: Properties) -> None:
    """Raise `DeviceError` if a device of the controller has not left its part in a volume."""
    deadline = time.monotonic() + _REST_S
    while (found := properties.read(device.label, SPIM_STATE)) != IDLE:
        if time.monotonic() > deadline:
            raise DeviceError(
                f"{device.name} is still {found} {_REST_S:g} s after it was told to be {IDLE}. "
                "Use the emergency switch of its controller."
            )
        time.sleep(_POLL_S)
