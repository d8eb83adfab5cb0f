"""The copilot's verbs over the device layer: run a plan and tell how it ended; ask a question."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gently.agent.commands import BUILTINS, BuiltinCommand
from gently.client import DeviceLayerClient
from gently.core.data_store import Trace
from gently.wire import Item, ItemState, PlanCall, Progress, Result, Status

VOLUMES_SHOWN: Final = 20


@dataclass(frozen=True)
class Completed:
    """The plan ran to its end."""

    item: Item
    result: Result


@dataclass(frozen=True)
class Failed:
    """The plan ended with an error."""

    item: Item
    reason: str


@dataclass(frozen=True)
class Ended:
    """Somebody ended the plan early, or took it out of the queue.

    Attributes
    ----------
    how : str
        "stopped", "aborted", "halted" or "cancelled".
    """

    item: Item
    how: str
    reason: str


Outcome = Completed | Failed | Ended


class QueueServerClient:
    """Runs plans on the device layer and follows them; answers the builtin commands.

    Every method may raise a `ClientError`.

    Parameters
    ----------
    device_layer : DeviceLayerClient
        The microscope.
    trace : callable
        Returns the lineage of a uid, or raises `DataStoreError`.
    """

    def __init__(self, device_layer: DeviceLayerClient, trace: Callable[[str], Trace]) -> None:
        self._device_layer = device_layer
        self._trace = trace

    def submit(self, plan: PlanCall) -> Item:
        """Have a plan run now; returns as soon as it is accepted."""
        return self._device_layer.execute(plan)

    def follow(
        self, item_uid: str, on_progress: Callable[[Progress], None] | None = None
    ) -> Outcome:
        """Block until the plan has ended, telling its progress, and return how."""
        return outcome_of(self._device_layer.wait(item_uid, on_progress, timeout_s=math.inf))

    def ask(self, command: BuiltinCommand) -> Any:
        """Carry out a builtin command and return what is to be shown: replies, or None.

        For `lineage` this may raise `DataStoreError`.
        """
        if command.name == "lineage":
            return self._trace(str(command.argument))
        return _ANSWERS[command.name](self._device_layer, command.argument)


def outcome_of(state: ItemState) -> Outcome:
    """Return what became of an item that has ended."""
    result = state.result or Result(exit_status=state.state)
    match state.state:
        case "completed":
            return Completed(state.item, result)
        case "failed":
            reason = result.msg or "the device layer gave no reason; its log has it"
            return Failed(state.item, reason)
        case how:
            return Ended(state.item, how, result.msg)


def _help(device_layer: DeviceLayerClient, about: str | None) -> Mapping[str, Any]:
    everything = {**BUILTINS, **device_layer.plans()}
    return everything if about is None else {about: everything[about]}


def _pause(device_layer: DeviceLayerClient, _: str | None) -> Status:
    device_layer.pause()
    return device_layer.status()


def _resume(device_layer: DeviceLayerClient, _: str | None) -> Status:
    device_layer.resume()
    return device_layer.status()


_ANSWERS: Final[Mapping[str, Callable[[DeviceLayerClient, str | None], Any]]] = {
    "help": _help,
    "plans": lambda device_layer, _: dict(device_layer.plans()),
    "devices": lambda device_layer, _: device_layer.devices(),
    "read": lambda device_layer, name: device_layer.read_device(str(name)),
    "status": lambda device_layer, _: device_layer.status(),
    "volumes": lambda device_layer, _: device_layer.volumes(limit=VOLUMES_SHOWN),
    "stop": lambda device_layer, _: device_layer.stop(),
    "pause": _pause,
    "resume": _resume,
    "queue": lambda device_layer, _: device_layer.queue(),
    "history": lambda device_layer, _: device_layer.history(),
    "quit": lambda _device_layer, _: None,
}
