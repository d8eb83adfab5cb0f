"""The imaging piezo: a drive that takes part in volumes, stepping once a slice by itself."""

from devices.core import Core
from devices.limits import Limits
from devices.properties import Properties
from devices.scanner import idle, refuse_unless_idle
from devices.stage import FocusDrive

__all__ = ["Piezo"]


class Piezo(FocusDrive):
    """A drive that the controller moves by itself while a volume is taken.

    Parameters
    ----------
    properties
        By which it is told its part.
    """

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        label: str,
        limits: Limits,
        tolerance_um: float,
        timeout_s: float,
        properties: Properties,
    ) -> None:
        super().__init__(
            name,
            core=core,
            label=label,
            limits=limits,
            tolerance_um=tolerance_um,
            timeout_s=timeout_s,
        )
        self._properties = properties

    def _halt(self, *, is_pause: bool) -> None:
        """Stop, also stepping by itself."""
        super()._halt(is_pause=is_pause)
        idle(self._core, self.label)

    def check_safe(self) -> None:
        """Raise `DeviceError` if it still moves or takes part in a volume, after a moment."""
        super().check_safe()
        refuse_unless_idle(self, self._properties)
