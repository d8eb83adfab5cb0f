"""Where everything is: what was read back from the stages, told as it changes.

Whoever reads a stage (a plan, a motion at its end, a person) makes it known. While nothing
runs the stages are asked now and then, because a person may have moved them by hand; while
something runs nothing is asked besides.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from devices import DeviceError, HardwareDevice, Stage

__all__ = ["PositionBoard"]

LOGGER = logging.getLogger(__name__)
_EVERY_S: Final = 0.2
# Finer than any stage repeats: what differs by less is the same place.
_DECIMALS: Final = 2


class PositionBoard:
    """Tells of each new position, of one stage at most five times a second; from any thread.

    Parameters
    ----------
    stages
        Whose positions are told.
    publish
        Called with ``"positions"``, and as data ``positions_um`` by ``device.axis`` and when they
        were ``read``, in seconds since 1970.
    """

    def __init__(self, stages: Iterable[Stage], publish: Callable[..., Any]) -> None:
        self._stages = tuple(stages)
        self._publish = publish
        self._lock = threading.Lock()
        self._told: dict[str, dict[str, float]] = {}
        self._told_at: dict[str, float] = {}
        self._late: set[Stage] = set()
        self._silent: set[Stage] = set()
        for stage in self._stages:
            stage.listen(self._heard)
            self._heard(stage)

    @property
    def silent(self) -> tuple[str, ...]:
        """The stages that did not answer when they were asked last."""
        return tuple(sorted(stage.name for stage in self._silent))

    def catch_up(self) -> None:
        """Tell what came too soon after something else to be told at once."""
        with self._lock:
            late, self._late = self._late, set()
        for stage in late:
            self._heard(stage)

    def ask(self) -> None:
        """Read every stage now; blocks for a round trip each."""
        for stage in self._stages:
            try:
                stage.read()
            except DeviceError as error:
                if stage not in self._silent:
                    LOGGER.warning("%s was not read: %s", stage.name, error)
                self._silent.add(stage)
            else:
                self._silent.discard(stage)

    def _heard(self, device: HardwareDevice) -> None:
        if not isinstance(device, Stage) or not (readings := list(device.last_reading().values())):
            return
        found = {
            f"{device.name}.{axis}": round(float(reading["value"]), _DECIMALS) + 0.0
            for axis, reading in zip(device.limits, readings, strict=True)
        }
        now = _now()
        with self._lock:
            if self._told.get(device.name) == found:
                self._late.discard(device)
                return
            if now - self._told_at.get(device.name, -_EVERY_S) < _EVERY_S:
                self._late.add(device)
                return
            self._told[device.name], self._told_at[device.name] = found, now
            # Under the lock, so that of two that come at once the later is told later.
            self._publish("positions", positions_um=found, read=readings[-1]["timestamp"])


def _now() -> float:
    return time.monotonic()
