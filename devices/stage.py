"""Devices that move: the XY stage, and the drives along the optical axis."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from devices.base import ActionStatus, HardwareDevice
from devices.core import Core
from devices.errors import DeviceError, LimitError
from devices.limits import Limits

__all__ = ["FocusDrive", "Stage", "XYStage"]

_REST_S = 1.0
_POLL_S = 0.01


class Stage(HardwareDevice):
    """What moves: it has limits for every axis, and stop ends its motion."""

    limits: Mapping[str, Limits]
    timeout_s: float

    def stop(self, *, success: bool = False) -> None:
        """Stop at once.

        Parameters
        ----------
        success
            Bluesky's word for a pause: the motion's status ends well, to be asked for again.
        """
        self._core.halt_motion(self.label, is_pause=success)

    def check_safe(self) -> None:
        """Raise `DeviceError` if it still moves, after a moment to come to rest."""
        deadline = time.monotonic() + _REST_S
        while self._core.is_busy(self.label):
            if time.monotonic() > deadline:
                raise DeviceError(
                    f"{self.name} still moves {_REST_S:g} s after it was told to stop. "
                    "Use the emergency switch of its controller."
                )
            time.sleep(_POLL_S)


class XYStage(Stage):
    """A stage that moves the sample in the plane; positions are (x, y) in µm.

    Parameters
    ----------
    x_limits, y_limits
        Both axes have limits, because a motion of one commands both.
    tolerance_um
        How far from the asked position it may be read back.
    timeout_s
        How long the longest motion may take.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"XYStage"})

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        label: str,
        x_limits: Limits,
        y_limits: Limits,
        tolerance_um: float,
        timeout_s: float,
    ) -> None:
        super().__init__(name, core=core, label=label)
        self.limits = {"x": x_limits, "y": y_limits}
        self._tolerance_um = tolerance_um
        self.timeout_s = timeout_s

    def set(self, value: "Sequence[float] | Mapping[str, float]") -> ActionStatus:
        """Go to (x, y) or ``{"x": …, "y": …}``, in µm; returns at once.

        Raises
        ------
        LimitError
            Before anything moves.
        """
        x_um, y_um = self._checked(value)
        return self._status(
            self._core.move_xy(
                self.label,
                x_um,
                y_um,
                tolerance_um=self._tolerance_um,
                timeout_s=self.timeout_s,
            )
        )

    def check_value(self, value: Any) -> None:
        """Raise `LimitError` unless `value` is (x, y) within the limits."""
        self._checked(value)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data keys of x and y, in µm."""
        return {f"{self.name}_{axis}": self._key("um") for axis in self.limits}

    def _read_hardware(self) -> dict[str, float]:
        x_um, y_um = self._core.xy_position(self.label)
        return {f"{self.name}_x": x_um, f"{self.name}_y": y_um}

    def _checked(self, value: Any) -> tuple[float, float]:
        if isinstance(value, Mapping):
            if set(value) != set(self.limits):
                raise LimitError(
                    f"{self.name} moves to an x and a y, not to {list(value)}", field="x"
                )
            value = (value["x"], value["y"])
        # bytes are a sequence of numbers, but never meant as a position.
        is_pair = isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)
        if not is_pair or len(value) != 2:
            raise LimitError(f"{self.name} moves to (x, y), not to {value!r}", field="x")
        x_um, y_um = (
            self.limits[axis].check(
                f"{self.name}.{axis}",
                asked,
                present=self._last.get(f"{self.name}_{axis}", {}).get("value"),
            )
            for axis, asked in zip(self.limits, value, strict=True)
        )
        return x_um, y_um


class FocusDrive(Stage):
    """A drive along one axis, in µm: the sample focus, an imaging piezo.

    Parameters
    ----------
    limits
        Where it may go.
    tolerance_um, timeout_s
        As of `XYStage`.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"Stage"})

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        label: str,
        limits: Limits,
        tolerance_um: float,
        timeout_s: float,
    ) -> None:
        super().__init__(name, core=core, label=label)
        self.limits = {"z": limits}
        self.tolerance_um = tolerance_um
        self.timeout_s = timeout_s

    def set(self, value: float) -> ActionStatus:
        """Go to `value` µm; returns at once.

        Raises
        ------
        LimitError
            Before anything moves.
        """
        z_um = self._checked(value)
        return self._status(
            self._core.move(
                self.label, z_um, tolerance_um=self.tolerance_um, timeout_s=self.timeout_s
            )
        )

    def check_value(self, value: Any) -> None:
        """Raise `LimitError` unless `value` is within the limits."""
        self._checked(value)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data key of the position, in µm."""
        return {self.name: self._key("um")}

    @property
    def position_um(self) -> float:
        """The position read from the hardware now, in µm."""
        return float(self.read()[self.name]["value"])

    @property
    def step_limit(self) -> int:
        """How many positions the drive can step through by hardware; 0 if none."""
        return self._core.step_limit(self.label)

    def _read_hardware(self) -> dict[str, float]:
        return {self.name: self._core.position(self.label)}

    def _checked(self, value: Any) -> float:
        present = self._last.get(self.name, {}).get("value")
        return self.limits["z"].check(f"{self.name}.z", value, present=present)
