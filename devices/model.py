"""The devices as a plan would leave them: modelled, step by step, without the hardware.

Each device brings its own model: what a message would do to it, and how long it would take.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["DeviceModel", "Modelled", "Models", "Use"]

NAN = float("nan")


@dataclass
class Use:
    """What a plan makes of a device, in all."""

    travel_um: dict[str, float] = field(default_factory=dict)
    """By axis."""
    volumes: int = 0
    frames: int = 0
    disk_bytes: int = 0
    frame_bytes: int = 0
    """Of the largest frame."""
    light_s: float = 0.0
    energy_mj: float | None = None
    """None where the light's power is not known."""
    dose_percent_ms: dict[str, float] = field(default_factory=dict)
    """Power in percent × ms of light, by laser line."""


class Modelled(Protocol):
    """What a model asks of its device; none of it asks the hardware."""

    name: str

    def check_value(self, value: Any) -> None:
        """Raise `LimitError` if `set(value)` would be refused."""

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data key of each reading."""

    def last_reading(self) -> Mapping[str, Mapping[str, Any]]:
        """Return what was read last."""

    def model(self, models: "Models") -> "DeviceModel":
        """Return the device as it was read last, to be modelled further."""

    @property
    def pace_source(self) -> str:
        """Where the times of its model come from; empty if it takes none."""


class Models:
    """The models of the devices that a plan has to do with, and the time in which they are."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.complaints: list[str] = []
        """What there is to say of what was modelled all the same, since it was taken out last."""
        self._models: dict[str, DeviceModel] = {}

    def of(self, device: Modelled) -> "DeviceModel":
        """Return the model of a device, begun from what was read last."""
        found = self._models.get(device.name)
        if found is None:
            found = self._models[device.name] = device.model(self)
        return found

    def __iter__(self) -> "Iterator[DeviceModel]":
        return iter(tuple(self._models.values()))


class DeviceModel:
    """A device that can be read and stopped, and that nothing else can be asked of.

    Every verb returns for how long it would take, in s, or raises what would be refused.

    Parameters
    ----------
    device
        Whose model it is.
    """

    def __init__(self, device: Modelled) -> None:
        self.device = device
        self.use = Use()
        last = device.last_reading()
        self.values: dict[str, Any] = {key: reading["value"] for key, reading in last.items()}

    def read(self) -> dict[str, Any]:
        """Return the value of each reading; NaN for one that never was read."""
        return {key: self.values.get(key, NAN) for key in self.device.describe()}

    def set(self, value: Any) -> float:
        """Take a new value."""
        self.device.check_value(value)
        return 0.0

    def prepare(self, value: Any) -> float:  # noqa: ARG002 - for those that can be
        """Make ready to be triggered."""
        raise TypeError(f"{self.device.name} cannot be prepared")

    def trigger(self) -> float:
        """Do what it was prepared for; most devices have nothing to do."""
        return 0.0

    def unstage(self) -> None:
        """Be done with."""

    def stop(self) -> None:
        """Come to the safe state at once."""

    def finish(self) -> None:
        """See the plan end."""
