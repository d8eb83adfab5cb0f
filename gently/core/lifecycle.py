"""The life of an item, as a table. No clocks, no threads, no I/O."""

from enum import StrEnum

from gently.core.errors import LifecycleError

__all__ = ["ENDED", "ItemState", "Step", "next_state"]


class ItemState(StrEnum):
    """Where an item is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    ABORTED = "aborted"
    STOPPED = "stopped"
    HALTED = "halted"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Step(StrEnum):
    """What can happen to an item."""

    START = "started"
    PAUSE = "paused"
    RESUME = "resumed"
    COMPLETE = "completed"
    FAIL = "failed"
    ABORT = "aborted"
    STOP = "stopped"
    HALT = "halted"
    CANCEL = "cancelled"
    INTERRUPT = "interrupted"


_ENDS = {
    Step.COMPLETE: ItemState.COMPLETED,
    Step.FAIL: ItemState.FAILED,
    Step.ABORT: ItemState.ABORTED,
    Step.STOP: ItemState.STOPPED,
    Step.HALT: ItemState.HALTED,
    Step.INTERRUPT: ItemState.INTERRUPTED,
}

# An item that waits is cancelled by being removed; one that has begun ends by what became of
# it. A paused item is resumed before it can complete, but it can fail while it is put away.
# Interrupted is what the process has died under.
_TABLE: dict[ItemState, dict[Step, ItemState]] = {
    ItemState.QUEUED: {Step.START: ItemState.RUNNING, Step.CANCEL: ItemState.CANCELLED},
    ItemState.RUNNING: {Step.PAUSE: ItemState.PAUSED, **_ENDS},
    ItemState.PAUSED: {
        Step.RESUME: ItemState.RUNNING,
        **{step: end for step, end in _ENDS.items() if step is not Step.COMPLETE},
    },
}

ENDED = frozenset(ItemState) - frozenset(_TABLE)
"""The states that an item does not leave."""


def next_state(state: ItemState, step: Step) -> ItemState:
    """Return the state that `step` leads to from `state`.

    Raises
    ------
    LifecycleError
        If the table does not list the transition.
    """
    try:
        return _TABLE[state][step]
    except KeyError:
        raise LifecycleError(f"an item that is {state} cannot be {step}") from None
