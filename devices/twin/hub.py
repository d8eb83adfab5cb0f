"""The twin's hub: it owns the world, and every other device of the twin is its peripheral."""

import threading

from devices.core import PythonHub, PythonPeripheral
from devices.twin.world import World

__all__ = ["Peripheral", "TwinHub"]

_LARGEST_SEED = 2**32 - 1


class TwinHub(PythonHub):
    """The hub of the digital twin. One hub, one world; its property Seed chooses which."""

    def __init__(self) -> None:
        super().__init__()
        self._seed = 0
        self._world: World | None = None
        # Not `_lock`: that one is the device's, and is held by the core during every call.
        self._making = threading.Lock()
        self.register_property(
            "Seed",
            getter=TwinHub.get_seed,
            setter=TwinHub.set_seed,
            limits=(0, _LARGEST_SEED),
            property_type=int,
            is_pre_init=True,
        )

    @property
    def world(self) -> World:
        """The world of this hub, made when it is first asked for."""
        # Devices are initialised in parallel, and any of them may be the first to ask.
        with self._making:
            if self._world is None:
                self._world = World(self._seed)
            return self._world

    def initialize(self) -> None:
        """Make the world."""
        self.world  # noqa: B018

    def get_seed(self) -> int:
        """Return the number that the sample and the noise grow from."""
        return self._seed

    def set_seed(self, seed: float) -> None:
        """Choose the world.

        Raises
        ------
        RuntimeError
            If it has been made already.
        """
        with self._making:
            if self._world is not None:
                raise RuntimeError(
                    f"the twin's world has been made from seed {self._seed}; set Seed in the "
                    "configuration file, before Initialize"
                )
            self._seed = int(seed)


class Peripheral(PythonPeripheral):
    """A device of the twin: it finds the world through its hub."""

    @property
    def world(self) -> World:
        """The world that this device is part of.

        Raises
        ------
        RuntimeError
            If the configuration names no twin hub as its parent.
        """
        if not isinstance(self.hub, TwinHub):
            raise RuntimeError(  # noqa: TRY004 - the configuration is wrong, no value is
                f"{self.get_label()} has no TwinHub as its parent; add "
                f"'#py Parent,{self.get_label()},<label of the hub>' to the configuration file"
            )
        return self.hub.world

    def initialize(self) -> None:
        """Refuse to start without a world."""
        self.world  # noqa: B018
