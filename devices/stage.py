"""Devices that move: the XY stage, and the drives along the optical axis."""

import math
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar

from devices.base import ActionStatus, HardwareDevice
from devices.core import Core, Position
from devices.errors import DeviceError, LimitError
from devices.limits import Limits
from devices.model import DeviceModel, Models
from devices.motors import Motor, Trapezoid
from devices.pace import Line, Pace
from devices.progress import ProgressStatus
from devices.properties import Properties
from devices.worker import POLL_S

__all__ = ["FocusDrive", "Stage", "StageModel", "XYStage"]

_REST_S = 1.0
_POLL_S = 0.01


class Stage(HardwareDevice):
    """What moves: it has limits for every axis, and stop ends its motion.

    Parameters
    ----------
    limits
        Of each axis.
    tolerance_um
        How far from the asked position it may be read back.
    timeout_s
        How long the longest motion may take.
    """

    motors: ClassVar[tuple[Motor, ...]]
    """By what properties the axes tell their speed, in the order of the axes."""

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        label: str,
        limits: Mapping[str, Limits],
        tolerance_um: float,
        timeout_s: float,
    ) -> None:
        super().__init__(name, core=core, label=label)
        self.limits = limits
        self.tolerance_um = tolerance_um
        self.timeout_s = timeout_s
        self.pace = Pace(Line(POLL_S))
        self._laws: tuple[Trapezoid | None, ...] = (None,) * len(limits)
        self._speeds: Mapping[str, float] = {}
        self._is_where_it_was_read = True

    def set(self, value: Any) -> ActionStatus:
        """Go to `value`, in µm; returns at once.

        Raises
        ------
        LimitError
            Before anything moves.
        """
        began = time.monotonic()
        before_um, target_um = self._present_um(), self.target_um(value)
        way_um = _distance_um(before_um, target_um) if before_um else 0.0
        self._is_where_it_was_read = False
        status = ProgressStatus(self, way_um, "um")

        def on_its_way(found_um: Position) -> None:
            HardwareDevice._remember(self, self._named(found_um))
            if way_um:
                status.progress(max(0.0, way_um - _distance_um(found_um, target_um)))

        def arrived(found_um: Position) -> None:
            self._remember(self._named(found_um))
            if before_um and _distance_um(found_um, target_um) <= self.tolerance_um:
                known_s = self._known_s(_ways(before_um, target_um))
                self.pace.learn(self._size(way_um), time.monotonic() - began - known_s)
                status.finish_progress()

        return self._status(
            self._go(target_um, on_its_way), arrived, status, timeout_s=self.timeout_s
        )

    def check_value(self, value: Any) -> None:
        """Raise `LimitError` unless `value` is within the limits."""
        self.target_um(value)

    def target_um(self, value: Any, present_um: Position = ()) -> Position:
        """Return where `set(value)` would go, or raise `LimitError`.

        Parameters
        ----------
        value
            Anything.
        present_um
            Where it would be by then, for the error; by default where it was read last.
        """
        asked = self._axes(value)
        present = dict(zip(self.limits, present_um or self._present_um(), strict=False))
        return tuple(
            limits.check(f"{self.name}.{axis}", one, present=present.get(axis))
            for (axis, limits), one in zip(self.limits.items(), asked, strict=True)
        )

    def duration_s(self, before_um: Position, after_um: Position) -> float:
        """Return how long a motion should take."""
        way_um = _distance_um(before_um, after_um)
        left_out_s = max(0.0, self.pace.seconds(self._size(way_um)))
        return self._known_s(_ways(before_um, after_um)) + left_out_s

    def read_speeds(self) -> None:
        """Ask the hardware how fast it is; what it does not tell is learned from its motions."""
        names = [name for motor in self.motors for name in motor.names]
        self._speeds = self._core.numbers(self.label, names)
        self._laws = tuple(motor.law(self._speeds) for motor in self.motors)

    @property
    def pace_source(self) -> str:
        """Where the times of its motions come from."""
        known = ", ".join(f"{name} = {value:g}" for name, value in self._speeds.items())
        known = f"{known} as read at the start; " if known else "no speed is known; "
        return f"{known}what that leaves out is {self.pace.source}"

    def model(self, models: Models) -> "StageModel":
        """Return a model that moves."""
        return StageModel(self, models)

    def find(self) -> None:
        """Read the hardware if a motion was not seen to arrive; blocks as `read`."""
        if not self._is_where_it_was_read:
            self.read()

    def stop(self, *, success: bool = False) -> None:
        """Stop at once.

        Parameters
        ----------
        success
            Bluesky's word for a pause: the motion's status ends well, to be asked for again.
        """
        self._at_once(lambda: self._halt(is_pause=success))

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

    def _halt(self, *, is_pause: bool) -> None:
        self._core.halt_motion(self.label, is_pause=is_pause)

    @property
    def _keys(self) -> tuple[str, ...]:
        return tuple(self.describe())

    def _named(self, found_um: Position) -> dict[str, float]:
        return dict(zip(self._keys, found_um, strict=True))

    def _present_um(self) -> Position:
        last = self._last
        return tuple(last[key]["value"] for key in self._keys) if last else ()

    def _known_s(self, ways_um: Position) -> float:
        """Return what the speeds say; the end of a motion is seen by a look every so often."""
        longest_s = max(
            law.duration_s(way_um) if law else 0.0
            for law, way_um in zip(self._laws, ways_um, strict=True)
        )
        return math.ceil(longest_s / POLL_S) * POLL_S

    def _size(self, way_um: float) -> float:
        """Return in what the time that is not known is a line."""
        return way_um

    def _remember(self, values: Mapping[str, Any]) -> None:
        self._is_where_it_was_read = True
        super()._remember(values)

    @abstractmethod
    def _axes(self, value: Any) -> Sequence[Any]:
        """Return what `value` asks of each axis, or raise `LimitError`."""

    @abstractmethod
    def _go(
        self, target_um: Position, on_its_way: Callable[[Position], None]
    ) -> "Future[Position]":
        """Start the motion; now and then it is told where it is on its way."""


