"""What every device of gently is: an ophyd device with a label, a read-back and a stop."""

import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from ophyd import Device
from ophyd.status import DeviceStatus

from devices.aside import Aside
from devices.core import Core
from devices.errors import CoreError, CoreTimeoutError, DeviceError, StoppedError
from devices.model import DeviceModel, Models

__all__ = ["ActionStatus", "HardwareDevice", "Reading"]

T = TypeVar("T")

Reading = dict[str, Any]
"""``{"value": ..., "timestamp": seconds since 1970}``, as Bluesky has it."""


class ActionStatus(DeviceStatus):  # type: ignore[misc]
    """The status of something that a device does.

    ophyd's own stops the device after it has told of a failure, when whoever was told may
    have asked for the next thing already, and tells the watchers that a failure is complete.
    """

    def __init__(self, device: "HardwareDevice") -> None:
        super().__init__(device, call_stop_on_failure=False)

    def _settled(self) -> None:
        if self._exception is None:
            super()._settled()


class HardwareDevice(Device):  # type: ignore[misc]
    """An ophyd device over one MMCore label.

    Its components are not signals of their own: one question to the hardware answers for
    all axes, because on a serial controller each question costs an eighth of a second.

    Parameters
    ----------
    name
        As in the instrument file; it prefixes the keys of the readings.
    core
        The owner of MMCore.
    label
        The Micro-Manager label.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset()
    """MMCore's device types that a label of this class may have."""

    def __init__(self, name: str, *, core: Core, label: str) -> None:
        super().__init__("", name=name)
        self.label = label
        self._core = core
        self._last: dict[str, Reading] = {}
        self._listeners: list[Callable[[HardwareDevice], None]] = []

    def read(self) -> dict[str, Reading]:
        """Read the hardware now, and remember the answer.

        Blocks for one round trip to the controller.

        Raises
        ------
        CoreTimeoutError, CoreError
            If the hardware does not answer.
        """
        self._remember(self._read_hardware())
        return self._last

    def listen(self, listener: "Callable[[HardwareDevice], None]") -> None:
        """Call `listener` whenever the device was read back, on whichever thread; not to wait."""
        self._listeners.append(listener)

    def last_reading(self) -> dict[str, Reading]:
        """Return what was read last, without asking the hardware; empty if nothing ever was."""
        return self._last

    def readback(self) -> dict[str, Reading]:
        """Read the hardware now; as `read`, with the units of each value."""
        self.read()
        return self.last_readback()

    def last_readback(self) -> dict[str, Reading]:
        """Return what was read last with its units; empty if nothing ever was."""
        keys = self.describe()
        return {
            key: {**reading, "units": keys[key].get("units", "")}
            for key, reading in self._last.items()
            if key in keys  # a light sheet's keys are those of the views it was prepared for
        }

    def model(self, models: Models) -> DeviceModel:  # noqa: ARG002 - for those made of others
        """Return the device as it was read last, to be modelled further."""
        return DeviceModel(self)

    @property
    def pace_source(self) -> str:
        """Where the times of its model come from; empty if it takes none."""
        return ""

    def check_safe(self) -> None:
        """Raise `DeviceError` if the hardware is not in its safe state after a `stop`."""

    @abstractmethod
    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data key of each reading, with its units. Never asks the hardware."""

    @abstractmethod
    def _read_hardware(self) -> Mapping[str, Any]: ...

    @abstractmethod
    def check_value(self, value: Any) -> None:
        """Raise `LimitError` if `set(value)` would be refused. Never asks the hardware."""

    def stop(self, *, success: bool = False) -> None:
        """Bring the device to its safe state at once, past the queue of ordinary calls.

        Raises
        ------
        CoreTimeoutError
            If the adapter itself is stuck.
        """

    def _at_once(self, work: Callable[[], object]) -> None:
        """Do what is to bring it to its safe state, aside: whoever waits for it must not hang.

        Raises
        ------
        CoreTimeoutError
            If it does not end; it is done if the device answers later.
        """
        doing = Aside(f"{self.name} stop", work)
        if not doing.has_ended(self._core.timeout_s):
            raise self._silent()
        if doing.error is not None:
            raise doing.error

    def _remember(self, values: Mapping[str, Any]) -> None:
        now = time.time()
        self._last = {key: {"value": value, "timestamp": now} for key, value in values.items()}
        for listener in self._listeners:
            listener(self)

    def _status(
        self,
        future: "Future[T]",
        then: Callable[[T], None],
        status: ActionStatus | None = None,
        *,
        timeout_s: float = 0.0,
    ) -> ActionStatus:
        """Let a status end with `future`, after `then` has found nothing wrong with what came.

        What may take `timeout_s` ends when the device should have answered by, also where a call
        that hangs keeps the core's thread from seeing that it has not.
        """
        status = status or ActionStatus(self)
        is_over = threading.Lock()  # held by the first of the two that come to an end

        def end(done: "Future[T]") -> None:
            patience.cancel()
            if not is_over.acquire(blocking=False):
                return
            error = done.exception()
            if isinstance(error, CoreTimeoutError):
                with suppress(DeviceError):  # the timeout is what is told
                    self.stop()
            if error:
                status.set_exception(self._about_itself(error))
                return
            try:
                then(done.result())
            except DeviceError as problem:
                status.set_exception(problem)
            else:
                status.set_finished()

        def give_up() -> None:
            if is_over.acquire(blocking=False):
                status.set_exception(self._silent())
                with suppress(DeviceError):  # as above; may hang, on this thread alone
                    self.stop()

        patience = threading.Timer(timeout_s + self._core.timeout_s, give_up)
        patience.name, patience.daemon = f"{self.name} answers", True
        patience.start()
        future.add_done_callback(end)
        return status

    def _silent(self) -> CoreTimeoutError:
        return CoreTimeoutError(
            f"{self.name} ({self.label}) does not answer; its state is unknown. Check its power "
            "and cable; if other devices answer, restart the device layer."
        )

    def _about_itself(self, error: BaseException) -> BaseException:
        """Return what the core says of a label as what is said of the device."""
        if not isinstance(error, CoreError | CoreTimeoutError | StoppedError):
            return error
        named = type(error)(f"{self.name}: {error}")
        named.__cause__ = error
        return named

    def _soon(self, work: Callable[[], object]) -> ActionStatus:
        """Do what blocks, on a thread of its own; the status ends with it."""
        status = ActionStatus(self)

        def run() -> None:
            try:
                work()
            except DeviceError as error:
                status.set_exception(error)
            else:
                status.set_finished()

        threading.Thread(target=run, name=f"{self.name} set", daemon=True).start()
        return status

    def _key(self, units: str, dtype: str = "number") -> dict[str, Any]:
        return {"source": f"mmcore://{self.label}", "dtype": dtype, "shape": [], "units": units}
