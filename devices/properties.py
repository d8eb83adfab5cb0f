"""Properties of Micro-Manager devices, written only where they change, and read back.

On a serial line each question costs an eighth of a second, and a volume has some forty properties.
"""

import threading
from collections.abc import Mapping

from devices.core import Core
from devices.errors import CoreError, DeviceError

__all__ = ["Properties", "Value"]

Value = str | float | int
# The controller holds µm to a thousandth, degrees to a ten thousandth.
_CLOSE = 6e-4


class Properties:
    """What each device was told last, and has confirmed; safe to use from any thread.

    Parameters
    ----------
    core
        With the devices.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._known: dict[tuple[str, str], Value] = {}
        self._lock = threading.Lock()
        self.round_trips = 0
        """Writes and reads of properties so far; on a serial line each takes its time."""

    def write(self, label: str, values: Mapping[str, Value]) -> None:
        """Write those of a device's `values` that it is not known to have, and read them back.

        Blocks for two round trips each; the first that fails ends it, and what the device had
        is then unknown.

        Raises
        ------
        CoreError
            If the device refuses one, or reads back another value; names both.
        CoreTimeoutError
            If it does not answer.
        """
        for name, value in values.items():
            if self._known.get((label, name)) != value:
                try:
                    self._tell(label, name, value)
                except DeviceError:
                    self.forget(label)
                    raise

    def begin(self, label: str, name: str, value: Value) -> None:
        """Write a property that may have changed again before it could be read back."""
        with self._lock:
            self._known.pop((label, name), None)
        self.round_trips += 1
        self._core.ask(label, lambda mmc: mmc.setProperty(label, name, value))

    def read(self, label: str, name: str) -> str:
        """Return what a device has, as text; blocks for a round trip."""
        self.round_trips += 1
        return str(self._core.ask(label, lambda mmc: mmc.getProperty(label, name)))

    def forget(self, *labels: str) -> None:
        """Hold nothing for known of some devices, or of any if none is named."""
        with self._lock:
            self._known = {
                key: value for key, value in self._known.items() if labels and key[0] not in labels
            }

    def _tell(self, label: str, name: str, value: Value) -> None:
        self.begin(label, name, value)
        found = self.read(label, name)
        if not _is_same(value, found):
            raise CoreError(
                f"{label} was told {name} = {value} and reads back {found}. It is not used as it "
                "is; look at the device, and try again."
            )
        with self._lock:
            self._known[label, name] = value


def _is_same(asked: Value, found: str) -> bool:
    if isinstance(asked, str):
        return asked == found
    try:
        return abs(float(found) - asked) <= _CLOSE
    except ValueError:
        return False