class XYStage(Stage):
    """A stage that moves the sample in the plane; positions are (x, y) in µm.

    Parameters
    ----------
    x_limits, y_limits
        Both axes have limits, because a motion of one commands both.
    properties
        By which its controller is told the limits, to keep them by itself.
    tolerance_um, timeout_s
        As of `Stage`.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"XYStage"})
    # ASI's controllers, and Micro-Manager's demo stage.
    motors: ClassVar[tuple[Motor, ...]] = (
        Motor(("MotorSpeedX-S(mm/s)", "Velocity"), "AccelerationX-AC(ms)"),
        Motor(("MotorSpeedY-S(mm/s)", "Velocity"), "AccelerationY-AC(ms)"),
    )

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
        properties: Properties,
    ) -> None:
        super().__init__(
            name,
            core=core,
            label=label,
            limits={"x": x_limits, "y": y_limits},
            tolerance_um=tolerance_um,
            timeout_s=timeout_s,
        )
        self._properties = properties

    def put_up_fence(self) -> None:
        """Tell the controller the limits, which it then keeps by itself, where it can.

        Raises
        ------
        CoreError
            If it reads back others.
        """
        fence = {
            name: bound_um / 1000
            for axis, limits in self.limits.items()
            for name, bound_um in zip(_fence(axis), (limits.low, limits.high), strict=True)
        }
        if self._core.numbers(self.label, fence):
            self._properties.write(self.label, fence)

    def fence_um(self) -> dict[str, tuple[float, float]]:
        """Return the low and high limit that the controller keeps for each axis, as read back.

        Empty if it keeps none. Blocks for a round trip each.
        """
        names = {axis: _fence(axis) for axis in self.limits}
        found = self._core.numbers(self.label, [one for pair in names.values() for one in pair])
        return {
            axis: (1000 * found[low], 1000 * found[high])
            for axis, (low, high) in names.items()
            if low in found and high in found
        }

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data keys of x and y, in µm."""
        return {f"{self.name}_{axis}": self._key("um") for axis in self.limits}

    def _read_hardware(self) -> dict[str, float]:
        return dict(zip(self._keys, self._core.xy_position(self.label), strict=True))

    def _axes(self, value: Any) -> Sequence[Any]:
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
        return list(value)

    def _go(
        self, target_um: Position, on_its_way: Callable[[Position], None]
    ) -> "Future[Position]":
        x_um, y_um = target_um
        return self._core.move_xy(
            self.label,
            x_um,
            y_um,
            tolerance_um=self.tolerance_um,
            timeout_s=self.timeout_s,
            seen=on_its_way,
        )


