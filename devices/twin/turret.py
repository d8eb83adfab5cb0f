"""The twin's objective turret."""

from devices.core import PythonState
from devices.twin.hub import Peripheral

__all__ = ["Turret"]

_POSITIONS = 6


class Turret(Peripheral, PythonState):
    """A turret of six positions below the sample."""

    def __init__(self) -> None:
        super().__init__({index: f"Position-{index + 1}" for index in range(_POSITIONS)})
        self._position = 0

    def get_state(self) -> int:
        """Return which position is in the light path, from 0."""
        return self._position

    def set_state(self, position: int) -> None:
        """Turn to a position."""
        self.twin.line.exchange()
        self._position = int(position)
