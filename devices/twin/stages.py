"""The twin's stages: XY, the sample's focus drive, the head's F drive, and the piezos.

Setting a position starts a motion and returns; `busy` reports. Nothing here knows the
software limits: the firmware's fence holds an axis silently where it was told to, and the
mechanical end stops, far outside of it, refuse a command.

A stage's axis is the one that its label names: ``ZStage:V:37`` is the axis V.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, NoReturn

from devices.core import FocusDirection, PythonStage, PythonXYStage
from devices.motors import Trapezoid
from devices.twin.cards import PIEZO, State
from devices.twin.hub import TigerDevice
from devices.twin.motion import Axis
from devices.twin.settings import register
from devices.twin.spim import Side

__all__ = ["FocusDrive", "Piezo", "XYStage"]

_SPEEDS_MM_S = (0.001, 10.0)
_RAMPS_MS = (1.0, 1000.0)
_FENCES_MM = (-1000.0, 1000.0)
# The firmware holds a fence as a count of its encoder.
_FENCE_STEP_MM = 0.0005
_PIEZO_SIDES: dict[str, Side] = {"P": "A", "Q": "B"}

Find = Callable[[Any], Axis]
"""Finds an axis from its stage."""


class _FixedCoordinates(TigerDevice):
    """A stage whose coordinates cannot be shifted: limits in µm stay true."""

    def home(self) -> NoReturn:
        """Refuse."""
        self._refuse("does not home: its coordinates are absolute")

    def set_origin(self) -> NoReturn:
        """Refuse."""
        self._refuse("keeps its origin: shifted coordinates would shift every limit")

    def set_adapter_origin_um(self, *_position_um: float) -> NoReturn:
        """Refuse."""
        self._refuse("keeps its origin: shifted coordinates would shift every limit")

    def _ends_at(self, letter: str, axis: Axis, target_um: float) -> float:
        return self.twin.faults.axis(letter).target_um(axis.position_um(), target_um)

    def _read(self, letter: str, position_um: float) -> float:
        return position_um + self.twin.faults.axis(letter).reads_off_um

    def _refuse(self, why: str) -> NoReturn:
        raise RuntimeError(f"{self.get_label()} {why}. Move it to a position instead.")

    def _add_motor(self, letter: str, find: Find) -> None:
        """Add the properties of a motor; the axes of an XY stage have their letter in them."""
        for name, getter, setter, limits in (
            (f"MotorSpeed{letter}-S(mm/s)", _speed_mm_s, _set_speed, _SPEEDS_MM_S),
            (f"Acceleration{letter}-AC(ms)", _ramp_ms, _set_ramp, _RAMPS_MS),
            (f"LowerLim{letter}(mm)", _lower_mm, _set_lower, _FENCES_MM),
            (f"UpperLim{letter}(mm)", _upper_mm, _set_upper, _FENCES_MM),
        ):
            self.register_property(
                name,
                getter=lambda stage, get=getter: get(find(stage)),
                setter=lambda stage, value, put=setter: put(find(stage), float(value)),
                limits=limits,
                property_type=float,
            )


class XYStage(_FixedCoordinates, PythonXYStage):
    """A motorised XY stage."""

    def __init__(self) -> None:
        super().__init__()
        self._add_motor("X", lambda stage: stage.world.x)
        self._add_motor("Y", lambda stage: stage.world.y)

    def set_position_um(self, x: float, y: float) -> None:
        """Start towards (x, y); past an end stop on one axis, neither moves."""
        self.exchange()
        world = self.world
        world.x.stops.check(world.x.name, x)
        world.y.stops.check(world.y.name, y)
        targets = self._ends_at("X", world.x, x), self._ends_at("Y", world.y, y)
        for axis, target_um in zip((world.x, world.y), targets, strict=True):
            axis.go(target_um)
        world.settle()

    def get_position_um(self) -> tuple[float, float]:
        """Return where it is; the controller is asked for each axis."""
        self.exchange()
        x_um = self._read("X", self.world.x.position_um())
        self.exchange()
        return x_um, self._read("Y", self.world.y.position_um())

    def busy(self) -> bool:
        """Return whether it is on its way."""
        self.exchange()
        return self.world.x.is_moving or self.world.y.is_moving

    def stop(self) -> None:
        """Stay here."""
        self.exchange()
        self.world.x.stop()
        self.world.y.stop()
        self.world.settle()

    def set_origin_x(self) -> None:
        """Refuse."""
        self.set_origin()

    def set_origin_y(self) -> None:
        """Refuse."""
        self.set_origin()


class _ZStage(_FixedCoordinates, PythonStage):
    """A stage along one axis."""

    def __init__(self) -> None:
        super().__init__()
        self._direction = FocusDirection.Unknown

    @property
    @abstractmethod
    def axis(self) -> Axis:
        """What it moves."""

    def set_position_um(self, val: float) -> None:
        """Start towards `val`."""
        self.exchange()
        self.axis.go(self._ends_at(self.axis_letters, self.axis, val))

    def get_position_um(self) -> float:
        """Return where it is."""
        self.exchange()
        return self._read(self.axis_letters, self.axis.position_um())

    def busy(self) -> bool:
        """Return whether it is on its way."""
        self.exchange()
        return self.axis.is_moving

    def stop(self) -> None:
        """Stay here."""
        self.exchange()
        self.axis.stop()

    # A saved configuration states the direction, and cannot be loaded by a stage that refuses it.
    def set_focus_direction(self, sign: int) -> None:
        """Note which way the sample is."""
        self._direction = FocusDirection(sign)

    def get_focus_direction(self) -> FocusDirection:
        """Return what was noted."""
        return self._direction


class FocusDrive(_ZStage):
    """A motorised drive: Z raises the sample, V raises the head with both SPIM objectives."""

    def __init__(self) -> None:
        super().__init__()
        self._add_motor("", lambda drive: drive.axis)

    @property
    def axis(self) -> Axis:
        """The sample's axis or the head's."""
        return {"Z": self.world.focus, "V": self.world.head}[self.axis_letters]


class Piezo(_ZStage):
    """A side's imaging piezo: moves the plane that is seen, and sweeps when the card leads it."""

    _CHANGING: ClassVar[frozenset[str]] = frozenset({"SPIMState"})

    def __init__(self) -> None:
        super().__init__()
        register(self, PIEZO, lambda piezo: piezo.world.scan.piezos[piezo.side].settings)
        self.register_property(
            "SPIMState",
            getter=Piezo.get_state,
            setter=Piezo.set_state,
            allowed_values=("Idle", "Armed", "Running"),
            property_type=str,
        )

    @property
    def side(self) -> Side:
        """Whose plane it moves."""
        return _PIEZO_SIDES[self.axis_letters]

    @property
    def axis(self) -> Axis:
        """The piezo itself."""
        return self.world.piezos[self.side]

    def set_position_um(self, val: float) -> None:
        """Start towards `val`; with its motor off it stays."""
        if self._card.settings["MotorOnOff"] == "On":
            super().set_position_um(val)

    def get_position_um(self) -> float:
        """Return where it is, also during a sweep."""
        self.exchange()
        return self._read(self.axis_letters, self.world.pose(self.side).piezo_um)

    def get_state(self) -> State:
        """Return the state of its card."""
        return self.world.scan.piezo_state(self.side)

    def set_state(self, state: State) -> None:
        """Write the state of its card: Armed, it sweeps in every run, until Idle."""
        if state == "Running":
            raise RuntimeError(
                f"{self.get_label()} runs when the scan card does; write SPIMState=Armed here, "
                "and SPIMState=Running to the scanner"
            )
        self._card.is_armed = state == "Armed"

    @property
    def _card(self) -> Any:
        return self.world.scan.piezos[self.side]