class FocusDrive(Stage):
    """A drive along one axis, in µm: the sample focus, an imaging piezo.

    Parameters
    ----------
    limits
        Where it may go.
    tolerance_um, timeout_s
        As of `Stage`.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"Stage"})
    motors: ClassVar[tuple[Motor, ...]] = (Motor(("MotorSpeed-S(mm/s)",), "Acceleration-AC(ms)"),)

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
        super().__init__(
            name,
            core=core,
            label=label,
            limits={"z": limits},
            tolerance_um=tolerance_um,
            timeout_s=timeout_s,
        )

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data key of the position, in µm."""
        return {self.name: self._key("um")}

    @property
    def position_um(self) -> float:
        """The position read from the hardware now, in µm."""
        return float(self.read()[self.name]["value"])

    def glimpse_um(self) -> float:
        """Return the position now, in µm, which is not where it will stay; blocks as `read`."""
        return self._core.position(self.label)

    def _size(self, way_um: float) -> float:
        # A motor tells its speed. What tells none is a piezo, and settles: in equal times the
        # rest of its way shrinks by equal parts, until it is within the tolerance.
        is_motor = any(self._laws)
        return way_um if is_motor else math.log1p(way_um / self.tolerance_um)

    def _read_hardware(self) -> dict[str, float]:
        return {self.name: self._core.position(self.label)}

    def _axes(self, value: Any) -> Sequence[Any]:
        return (value,)

    def _go(
        self, target_um: Position, on_its_way: Callable[[Position], None]
    ) -> "Future[Position]":
        (z_um,) = target_um
        return self._core.move(
            self.label,
            z_um,
            tolerance_um=self.tolerance_um,
            timeout_s=self.timeout_s,
            seen=on_its_way,
        )


class StageModel(DeviceModel):
    """A stage that goes where the plan sends it."""

    device: Stage

    def __init__(self, device: Stage, models: Models) -> None:
        super().__init__(device)
        self._models = models
        self._keys = tuple(device.describe())
        self._axes = tuple(f"{device.name}.{axis}" for axis in device.limits)
        self.use.travel_um = dict.fromkeys(self._axes, 0.0)

    @property
    def position_um(self) -> Position:
        """Where it would be; NaN where it never was read."""
        return tuple(self.values.get(key, math.nan) for key in self._keys)

    def set(self, value: Any) -> float:
        """Go to `value`."""
        before_um = self.position_um
        after_um = self.device.target_um(value, before_um)
        return self.went(before_um, after_um)

    def went(self, before_um: Position, *stations_um: Position) -> float:
        """Go from one place to others, of which each is within the limits."""
        seconds = 0.0
        for after_um in stations_um:
            for axis, way_um in zip(self._axes, _ways(before_um, after_um), strict=True):
                self.use.travel_um[axis] += way_um
            way_s = self.device.duration_s(before_um, after_um)
            if way_s > self.device.timeout_s:
                self._models.complaints.append(
                    f"{self.device.name} needs about {way_s:.3g} s for a motion, and is given up "
                    f"after {self.device.timeout_s:g} s (its timeout_s in the instrument file)"
                )
            seconds += way_s
            before_um = after_um
        self.values.update(zip(self._keys, before_um, strict=True))
        return seconds


def _fence(axis: str) -> tuple[str, str]:
    """Return the properties in which ASI's controllers have an axis's limits, in mm."""
    return f"LowerLim{axis.upper()}(mm)", f"UpperLim{axis.upper()}(mm)"


def _ways(before_um: Position, after_um: Position) -> Position:
    """Return how far each axis goes; nowhere if nobody knows from where."""
    ways = (abs(after - before) for before, after in zip(before_um, after_um, strict=True))
    return tuple(0.0 if math.isnan(way) else way for way in ways)


def _distance_um(before_um: Position, after_um: Position) -> float:
    """Return the longest way of an axis."""
    return max(_ways(before_um, after_um))
