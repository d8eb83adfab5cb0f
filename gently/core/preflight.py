"""Preflight: run a plan's message stream against the limits and the disk, without the hardware."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from bluesky.utils import Msg, MsgGenerator

from devices import HardwareDevice, LightSheet, LimitError
from gently.core.catalogue import BoundPlan
from gently.core.errors import FieldError, PlanRefusedError

__all__ = ["Room", "preflight"]

_MOST_STEPS = 500_000
"""A plan that never ends must not be checked for ever; a day's sleep has 345,600."""


class Room(Protocol):
    """Where the volumes will lie."""

    @property
    def volumes(self) -> Path:
        """The folder."""

    def free_bytes(self) -> int:
        """Return how much still fits into it."""


def preflight(plan: BoundPlan, room: Room) -> None:
    """Consume the plan's messages and check each that moves or acquires.

    Runs on the caller's thread and never asks the hardware: readings are answered with
    what was read last, so the answer holds as long as nobody else moves the instrument.

    Raises
    ------
    PlanRefusedError
        At the first message that would be refused, naming the step; if a message goes to a
        device that cannot be checked, or the plan raises or does not end; and if all that it
        acquires does not fit on the disk.
    """
    messages = plan.generate()
    try:
        needed_bytes = _consume(plan, messages)
    finally:
        with suppress(RuntimeError):  # it wants to clean up, by messages; there is nothing to
            messages.close()
    free_bytes = room.free_bytes() if needed_bytes else 0
    if needed_bytes > free_bytes:
        raise _refused(
            plan,
            "num_slices",
            f"needs {needed_bytes} bytes and {room.volumes} has {free_bytes} bytes free. "
            "Free space there, ask for less, or store elsewhere",
        )


def _consume(plan: BoundPlan, messages: MsgGenerator[Any]) -> int:
    """Check each message, and return how many bytes go to the disk."""
    needed_bytes = 0
    answer: Any = None
    for step in range(1, _MOST_STEPS + 1):
        try:
            message = messages.send(answer)
        except StopIteration:
            return needed_bytes
        except Exception as error:  # a plan may raise anything
            problem = f"{type(error).__name__}: {error} (after step {step - 1})"
            raise _refused(plan, "plan", problem) from error
        try:
            _check(message)
        except LimitError as error:
            raise _refused(plan, error.field, f"{error} (step {step})") from error
        except TypeError as error:
            raise _refused(plan, "plan", f"{error} (step {step})") from error
        needed_bytes += _bytes(message)
        answer = _answer(message)
    problem = f"does not end within {_MOST_STEPS} steps, so it was not checked to its end"
    raise _refused(plan, "plan", problem)


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


def _bytes(message: Msg) -> int:
    """Return what a message puts on the disk: each volume is prepared before it is taken."""
    if message.command == "prepare" and isinstance(message.obj, LightSheet):
        return message.obj.volume_bytes(*message.args)
    return 0


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