def _motor(axis: Axis) -> Trapezoid:
    if not isinstance(axis.law, Trapezoid):
        raise TypeError(f"{axis.name} has no motor")
    return axis.law


def _speed_mm_s(axis: Axis) -> float:
    return _motor(axis).speed_um_s / 1000


def _ramp_ms(axis: Axis) -> float:
    return 1000 * _motor(axis).ramp_s


def _set_speed(axis: Axis, speed_mm_s: float) -> None:
    # As an ASI controller does: the time to the top speed stays.
    axis.law = Trapezoid.of(1000 * speed_mm_s, ramp_s=_motor(axis).ramp_s)


def _set_ramp(axis: Axis, ramp_ms: float) -> None:
    axis.law = Trapezoid.of(_motor(axis).speed_um_s, ramp_s=ramp_ms / 1000)


def _lower_mm(axis: Axis) -> float:
    return axis.fence.low_um / 1000


def _upper_mm(axis: Axis) -> float:
    return axis.fence.high_um / 1000


def _set_lower(axis: Axis, mm: float) -> None:
    axis.fence = replace(axis.fence, low_um=_on_encoder_um(mm))


def _set_upper(axis: Axis, mm: float) -> None:
    axis.fence = replace(axis.fence, high_um=_on_encoder_um(mm))


def _on_encoder_um(mm: float) -> float:
    return round(1000 * _FENCE_STEP_MM * round(mm / _FENCE_STEP_MM), 3)
