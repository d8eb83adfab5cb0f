"""The twin's light gate, a shutter device."""

from devices.core import PythonShutter
from devices.twin.hub import Peripheral

__all__ = ["LightGate"]


class LightGate(Peripheral, PythonShutter):
    """Lets light through to the sample, and counts for how long it did."""

    def __init__(self) -> None:
        super().__init__()
        self.register_property("OpenTimeMs", getter=LightGate.get_open_time_ms, property_type=float)

    def get_open(self) -> bool:
        """Return whether light gets through."""
        return self.world.light.is_on

    def set_open(self, open: bool) -> None:  # noqa: A002, FBT001 - MMCore's signature
        """Open or close."""
        self.world.light.switch(on=open)

    def get_open_time_ms(self) -> float:
        """Return for how long the gate has been open in all, until now."""
        return self.world.light.on_ns() / 1e6
