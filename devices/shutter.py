"""The light gate."""

import time
from typing import Any, ClassVar

from devices.base import ActionStatus, HardwareDevice
from devices.core import Core
from devices.errors import DeviceError, LimitError

__all__ = ["Shutter"]

_REST_S = 1.0
_POLL_S = 0.01


class Shutter(HardwareDevice):
    """A shutter: ``"open"`` lets light onto the sample, ``"closed"`` does not.

    Parameters
    ----------
    timeout_s
        How long it may take to open or close.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"Shutter"})
    states: ClassVar[tuple[str, str]] = ("closed", "open")

    def __init__(self, name: str, *, core: Core, label: str, timeout_s: float) -> None:
        super().__init__(name, core=core, label=label)
        self.timeout_s = timeout_s

    def set(self, value: str) -> ActionStatus:
        """Open or close it; returns at once. The status is done when it is read back so."""
        self.check_value(value)
        return self._status(
            self._core.set_shutter(self.label, is_open=value == "open", timeout_s=self.timeout_s)
        )

    def check_value(self, value: Any) -> None:
        """Raise `LimitError` unless `value` is ``"open"`` or ``"closed"``."""
        if value not in self.states:
            raise LimitError(f"{self.name} can be open or closed, not {value!r}", field="state")

    def stop(self, *, success: bool = False) -> None:  # noqa: ARG002 - bluesky's signature
        """Close it at once: the safe state of a light is off."""
        self._core.close_shutter(self.label)

    def check_safe(self) -> None:
        """Raise `DeviceError` if it reads back as open, after a moment to close."""
        deadline = time.monotonic() + _REST_S
        while self._core.shutter_open(self.label):
            if time.monotonic() > deadline:
                raise DeviceError(
                    f"{self.name} is still open {_REST_S:g} s after it was told to close. "
                    "Switch the light off by hand."
                )
            time.sleep(_POLL_S)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data key of the state."""
        return {self.name: self._key("", "string")}

    def _read_hardware(self) -> dict[str, str]:
        return {self.name: self.states[self._core.shutter_open(self.label)]}
