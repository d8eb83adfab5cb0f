"""The copilot's verbs over the device layer: run a plan and tell how it ended; ask a question."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gently.agent.commands import BUILTINS, BuiltinCommand, CommandError
from gently.client import DeviceLayerClient
from gently.core.data_store import Trace
from gently.wire import (
    Item,
    ItemState,
    PlanCall,
    PreflightReport,
    Progress,
    Proposal,
    Result,
    Status,
)

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

    def approve(self, command: BuiltinCommand) -> Item:
        """Have a proposal run now, if it still says what was looked at.

        Raises
        ------
        CommandError
            If the command does not say the digest of what was looked at.
        """
        proposal = self._device_layer.proposal(str(command.argument))
        if not command.more:
            raise CommandError(
                "approve what you have looked at, by its digest: `proposals` shows it. "
                f"Write approve {proposal.proposal_uid} DIGEST"
            )
        seen = proposal.model_copy(update={"digest": command.more})
        return self._device_layer.approve(seen, execute=True).approved_item()

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
        return _ANSWERS[command.name](self._device_layer, command)


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


def _help(device_layer: DeviceLayerClient, command: BuiltinCommand) -> Mapping[str, Any]:
    everything = {**BUILTINS, **device_layer.plans()}
    about = command.argument
    return everything if about is None else {about: everything[about]}


def _pause(device_layer: DeviceLayerClient, _: BuiltinCommand) -> Status:
    device_layer.pause()
    return device_layer.status()


def _resume(device_layer: DeviceLayerClient, _: BuiltinCommand) -> Status:
    device_layer.resume()
    return device_layer.status()


def _preflight(device_layer: DeviceLayerClient, command: BuiltinCommand) -> PreflightReport:
    return device_layer.preflight(_planned(command))


def _propose(device_layer: DeviceLayerClient, command: BuiltinCommand) -> Proposal:
    return device_layer.propose(_planned(command))


def _planned(command: BuiltinCommand) -> PlanCall:
    if command.plan is None:
        raise CommandError(f"`{command.name}` needs a plan")
    return command.plan


def _staying(_: DeviceLayerClient, command: BuiltinCommand) -> None:
    raise CommandError(
        f"`{command.name}` is for the terminal: control lasts as long as the copilot stays. "
        "In Python: with client.control():"
    )


_ANSWERS: Final[Mapping[str, Callable[[DeviceLayerClient, BuiltinCommand], Any]]] = {
    "help": _help,
    "plans": lambda device_layer, _: dict(device_layer.plans()),
    "devices": lambda device_layer, _: device_layer.devices(),
    "read": lambda device_layer, command: device_layer.read_device(str(command.argument)),
    "status": lambda device_layer, _: device_layer.status(),
    "volumes": lambda device_layer, _: device_layer.volumes(limit=VOLUMES_SHOWN),
    "detect": lambda device_layer, command: device_layer.detect(
        str(command.argument), command.more or "classical"
    ),
    "stop": lambda device_layer, _: device_layer.stop(),
    "pause": _pause,
    "resume": _resume,
    "preflight": _preflight,
    "propose": _propose,
    "proposals": lambda device_layer, _: device_layer.proposals(),
    "reject": lambda device_layer, command: device_layer.reject(
        str(command.argument), command.more
    ),
    "control": lambda device_layer, _: device_layer.lease(),
    **{name: _staying for name, verb in BUILTINS.items() if verb.terminal},
    "queue": lambda device_layer, _: device_layer.queue(),
    "history": lambda device_layer, _: device_layer.history(),
    "quit": lambda _device_layer, _: None,
}
