"""What all lights have in common: they are put out, and seen to be out, whatever hangs."""

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable

from devices.base import HardwareDevice
from devices.errors import CoreTimeoutError, DeviceError

__all__ = ["LightSource"]

LOGGER = logging.getLogger(__name__)
_HANG_S = 1.0
_REST_S = 1.0
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
        closing = _Aside(f"{self.name} off", self._put_out)
        if not closing.has_ended(_HANG_S):
            instead = self._switch_off()  # while the one that hangs may still answer
            if not closing.has_ended(max(0.0, self._core.timeout_s - _HANG_S)):
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
        deadline = time.monotonic() + _REST_S
        while not self._is_out():
            if time.monotonic() > deadline:
                raise self._shines_still()
            time.sleep(_POLL_S)

    def _lit(self, error: BaseException, instead: str) -> DeviceError:
        self.may_shine = True
        said = DeviceError(f"{str(error).rstrip('.')}. {instead}")
        LOGGER.error("%s may still shine: %s", self.name, said)
        return said

    def _within_reason(self, what: str, work: Callable[[], None]) -> BaseException | None:
        """Do what may hang, and return why it did not come to its end, if it did not."""
        doing = _Aside(f"{self.name} {what}", work)
        return doing.error if doing.has_ended(_HANG_S) else self._silent()


class _Aside:
    """Something that is done on a thread of its own, because it may hang."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def has_ended(self, timeout_s: float) -> bool:
        """Wait for its end; False if it did not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:  # noqa: BLE001 - the top of a thread
            self.error = error
