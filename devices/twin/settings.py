"""Settings of a controller's cards: Micro-Manager properties that are declared as a table.

A card rounds what it is told to what it can hold, refuses what it does not know, and says
what it holds.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from devices.core import PythonPeripheral

__all__ = ["Setting", "Settings", "register"]

Value = float | int | str


@dataclass(frozen=True)
class Setting:
    """One of them.

    Parameters
    ----------
    name
        Of the property.
    initial
        What the card holds when it is switched on; its type is the property's.
    limits
        Of a number; inclusive.
    choices
        The texts that the card knows.
    step
        Numbers are held as multiples of this; 0 holds them as they are.
    """

    name: str
    initial: Value
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    step: float = 0.0

    def held(self, value: Value) -> Value:
        """Return what the card makes of a value that is allowed."""
        if isinstance(self.initial, str):
            return str(value)
        number = float(value)
        if self.step:
            number = round(round(number / self.step) * self.step, 9)
        return round(number) if isinstance(self.initial, int) else number


class Settings:
    """What one card holds.

    Parameters
    ----------
    table
        All that there is to set.
    """

    def __init__(self, table: Iterable[Setting]) -> None:
        self._table: Mapping[str, Setting] = {setting.name: setting for setting in table}
        self._values = {name: setting.initial for name, setting in self._table.items()}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __setitem__(self, name: str, value: Value) -> None:
        self._values[name] = self._table[name].held(value)

    def number(self, name: str) -> float:
        """Return a setting that is a number."""
        return float(self._values[name])

    def count(self, name: str) -> int:
        """Return a setting that counts."""
        return int(self._values[name])

    def ns(self, name: str) -> int:
        """Return a setting in ms as whole nanoseconds."""
        return round(1e6 * self.number(name))


def register(
    device: PythonPeripheral, table: Iterable[Setting], settings: Callable[[Any], Settings]
) -> None:
    """Give a device the properties of `table`.

    Parameters
    ----------
    settings
        Finds, from the device, what holds the values; several devices may share it.
    """
    for setting in table:
        device.register_property(
            setting.name,
            getter=_getter(setting.name, settings),
            setter=_setter(setting.name, settings),
            limits=setting.limits,
            allowed_values=setting.choices or None,
            property_type=type(setting.initial),
        )


def _getter(name: str, settings: Callable[[Any], Settings]) -> Callable[[Any], Value]:
    return lambda device: settings(device)[name]


def _setter(name: str, settings: Callable[[Any], Settings]) -> Callable[[Any, Value], None]:
    def keep(device: Any, value: Value) -> None:
        settings(device)[name] = value

    return keep
