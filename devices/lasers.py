"""The lasers: lines of which one shines at a time, through a gate, with fenced powers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from devices.aside import Aside
from devices.base import ActionStatus
from devices.core import Core
from devices.dose import Dose
from devices.errors import CoreError, CoreTimeoutError, DeviceError, LimitError
from devices.light import LightSource
from devices.limits import Limits
from devices.model import DeviceModel, Models
from devices.properties import Properties

__all__ = ["LaserLine", "Lasers", "LasersModel"]


@dataclass(frozen=True, kw_only=True)
class LaserLine:
    """One line.

    Parameters
    ----------
    preset
        The preset that lets it through, and no other.
    power
        The property that has its power in percent.
    switch
        The property by which the laser itself is switched on; None if it always is.
    limits
        Of the power, in percent; 0 is allowed besides.
    default_percent
        Its power where none is asked for.
    mw_per_percent
        At the sample, as measured there; None if nobody has.
    """

    preset: str
    power: str
    switch: str | None
    limits: Limits
    default_percent: float
    mw_per_percent: float | None = None


class Lasers(LightSource):
    """Laser lines. Setting them sets powers, as ``{"488": 3.0}`` in percent; no light goes on.

    Parameters
    ----------
    label
        Of the controller that has the powers.
    gate
        The label of what lets the light through.
    group, off
        The configuration group of the gate, and its preset for no light at all.
    lines
        By name, which is the wavelength in nm; the first is used unless another is asked for.
    properties
        By which it is told its powers.
    timeout_s
        How long the gate may take.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"Generic", "Shutter"})

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        label: str,
        gate: str,
        group: str,
        off: str,
        lines: Mapping[str, LaserLine],
        properties: Properties,
        timeout_s: float,
    ) -> None:
        super().__init__(name, core=core, label=label)
        self.lines = lines
        self.limits = {f"{line}_percent": one.limits for line, one in lines.items()}
        self.timeout_s = timeout_s
        self._gate = gate
        self._group = group
        self._off = off
        self._properties = properties

    @property
    def first(self) -> str:
        """The line that is used unless another is asked for."""
        return next(iter(self.lines))

    def line(self, name: str) -> LaserLine:
        """Return a line by its name, or raise `LimitError`; an empty name means the first."""
        try:
            return self.lines[name or self.first]
        except KeyError:
            raise LimitError(
                f"{self.name} has no line {name!r}; it has: {', '.join(self.lines)}", field="line"
            ) from None

    def checked_percent(self, name: str, percent: Any) -> float:
        """Return a power of a line, or raise `LimitError`; 0 is always allowed."""
        limits = self.line(name).limits
        if percent == 0 and type(percent) is not bool:
            return 0.0
        try:
            return limits.check(f"{self.name}.{name or self.first}_percent", percent)
        except LimitError as error:
            raise LimitError(f"{error}, and 0 for off", field="power_percent") from None

    def check_value(self, value: Any) -> None:
        """Raise `LimitError` unless `value` is powers in percent by line, each in its limits."""
        self._checked(value)

    def set(self, value: Any) -> ActionStatus:
        """Set powers, as ``{"488": 3.0}``, in percent; returns at once."""
        powers = self._checked(value)

        def tell() -> None:
            for line, percent in powers.items():
                self.set_percent(line, percent)
            self.read()

        return self._soon(tell)

    def set_percent(self, line: str, percent: float) -> float:
        """Set the power of a line, and return what was read back, in percent."""
        name = self.line(line).power
        self._properties.write(self.label, {name: self.checked_percent(line, percent)})
        return self.percent(line)

    def percent(self, line: str) -> float:
        """Read the power of a line back, in percent; blocks for a round trip."""
        return float(self._properties.read(self.label, self.line(line).power))

    def on(self, line: str) -> None:
        """Let a line through; it shines while it is triggered.

        Raises
        ------
        StoppedError
            If a stop was asked for.
        CoreError
            If it reads back as something else.
        """
        switch = self.line(line).switch
        if switch is not None:
            self._properties.write(self.label, {switch: "On"})
        future = self._core.select(
            self._gate,
            self._group,
            self.line(line).preset,
            off=self._off,
            timeout_s=self.timeout_s,
        )
        self._status(future, lambda _: None, timeout_s=self.timeout_s).wait()

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data keys of what is let through, and of each power in percent."""
        powers = {f"{self.name}_{line}": self._key("percent") for line in self.lines}
        return {self.name: self._key("", "string"), **powers}

    def model(self, models: Models) -> "LasersModel":  # noqa: ARG002
        """Return a model that counts the light of each line."""
        return LasersModel(self)

    def _put_out(self) -> None:
        self._core.put_out(self._gate, self._group, self._off)

    def _is_out(self) -> bool:
        return self._core.selected(self._gate, self._group) == self._off

    def _shines_still(self) -> DeviceError:
        found = self._core.selected(self._gate, self._group)
        return DeviceError(
            f"{self.name} were put out, and their gate {self._gate} reads back "
            f"{found or 'no known preset'!r}"
        )

    def _hangs(self) -> CoreTimeoutError:
        return CoreTimeoutError(
            f"{self.name} were put out, and their gate {self._gate} does not answer"
        )

    def _switch_off(self) -> str:
        """Switch off each laser itself, past the queue, and read it back."""
        switching = Aside(f"{self.name} themselves off", self._switch_each_off)
        problem = switching.error if switching.has_ended(self._moment_s) else "they do not answer"
        self._properties.forget(self.label)
        if problem is not None:
            return (
                f"The lasers themselves could not be switched off either ({problem}). Use their "
                "emergency switch now."
            )
        return (
            "The lasers themselves were switched off instead, and read back so. Mend the gate: "
            f"nothing that needs light runs until it reads back {self._off!r}."
        )

    def _switch_each_off(self) -> None:
        with self._core.past_the_queue():
            for line in self.lines.values():
                name, off = (line.power, 0.0) if line.switch is None else (line.switch, "Off")
                self._core.write_at_once(self.label, name, off)
                found = self._properties.read(self.label, name)
                if found != off and (line.switch is not None or float(found) != 0):
                    raise CoreError(f"{self.label} was told {name} = {off} and reads back {found}")

    def _read_hardware(self) -> dict[str, Any]:
        found = self._core.selected(self._gate, self._group)
        state = "off" if found == self._off else found or "unknown"
        powers = {f"{self.name}_{line}": self.percent(line) for line in self.lines}
        return {self.name: state, **powers}

    def _checked(self, value: Any) -> dict[str, float]:
        if not isinstance(value, Mapping) or not value:
            raise LimitError(
                f"{self.name} is set to powers in percent by line, not to {value!r}", field="lines"
            )
        return {line: self.checked_percent(line, percent) for line, percent in value.items()}


class LasersModel(DeviceModel):
    """Lasers that count the light that a plan lets through."""

    device: Lasers

    def __init__(self, device: Lasers) -> None:
        super().__init__(device)
        if all(line.mw_per_percent is not None for line in device.lines.values()):
            self.use.energy_mj = 0.0

    def set(self, value: Any) -> float:
        """Set powers."""
        self.device.check_value(value)
        for line, percent in value.items():
            self.values[f"{self.device.name}_{line}"] = float(percent)
        return 0.0

    def light_up(self, seconds: float, line: str, percent: float | None, embryo: str) -> None:
        """Shine onto an embryo for a while that others have timed."""
        name = line or self.device.first
        if percent is None:
            percent = self.device.line(name).default_percent
        self.set({name: percent})
        found = float(self.values.get(f"{self.device.name}_{name}", 0.0))
        mw_per_percent = self.device.line(name).mw_per_percent
        dose = self.use.dose_percent_ms
        dose[name] = dose.get(name, 0.0) + 1000 * seconds * found
        self.use.light_s += seconds
        if self.use.energy_mj is not None and mw_per_percent is not None:
            self.use.energy_mj += seconds * found * mw_per_percent
        power_mw = None if mw_per_percent is None else found * mw_per_percent
        self.use.light(embryo, Dose.of(seconds, power_mw))
