"""The scanners: each is one side's pair of mirrors, and the door to the card of both."""

from typing import ClassVar

from devices.core import PythonGalvo
from devices.twin.cards import GALVO, SCAN, State
from devices.twin.hub import TigerDevice
from devices.twin.settings import register
from devices.twin.spim import Side

__all__ = ["Scanner"]

_SIDES: dict[str, Side] = {"AB": "A", "CD": "B"}


class Scanner(TigerDevice, PythonGalvo):
    """One side's mirrors, driven by their properties alone.

    X draws the sheet, Y moves it from slice to slice. Which side it is, its label says:
    ``Scanner:AB:33`` or ``Scanner:CD:33``.
    """

    _CHANGING: ClassVar[frozenset[str]] = frozenset({"SPIMState"})

    def __init__(self) -> None:
        super().__init__()
        register(self, SCAN, lambda scanner: scanner.world.scan.settings)
        register(self, GALVO, lambda scanner: scanner.world.scan.galvos[scanner.side])
        self.register_property(
            "SPIMState",
            getter=Scanner.get_state,
            setter=Scanner.set_state,
            allowed_values=("Idle", "Armed", "Running"),
            property_type=str,
        )

    @property
    def side(self) -> Side:
        """Whose mirrors these are."""
        return _SIDES[self.axis_letters]

    def busy(self) -> bool:
        """Return whether a run is under way."""
        return self.world.scan.state == "Running"

    def get_state(self) -> State:
        """Return the state of the card."""
        return self.world.scan.state

    def set_state(self, state: State) -> None:
        """Write the state of the card; Running starts a run."""
        self.world.scan.go(state)
