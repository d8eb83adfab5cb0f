"""The twin's lights but for the lasers: the programmable logic that gates them, and the LED."""

from devices.core import PythonGeneric, PythonShutter
from devices.twin.hub import TigerDevice

__all__ = ["Led", "LightGate", "LogicCard"]

_CHANNELS = {
    "none of outputs 5-8": (),
    "output 5 only": (5,),
    "output 6 only": (6,),
    "output 7 only": (7,),
    "output 8 only": (8,),
    "output 6 and 7": (6, 7),
    "outputs 5-7": (5, 6, 7),
    "outputs 5-8": (5, 6, 7, 8),
}
_MODES = ("None", "diSPIM Shutter")
_STATES = ("Open", "Closed")


class LightGate(TigerDevice, PythonShutter):
    """The logic that gates the lasers, in its mode "diSPIM Shutter": a shutter."""

    def __init__(self) -> None:
        super().__init__()
        self.register_property("OpenTimeMs", getter=LightGate.get_open_time_ms, property_type=float)
        self.register_property(
            "PLogicMode",
            default_value="diSPIM Shutter",
            allowed_values=_MODES,
            is_pre_init=True,
            property_type=str,
        )
        self.register_property(
            "OutputChannel",
            getter=LightGate.get_channel,
            setter=LightGate.set_channel,
            allowed_values=tuple(_CHANNELS),
            property_type=str,
        )

    def get_open(self) -> bool:
        """Return whether the shutter is open."""
        self.exchange()
        return self.world.light.passage.is_open

    def set_open(self, open: bool) -> None:  # noqa: A002, FBT001 - MMCore's signature
        """Open or close."""
        self.exchange()
        if not self.twin.faults.gate_sticks:
            self.world.light.change(is_open=open)

    def get_open_time_ms(self) -> float:
        """Return for how long the shutter has been open in all, until now."""
        return self.world.light.count().open_ms

    def get_channel(self) -> str:
        """Return which outputs are selected."""
        outputs = self.world.light.passage.outputs
        return next(name for name, found in _CHANNELS.items() if found == outputs)

    def set_channel(self, channel: str) -> None:
        """Select outputs, each of which gates a laser."""
        if not self.twin.faults.gate_sticks:
            self.world.light.change(outputs=_CHANNELS[channel])


class LogicCard(TigerDevice, PythonGeneric):
    """A programmable logic card with nothing on its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.register_property(
            "PLogicMode",
            default_value="None",
            allowed_values=_MODES,
            is_pre_init=True,
            property_type=str,
        )


class Led(TigerDevice, PythonShutter):
    """The LED below the sample, for the bottom camera."""

    def __init__(self) -> None:
        super().__init__()
        self.register_property(
            "State",
            getter=Led.get_state,
            setter=Led.set_state,
            allowed_values=_STATES,
            property_type=str,
        )
        self.register_property(
            "LED Intensity(%)",
            getter=Led.get_percent,
            setter=Led.set_percent,
            limits=(1, 100),
            property_type=int,
        )

    def get_open(self) -> bool:
        """Return whether it shines."""
        self.exchange()
        return self.world.lamp.is_on

    def set_open(self, open: bool) -> None:  # noqa: A002, FBT001 - MMCore's signature
        """Switch it on or off."""
        self.exchange()
        self._shine(is_on=open)

    def get_state(self) -> str:
        """Return whether it shines: Open or Closed."""
        return "Open" if self.world.lamp.is_on else "Closed"

    def set_state(self, state: str) -> None:
        """Switch it on or off."""
        self._shine(is_on=state == "Open")

    def get_percent(self) -> int:
        """Return how brightly it shines when it does."""
        return round(self.world.lamp.percent)

    def set_percent(self, percent: float) -> None:
        """Set how brightly it shines when it does."""
        self.world.lamp.percent = round(float(percent))

    def _shine(self, *, is_on: bool) -> None:
        if not self.twin.faults.lamp_sticks:
            self.world.lamp.is_on = is_on
