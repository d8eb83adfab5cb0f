"""The twin's stages: an XY stage, a focus drive, and a piezo that steps with the camera.

Setting a position starts a motion and returns; `busy` reports. Nothing here knows the
software limits: only the mechanical end stops, far outside of them, refuse a command.
"""

from abc import abstractmethod
from typing import NoReturn

from devices.core import FocusDirection, PythonStage, PythonXYStage
from devices.motors import Trapezoid
from devices.twin.hub import Peripheral
from devices.twin.motion import Axis

__all__ = ["FocusDrive", "Piezo", "XYStage"]

_SPEEDS_MM_S = (0.001, 10.0)
_RAMPS_MS = (1.0, 1000.0)
_LONGEST_SEQUENCE = 10_000


class _FixedCoordinates(Peripheral):
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

    def _refuse(self, why: str) -> NoReturn:
        raise RuntimeError(f"{self.get_label()} {why}. Move it to a position instead.")


class XYStage(_FixedCoordinates, PythonXYStage):
    """A motorised XY stage."""

    def __init__(self) -> None:
        super().__init__()
        for name, getter, setter, limits in (
            ("MotorSpeedX-S(mm/s)", XYStage.get_speed_x, XYStage.set_speed_x, _SPEEDS_MM_S),
            ("MotorSpeedY-S(mm/s)", XYStage.get_speed_y, XYStage.set_speed_y, _SPEEDS_MM_S),
            ("AccelerationX-AC(ms)", XYStage.get_ramp_x, XYStage.set_ramp_x, _RAMPS_MS),
            ("AccelerationY-AC(ms)", XYStage.get_ramp_y, XYStage.set_ramp_y, _RAMPS_MS),
        ):
            self.register_property(
                name, getter=getter, setter=setter, limits=limits, property_type=float
            )

    def set_position_um(self, x: float, y: float) -> None:
        """Start towards (x, y); past an end stop on one axis, neither moves."""
        world = self.world
        world.x.stops.check(world.x.name, x)
        world.y.stops.check(world.y.name, y)
        world.x.go(x)
        world.y.go(y)

    def get_position_um(self) -> tuple[float, float]:
        """Return where it is."""
        pose = self.world.pose()
        return pose.x_um, pose.y_um

    def busy(self) -> bool:
        """Return whether it is on its way."""
        return self.world.x.is_moving or self.world.y.is_moving

    def stop(self) -> None:
        """Stay here."""
        self.world.x.stop()
        self.world.y.stop()

    def set_origin_x(self) -> None:
        """Refuse."""
        self.set_origin()

    def set_origin_y(self) -> None:
        """Refuse."""
        self.set_origin()

    def get_speed_x(self) -> float:
        """Return the top speed along x, in mm/s."""
        return _speed_mm_s(self.world.x)

    def set_speed_x(self, speed_mm_s: float) -> None:
        """Set the top speed along x, in mm/s, of later motions."""
        _set_speed(self.world.x, speed_mm_s)

    def get_speed_y(self) -> float:
        """Return the top speed along y, in mm/s."""
        return _speed_mm_s(self.world.y)

    def set_speed_y(self, speed_mm_s: float) -> None:
        """Set the top speed along y, in mm/s, of later motions."""
        _set_speed(self.world.y, speed_mm_s)

    def get_ramp_x(self) -> float:
        """Return the time to the top speed along x, in ms."""
        return _ramp_ms(self.world.x)

    def set_ramp_x(self, ramp_ms: float) -> None:
        """Set the time to the top speed along x, in ms, of later motions."""
        _set_ramp(self.world.x, ramp_ms)

    def get_ramp_y(self) -> float:
        """Return the time to the top speed along y, in ms."""
        return _ramp_ms(self.world.y)

    def set_ramp_y(self, ramp_ms: float) -> None:
        """Set the time to the top speed along y, in ms, of later motions."""
        _set_ramp(self.world.y, ramp_ms)


class _ZStage(_FixedCoordinates, PythonStage):
    """A stage along the optical axis."""

    def __init__(self) -> None:
        super().__init__()
        self._direction = FocusDirection.Unknown

    @property
    @abstractmethod
    def _axis(self) -> Axis:
        """What it moves."""

    def set_position_um(self, val: float) -> None:
        """Start towards `val`."""
        self._axis.go(val)

    def get_position_um(self) -> float:
        """Return where it is."""
        return self._axis.position_um()

    def busy(self) -> bool:
        """Return whether it is on its way."""
        return self._axis.is_moving

    def stop(self) -> None:
        """Stay here."""
        self._axis.stop()

    # A saved configuration states the direction, and cannot be loaded by a stage that refuses it.
    def set_focus_direction(self, sign: int) -> None:
        """Note which way the sample is."""
        self._direction = FocusDirection(sign)

    def get_focus_direction(self) -> FocusDirection:
        """Return what was noted."""
        return self._direction


class FocusDrive(_ZStage):
    """A motorised drive that raises the sample."""

    def __init__(self) -> None:
        super().__init__()
        self.register_property(
            "MotorSpeed-S(mm/s)",
            getter=FocusDrive.get_speed,
            setter=FocusDrive.set_speed,
            limits=_SPEEDS_MM_S,
            property_type=float,
        )
        self.register_property(
            "Acceleration-AC(ms)",
            getter=FocusDrive.get_ramp,
            setter=FocusDrive.set_ramp,
            limits=_RAMPS_MS,
            property_type=float,
        )

    @property
    def _axis(self) -> Axis:
        return self.world.focus

    def get_speed(self) -> float:
        """Return the top speed, in mm/s."""
        return _speed_mm_s(self.world.focus)

    def set_speed(self, speed_mm_s: float) -> None:
        """Set the top speed, in mm/s, of later motions."""
        _set_speed(self.world.focus, speed_mm_s)

    def get_ramp(self) -> float:
        """Return the time to the top speed, in ms."""
        return _ramp_ms(self.world.focus)

    def set_ramp(self, ramp_ms: float) -> None:
        """Set the time to the top speed, in ms, of later motions."""
        _set_ramp(self.world.focus, ramp_ms)


class Piezo(_ZStage):
    """The imaging piezo: moves the plane that is seen, and steps at each frame."""

    @property
    def _axis(self) -> Axis:
        return self.world.piezo

    def get_sequence_max_length(self) -> int:
        """Return how many positions it can step through."""
        return _LONGEST_SEQUENCE

    def send_sequence(self, sequence: tuple[float, ...]) -> None:
        """Take the positions to step through, in µm."""
        self.world.piezo.load(tuple(float(position) for position in sequence))

    def start_sequence(self) -> None:
        """Go one position further at the start of each frame, beginning with the first."""
        self.world.piezo.arm()

    def stop_sequence(self) -> None:
        """Step no more, and stay."""
        self.world.piezo.disarm()


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
