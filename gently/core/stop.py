"""Stop: bring the microscope to its safe state, past the queue, the plan and the RunEngine.

Each device is stopped on a thread of its own with a deadline, so that one that hangs
cannot keep the others moving. What is reported is what was read back afterwards.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from devices import HardwareDevice, Instrument, LightSource
from gently.core.errors import WrongStateError
from gently.core.queue import PlanQueue
from gently.core.runner import Order, Runner

__all__ = ["DeviceAfterStop", "StopReport", "stop_devices", "stop_everything", "stop_for_good"]

LOGGER = logging.getLogger(__name__)
_DEVICE_S = 2.0
_PLAN_S = 5.0


@dataclass(frozen=True)
class DeviceAfterStop:
    """What was found of one device after the stop."""

    stopped: bool
    readings: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        found: dict[str, Any] = {"stopped": self.stopped, "readings": dict(self.readings)}
        return found if self.error is None else {**found, "error": self.error}


@dataclass(frozen=True)
class StopReport:
    """What a stop has achieved.

    Parameters
    ----------
    devices
        By name.
    item_uid
        Of the item that was ended, if one was running.
    plan_ended
        Whether it had ended when the report was made.
    seconds
        From the request to the last read-back.
    """

    devices: Mapping[str, DeviceAfterStop]
    item_uid: str | None
    plan_ended: bool
    seconds: float

    @property
    def success(self) -> bool:
        """Whether everything is at rest and known to be."""
        return self.plan_ended and all(device.stopped for device in self.devices.values())

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        refused = [name for name, device in self.devices.items() if not device.stopped]
        msg = f"Not stopped: {', '.join(refused)}." if refused else ""
        if not self.plan_ended:
            msg += " The plan has not ended; nothing moves until it has."
        return {
            "success": self.success,
            "msg": msg.strip(),
            "devices": {name: device.message() for name, device in self.devices.items()},
            "item_uid": self.item_uid,
            "seconds": self.seconds,
        }


def stop_everything(
    instrument: Instrument, runner: Runner, queue: PlanQueue, reason: str
) -> StopReport:
    """Stop every device at once, end the plan, and read everything back.

    Blocks for as long as the devices need, and of those that hang for no more than 2 s, thrice, and
    5 s for the plan. From the first line on nothing new moves; motions are allowed again once the
    plan has ended.
    """
    began = time.monotonic()
    devices = instrument.devices
    instrument.core.latch()
    plan = _PlanEnd(runner, queue, reason)
    stopping = _Round(devices, _stop)  # without waiting for the plan
    errors = stopping.errors()
    ended = plan.ended.wait(_PLAN_S)
    found = _read_back(instrument, errors)
    if ended:
        instrument.core.release()
    else:
        threading.Thread(
            target=_release_later, args=(instrument, plan.ended), name="release", daemon=True
        ).start()
    return StopReport(
        devices=found,
        item_uid=plan.item.item_uid if plan.item else None,
        plan_ended=ended,
        seconds=time.monotonic() - began,
    )


def stop_devices(instrument: Instrument) -> Mapping[str, DeviceAfterStop]:
    """Stop every device at once and read it back, where no plan runs; blocks as `stop_everything`.

    Nothing moves afterwards, until the core is released.
    """
    instrument.core.latch()
    return _read_back(instrument, _Round(instrument.devices, _stop).errors())


def stop_for_good(instrument: Instrument, runner: Runner, timeout_s: float) -> bool:
    """Stop every device at once, and end the plan and the runner; False if it did not in time.

    Nothing moves afterwards: the microscope is about to be put away.
    """
    instrument.core.latch()
    runner.foresee("the device layer is shutting down")
    stopping = _Round(instrument.devices, _stop)  # without waiting for a plan that may hang
    ended = runner.close(timeout_s)
    for name, error in stopping.errors().items():
        LOGGER.error("%s did not stop: %s", name, error)
    return ended


def _stop(device: HardwareDevice) -> None:
    device.stop()


def _read_back(instrument: Instrument, errors: Mapping[str, str]) -> Mapping[str, DeviceAfterStop]:
    """Return what is found of each device after a stop, with what went wrong in it."""
    readings: dict[str, Any] = {}

    def look(device: HardwareDevice) -> None:
        with instrument.core.past_the_queue():
            try:
                device.check_safe()
            finally:  # one that is not safe is read as well: where it is matters most
                readings[device.name] = device.readback()

    # The lights first here, too: each takes more than one answer.
    lights = {light.name: light for light in instrument.lights}
    others = {name: one for name, one in instrument.devices.items() if name not in lights}
    for part in (lights, others):
        errors = {**_Round(part, look).errors(), **errors}
    return {
        name: DeviceAfterStop(name not in errors, readings.get(name, {}), errors.get(name))
        for name in instrument.devices
    }


def _release_later(instrument: Instrument, ended: threading.Event) -> None:
    while not ended.wait(_PLAN_S):
        LOGGER.warning("the plan has not ended yet; the microscope stays stopped")
    instrument.core.release()


class _PlanEnd:
    """Ends the plan and the queue, on a thread of its own: the queue may wait for a disk."""

    def __init__(self, runner: Runner, queue: PlanQueue, reason: str) -> None:
        runner.foresee(reason)  # before a device that stands still breaks the plan
        self.item = queue.running
        """The item that was told to end; until that is decided, the one that ran."""
        self.ended = threading.Event()
        threading.Thread(
            target=self._run, args=(runner, queue, reason), name="plan-end", daemon=True
        ).start()

    def _run(self, runner: Runner, queue: PlanQueue, reason: str) -> None:
        queue.set_autostart(enabled=False)
        with suppress(WrongStateError):  # the queue is not running
            queue.request_stop(pending=True)
        self.item = queue.running or self.item  # read after that: no other item follows it
        with suppress(WrongStateError):  # it has just ended
            runner.order(Order.ABORT, reason)
        while self.item and not queue.wait_until_ended(self.item.item_uid, _PLAN_S):
            pass
        runner.unforesee(reason)
        self.ended.set()


class _Round:
    """Does something with every device at the same time, each on a thread of its own.

    Time is up when none has ended for a while: those on one serial line can only do so one after
    the other, at an eighth of a second for each question.
    """

    def __init__(
        self, devices: Mapping[str, HardwareDevice], act: Callable[[HardwareDevice], None]
    ) -> None:
        self._act = act
        self._deadline = time.monotonic() + _DEVICE_S
        self._errors = dict.fromkeys(devices, f"did not answer within {_DEVICE_S:g} s")
        self._threads = [
            threading.Thread(
                target=self._do, args=(device,), name=f"stop {device.name}", daemon=True
            )
            # The lights first, whose answers on a slow line would come behind all others.
            for device in sorted(devices.values(), key=lambda one: not isinstance(one, LightSource))
        ]
        for thread in self._threads:
            thread.start()

    def errors(self) -> dict[str, str]:
        """Wait until all is done, or time is up; return what went wrong, by name."""
        for thread in self._threads:
            while thread.is_alive() and (left_s := self._deadline - time.monotonic()) > 0:
                thread.join(left_s)
        return dict(self._errors)

    def _do(self, device: HardwareDevice) -> None:
        try:
            self._act(device)
        except Exception as error:  # noqa: BLE001 - the top of a thread: it must not hide
            self._errors[device.name] = str(error)
        else:
            del self._errors[device.name]
        self._deadline = time.monotonic() + _DEVICE_S
