"""Preflight: run a plan's message stream against the limits, without the hardware."""

from collections.abc import Mapping
from typing import Any

from bluesky.utils import Msg

from devices import HardwareDevice, LightSheet, LimitError
from gently.core.catalogue import BoundPlan
from gently.core.errors import FieldError, PlanRefusedError

__all__ = ["preflight"]


def preflight(plan: BoundPlan) -> None:
    """Consume the plan's messages and check each that moves or acquires.

    Runs on the caller's thread and never asks the hardware: readings are answered with
    what was read last, so the answer holds as long as nobody else moves the instrument.

    Raises
    ------
    PlanRefusedError
        At the first message that would be refused, naming the step; and if a message goes
        to a device that cannot be checked.
    """
    messages = plan.generate()
    answer: Any = None
    step = 0
    while True:
        try:
            message = messages.send(answer)
        except StopIteration:
            return
        except Exception as error:  # a plan may raise anything
            problem = f"{type(error).__name__}: {error} (after step {step})"
            raise _refused(plan, "plan", problem) from error
        step += 1
        try:
            _check(message)
        except LimitError as error:
            messages.close()
            raise _refused(plan, error.field, f"{error} (step {step})") from error
        except TypeError as error:
            messages.close()
            raise _refused(plan, "plan", f"{error} (step {step})") from error
        answer = _answer(message)


def _refused(plan: BoundPlan, axis: str, problem: str) -> PlanRefusedError:
    """Name the plan's own field where it has one for the axis."""
    candidates = (axis, f"{axis}_um", f"{axis}_ms")
    field = next((name for name in candidates if name in plan.kwargs), axis)
    return PlanRefusedError(plan.name, (FieldError(field, problem),))


def _check(message: Msg) -> None:
    if message.command not in ("set", "prepare"):
        return
    device = message.obj
    if not isinstance(device, HardwareDevice):
        raise TypeError(f"{device!r} cannot be checked, so it is not moved")
    if message.command == "set":
        device.check_value(*message.args)
    elif isinstance(device, LightSheet):
        device.check_prepare(*message.args)
    else:
        raise TypeError(f"{device.name} cannot be prepared")


def _answer(message: Msg) -> Any:
    if message.command == "read" and isinstance(message.obj, HardwareDevice):
        return _reading(message.obj)
    if message.command == "open_run":
        return ""
    return None


def _reading(device: HardwareDevice) -> Mapping[str, Any]:
    unknown = {"value": float("nan"), "timestamp": 0.0}
    last = device.last_reading()
    return {key: last.get(key, unknown) for key in device.describe()}
