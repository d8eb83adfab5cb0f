"""What all lights have in common: they are put out, and seen to be out, whatever hangs."""

import logging
import time
from abc import abstractmethod

from devices.aside import Aside
from devices.base import HardwareDevice
from devices.errors import CoreTimeoutError, DeviceError

__all__ = ["LightSource"]

LOGGER = logging.getLogger(__name__)
_MOMENT_S = 1.0
"""What going out may take; not more than any answer."""
_POLL_S = 0.01


class LightSource(HardwareDevice):
    """A light: `stop` puts it out, `check_safe` sees that it is, and it is off after both.

    One that could not be put out, or is not known to be, is switched off at its source if that
    can be done, and `may_shine` until it was seen to be out.
    """

    may_shine = False
    """Whether it was told to go out and has not been seen to."""

    def stop(self, *, success: bool = False) -> None:  # noqa: ARG002 - bluesky's signature
        """Put it out at once, past the queue; blocks for as long as an answer may take.

        Raises
        ------
        DeviceError
            If it was not; says what was done instead.
        """
        closing = Aside(f"{self.name} off", self._put_out)
        if not closing.has_ended(self._moment_s):
            instead = self._switch_off()  # while the one that hangs may still answer
            if not closing.has_ended(self._core.timeout_s - self._moment_s):
                raise self._lit(self._hangs(), instead)
        if closing.error is not None:
            raise self._lit(closing.error, self._switch_off()) from closing.error

    def check_safe(self) -> None:
        """Raise `DeviceError` unless it is read back as out, after a moment to go out."""
        try:
            self._refuse_unless_out()
        except DeviceError as error:
            raise self._lit(error, self._switch_off()) from error
        self.may_shine = False

    def find(self) -> None:
        """Put it out again if it was not seen to be; raises `DeviceError` if it still is not."""
        if self.may_shine:
            self.stop()
            self.check_safe()

    @property
    def _moment_s(self) -> float:
        return min(_MOMENT_S, self._core.timeout_s)

    @abstractmethod
    def _put_out(self) -> None:
        """Let no light through; may hang."""

    @abstractmethod
    def _is_out(self) -> bool:
        """Read back whether no light is let through."""

    @abstractmethod
    def _shines_still(self) -> DeviceError:
        """Return what there is to say if light is let through."""

    @abstractmethod
    def _hangs(self) -> CoreTimeoutError:
        """Return what there is to say if it does not answer."""

    def _switch_off(self) -> str:
        """Switch off what makes the light; return what came of it, as a sentence."""
        return "Switch the light off by hand."

    def _refuse_unless_out(self) -> None:
        deadline = time.monotonic() + self._moment_s
        while not self._is_out():
            if time.monotonic() > deadline:
                raise self._shines_still()
            time.sleep(_POLL_S)

    def _lit(self, error: BaseException, instead: str) -> DeviceError:
        self.may_shine = True
        said = DeviceError(f"{str(error).rstrip('.')}. {instead}")
        LOGGER.error("%s may still shine: %s", self.name, said)
        return said
