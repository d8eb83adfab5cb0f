"""The lasers: four lines behind one remote, each with its power, state and modulation."""

from devices.core import PythonShutter
from devices.twin.hub import Peripheral
from devices.twin.light import LINES, Line
from devices.twin.settings import Setting, Settings, register

__all__ = ["Lasers"]

_MODULATIONS = ("CW (constant power)", "CW (constant current)", "External/Digital")
_UNMODULATED = _MODULATIONS[:2]


def _table(line: Line) -> tuple[Setting, ...]:
    return (
        Setting(_name(line, "PowerSetpoint (%)"), 0.0, limits=(0, 100), step=0.001),
        Setting(_name(line, "State"), "Off", choices=("Off", "On")),
        Setting(_name(line, "Modulation/Trigger"), _MODULATIONS[0], choices=_MODULATIONS),
    )


def _name(line: Line, what: str) -> str:
    return f"Laser {line.model} - {what}"


class Lasers(Peripheral, PythonShutter):
    """The remote of all lasers.

    As a shutter it switches one of them, the one that ``Shutter Laser`` names.
    """

    def __init__(self) -> None:
        super().__init__()
        self._settings = Settings(setting for line in LINES for setting in _table(line))
        self._shutter_line = LINES[-1]
        for line in LINES:
            register(self, _table(line), lambda lasers: lasers.settings)
            self._tell(line, "PowerReadback (mW)", lambda lasers, line=line: lasers.power_mw(line))
            self._tell(line, "Minimum Laser Power (mW)", lambda _: 0.0)
            self._tell(line, "Maximum Laser Power (mW)", lambda _, line=line: line.most_mw)
            self._tell(line, "Wavelength (nm)", lambda _, line=line: float(line.nm))
        self.register_property(
            "Shutter Laser",
            getter=Lasers.get_shutter_laser,
            setter=Lasers.set_shutter_laser,
            allowed_values=tuple(map(_shutter_name, LINES)),
            property_type=str,
        )

    @property
    def settings(self) -> Settings:
        """What the remote holds."""
        return self._settings

    def power_mw(self, line: Line) -> float:
        """Return the power that a line is set to, in mW."""
        return line.most_mw * self._settings.number(_name(line, "PowerSetpoint (%)")) / 100

    def set_property_value(self, prop_name: str, value: object) -> None:
        """Set a property, and let the light follow."""
        super().set_property_value(prop_name, value)
        self._shine()

    def get_shutter_laser(self) -> str:
        """Return which laser it switches as a shutter."""
        return _shutter_name(self._shutter_line)

    def set_shutter_laser(self, name: str) -> None:
        """Choose which laser it switches as a shutter."""
        self._shutter_line = next(line for line in LINES if _shutter_name(line) == name)

    def get_open(self) -> bool:
        """Return whether the laser that it switches is on."""
        return self._settings[_name(self._shutter_line, "State")] == "On"

    def set_open(self, open: bool) -> None:  # noqa: A002, FBT001 - MMCore's signature
        """Switch that laser on or off."""
        self._settings[_name(self._shutter_line, "State")] = "On" if open else "Off"
        self._shine()

    def _tell(self, line: Line, what: str, getter: object) -> None:
        self.register_property(_name(line, what), getter=getter, property_type=float)

    def _shine(self) -> None:
        settings = self._settings
        self.world.light.change(
            powers_mw=tuple(
                self.power_mw(line) if settings[_name(line, "State")] == "On" else 0.0
                for line in LINES
            ),
            unmodulated=tuple(
                settings[_name(line, "Modulation/Trigger")] in _UNMODULATED for line in LINES
            ),
        )


def _shutter_name(line: Line) -> str:
    return f"{LINES.index(line) + 1} ({line.model})"
