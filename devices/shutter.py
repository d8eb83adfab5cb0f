"""The light gate."""

from typing import Any, ClassVar

from devices.base import ActionStatus
from devices.core import Core
from devices.dose import Dose
from devices.errors import CoreTimeoutError, DeviceError, LimitError
from devices.light import LightSource
from devices.model import DeviceModel, Models

__all__ = ["Shutter", "ShutterModel"]


class Shutter(LightSource):
    """A shutter: ``"open"`` lets light onto the sample, ``"closed"`` does not.

    Parameters
    ----------
    timeout_s
        How long it may take to open or close.
    power_mw
        Of the light that it lets onto the sample, in mW; None if nobody has measured it.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"Shutter"})
    states: ClassVar[tuple[str, str]] = ("closed", "open")

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        label: str,
        timeout_s: float,
        power_mw: float | None = None,
    ) -> None:
        super().__init__(name, core=core, label=label)
        self.timeout_s = timeout_s
        self.power_mw = power_mw

    def set(self, value: str) -> ActionStatus:
        """Open or close it; returns at once. The status is done when it is read back so."""
        self.check_value(value)
        future = self._core.set_shutter(
            self.label, is_open=value == "open", timeout_s=self.timeout_s
        )
        return self._status(
            future,
            lambda is_open: self._remember({self.name: self.states[is_open]}),
            timeout_s=self.timeout_s,
        )

    def check_value(self, value: Any) -> None:
        """Raise `LimitError` unless `value` is ``"open"`` or ``"closed"``."""
        if value not in self.states:
            raise LimitError(f"{self.name} can be open or closed, not {value!r}", field="state")

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data key of the state."""
        return {self.name: self._key("", "string")}

    def model(self, models: Models) -> "ShutterModel":
        """Return a model that counts for how long it is open."""
        return ShutterModel(self, models)

    def _put_out(self) -> None:
        self._core.close_shutter(self.label)

    def _is_out(self) -> bool:
        return not self._core.shutter_open(self.label)

    def _shines_still(self) -> DeviceError:
        return DeviceError(f"{self.name} is still open although it was told to close")

    def _hangs(self) -> CoreTimeoutError:
        return self._silent()

    def _read_hardware(self) -> dict[str, str]:
        return {self.name: self.states[self._core.shutter_open(self.label)]}


class ShutterModel(DeviceModel):
    """A shutter that counts the light it lets through."""

    device: Shutter

    def __init__(self, device: Shutter, models: Models) -> None:
        super().__init__(device)
        self._models = models
        self._open_since_s: float | None = None
        if device.power_mw is not None:
            self.use.energy_mj = 0.0

    def set(self, value: Any) -> float:
        """Open or close it."""
        self.device.check_value(value)
        self.values[self.device.name] = value
        if value == "closed":
            self._close()
        elif self._open_since_s is None:
            self._open_since_s = self._models.now_s
        return 0.0

    def light_up(self, seconds: float, _line: str, _percent: float | None, embryo: str) -> None:
        """Be open onto an embryo for a while that others have timed, and closed afterwards."""
        self.stop()
        self._count(seconds)
        self.use.light(embryo, Dose.of(seconds, self.device.power_mw))

    def stop(self) -> None:
        """Close it."""
        self.set("closed")

    def finish(self) -> None:
        """Complain of a light that nobody has switched off."""
        if self._open_since_s is not None:
            self._models.complaints.append(
                f"leaves {self.device.name} open: the sample goes on bleaching"
            )
        self._close()

    def _close(self) -> None:
        if self._open_since_s is not None:
            self._count(self._models.now_s - self._open_since_s)
            self._open_since_s = None

    def _count(self, seconds: float) -> None:
        self.use.light_s += seconds
        if self.device.power_mw is not None:
            self.use.energy_mj = (self.use.energy_mj or 0.0) + seconds * self.device.power_mw
