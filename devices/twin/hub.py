"""The twin's hub: it owns the world, and every other device of the twin is its peripheral."""

import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from devices.core import PythonCamera, PythonHub, PythonPeripheral
from devices.twin.faults import Faults
from devices.twin.light_log import LightLog
from devices.twin.world import World

__all__ = ["Peripheral", "SerialLine", "TigerDevice", "TwinHub"]

_LARGEST_SEED = 2**32 - 1
_LONGEST_LATENCY_MS = 1000.0


class SerialLine:
    """The line to the Tiger controller: one exchange at a time, each of which takes its time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.latency_ms = 0.0

    def exchange(self) -> None:
        """Wait for a command to be answered."""
        if self.latency_ms:
            with self._lock:
                time.sleep(self.latency_ms / 1000)


class TwinHub(PythonHub):
    """The hub of the digital twin. One hub, one world; its property Seed chooses which."""

    def __init__(self) -> None:
        super().__init__()
        self._seed = 0
        self._light_log = ""
        self._world: World | None = None
        self.line = SerialLine()
        self.cameras: dict[str, PythonCamera] = {}
        """Those that are initialised, by label."""
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
        self.register_property(
            "LightLog",
            getter=TwinHub.get_light_log,
            setter=TwinHub.set_light_log,
            is_pre_init=True,
            property_type=str,
        )
        self.register_property(
            "SerialLatencyMs",
            getter=TwinHub.get_latency_ms,
            setter=TwinHub.set_latency_ms,
            limits=(0, _LONGEST_LATENCY_MS),
            property_type=float,
        )

        for name, getter, setter, limits in (
            ("SampleTimeS", TwinHub.get_time_s, TwinHub.set_time_s, (0, 1e6)),
            ("SampleSpeed", TwinHub.get_speed, TwinHub.set_speed, (0, 3600)),
            ("DriftUmPerHour", TwinHub.get_drift, TwinHub.set_drift, (0, 1000)),
        ):
            self.register_property(
                name, getter=getter, setter=setter, limits=limits, property_type=float
            )
        self.register_property(
            "Bleaching",
            getter=TwinHub.get_bleaching,
            setter=TwinHub.set_bleaching,
            allowed_values=("Off", "On"),
            property_type=str,
        )

    @property
    def world(self) -> World:
        """The world of this hub, made when it is first asked for."""
        # Devices are initialised in parallel, and any of them may be the first to ask.
        with self._making:
            if self._world is None:
                log = LightLog(Path(self._light_log), self._seed) if self._light_log else None
                self._world = World(self._seed, light_log=log)
            return self._world

    @property
    def faults(self) -> Faults:
        """What is wrong with its devices."""
        return self.world.faults

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

    def get_light_log(self) -> str:
        """Return the file in which the light is written down; empty if in none."""
        return self._light_log

    def set_light_log(self, path: str) -> None:
        """Choose the file in which the light is written down; before Initialize."""
        self._light_log = str(path)

    def get_latency_ms(self) -> float:
        """Return for how long an exchange with the Tiger controller takes, in ms."""
        return self.line.latency_ms

    def set_latency_ms(self, latency_ms: float) -> None:
        """Set for how long an exchange takes; 125 ms is what the rig's takes."""
        self.line.latency_ms = float(latency_ms)

    def get_time_s(self) -> float:
        """Return the sample's own time, in s."""
        return self.world.life.time_s()

    def set_time_s(self, time_s: float) -> None:
        """Make it so late in the sample's own time; its nuclei divide by it, and it drifts."""
        self.world.life.set_time_s(float(time_s))

    def get_speed(self) -> float:
        """Return how fast the sample's time goes; 0 when it stands still."""
        return self.world.life.speed

    def set_speed(self, speed: float) -> None:
        """Let the sample's time go so many times as fast as the clock."""
        self.world.life.speed = float(speed)

    def get_drift(self) -> float:
        """Return how fast the sample drifts, in µm an hour of its time."""
        return self.world.life.drift_um_per_h

    def set_drift(self, um_per_h: float) -> None:
        """Let the sample drift, in µm an hour of its time."""
        self.world.life.drift_um_per_h = float(um_per_h)

    def get_bleaching(self) -> str:
        """Return whether light bleaches the sample: Off or On."""
        return "On" if self.world.life.bleaches else "Off"

    def set_bleaching(self, value: str) -> None:
        """Let light bleach the sample, or not."""
        self.world.life.bleaches = value == "On"


class Peripheral(PythonPeripheral):
    """A device of the twin: it finds the world through its hub."""

    @property
    def twin(self) -> TwinHub:
        """The hub that this device belongs to.

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
        return self.hub

    @property
    def world(self) -> World:
        """The world that this device is part of."""
        return self.twin.world

    def initialize(self) -> None:
        """Refuse to start without a world."""
        self.world  # noqa: B018

    def get_property_value(self, prop_name: str) -> Any:
        """Return a property's value, or what is read instead."""
        value = super().get_property_value(prop_name)
        if not isinstance(self.hub, TwinHub):
            return value
        return self.hub.faults.read_backs.get((self.get_label(), prop_name), value)

    def set_property_value(self, prop_name: str, value: Any) -> None:
        """Set a property, unless it keeps what it has."""
        if isinstance(self.hub, TwinHub) and (self.get_label(), prop_name) in self.hub.faults.keeps:
            return
        super().set_property_value(prop_name, value)


class TigerDevice(Peripheral):
    """A device on the Tiger controller, with which it shares one serial line.

    Writing a property is an exchange. Reading one is none, because the adapter remembers what
    it wrote, but for those that change by themselves.
    """

    _CHANGING: ClassVar[frozenset[str]] = frozenset()

    @property
    def axis_letters(self) -> str:
        """What the controller calls its axes: the middle of ``XYStage:XY:31``."""
        return str(self.get_label()).split(":")[1]

    def exchange(self) -> None:
        """Wait for the controller's answer."""
        self.twin.line.exchange()
        self.twin.faults.wait_for_answer()

    def get_property_value(self, prop_name: str) -> Any:
        """Return a property's value."""
        if prop_name in self._CHANGING:
            self.exchange()
        return super().get_property_value(prop_name)

    def set_property_value(self, prop_name: str, value: Any) -> None:
        """Set a property."""
        if not self.get_property_info(prop_name).is_pre_init:
            self.exchange()
        super().set_property_value(prop_name, value)
