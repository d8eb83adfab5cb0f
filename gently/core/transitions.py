"""The queue's state and what can happen to it. No clocks, no threads, no I/O.

Each function takes a state and returns a `Change`: the state that follows and what there is
to announce. Whoever holds the state commits the one and says the other, or does neither.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gently.core.errors import ItemNotFoundError, QuotaError, WrongStateError
from gently.core.items import Item, Result
from gently.core.lifecycle import ItemState, Step, next_state

__all__ = ["Activity", "Change", "Place", "QueueMode", "QueueState"]

Activity = Literal["idle", "one", "queue"]
"""What is being carried out: nothing, one item that was asked for directly, or the queue."""

Place = Callable[[list[str]], int]
"""Says at which index something goes, given the uids that wait."""

KEPT = 1_000
"""How many ended items are remembered; what they made is found by the volumes' own uids."""

_DONE_AGAIN = frozenset({ItemState.FAILED, ItemState.ABORTED, ItemState.HALTED})


@dataclass(frozen=True)
class QueueMode:
    """How the queue runs.

    Parameters
    ----------
    loop
        What has completed goes to the back of the queue once more.
    ignore_failures
        The queue goes on after an item that failed.
    """

    loop: bool = False
    ignore_failures: bool = False


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """The queue at one moment."""

    waiting: tuple[Item, ...] = ()
    running: Item | None = None
    history: tuple[Item, ...] = ()
    aside: tuple[Item, ...] = ()
    mode: Activity = "idle"
    stop_pending: bool = False
    autostart: bool = False
    plan_queue_mode: QueueMode = QueueMode()

    @property
    def unfinished(self) -> tuple[Item, ...]:
        """Those that wait, and the one that runs or is paused."""
        return (*self.waiting, self.running) if self.running else self.waiting

    def uids(self) -> list[str]:
        """Return the uids of those that wait, in their order."""
        return [item.item_uid for item in self.waiting]

    def indices(self, uids: Sequence[str]) -> list[int]:
        """Return where these wait; raises if one does not, or is given twice."""
        places = {item.item_uid: index for index, item in enumerate(self.waiting)}
        if missing := [uid for uid in uids if uid not in places]:
            raise ItemNotFoundError(f"no waiting item has the uid {', '.join(map(repr, missing))}")
        if len(set(uids)) < len(uids):
            raise WrongStateError("one of the uids is given more than once")
        return [places[uid] for uid in uids]


@dataclass(frozen=True)
class Change:
    """The state that follows, and what there is to announce, in order."""

    state: QueueState
    said: tuple[tuple[str, Item], ...] = ()

    def then(self, following: Callable[[QueueState], "Change"]) -> "Change":
        """Let something else happen after it."""
        after = following(self.state)
        return Change(after.state, self.said + after.said)


def check_quota(before: QueueState, after: QueueState, quota: int) -> None:
    """Raise `QuotaError` if somebody has got more than so many unfinished items."""
    if len(after.unfinished) <= quota:
        return  # of all together
    had = Counter(item.user for item in before.unfinished)
    for user, count in Counter(item.user for item in after.unfinished).items():
        if count > max(quota, had[user]):
            raise QuotaError(
                f"{user} has {had[user]} items that wait, run or are paused, and may have {quota} "
                "(quota_per_client): remove some, let some end, or start the device layer with "
                "another quota."
            )


# ---------------------------------------------------------------------- what waits


def add(state: QueueState, items: Sequence[Item], place: Place) -> Change:
    """Put items, side by side, where `place` says."""
    index = place(state.uids())
    waiting = (*state.waiting[:index], *items, *state.waiting[index:])
    return Change(replace(state, waiting=waiting), tuple(("item.queued", item) for item in items))


def remove(state: QueueState, uids: Sequence[str]) -> Change:
    """Take items out; they become cancelled."""
    taken = [_stepped(state.waiting[index], Step.CANCEL) for index in state.indices(uids)]
    gone = frozenset(uids)
    waiting = tuple(item for item in state.waiting if item.item_uid not in gone)
    return Change(
        replace(state, waiting=waiting, aside=(*state.aside, *taken)[-KEPT:]),
        tuple(("item.cancelled", item) for item in taken),
    )


def update(state: QueueState, item_uid: str, item: Item) -> Change:
    """Put another item in the place of one."""
    (index,) = state.indices([item_uid])
    if state.waiting[index] == item:
        return Change(state)
    waiting = (*state.waiting[:index], item, *state.waiting[index + 1 :])
    return Change(replace(state, waiting=waiting), (("item.updated", item),))


def move(state: QueueState, uids: Sequence[str], place: Place) -> Change:
    """Move items, side by side and in the order given, to where `place` says among the others."""
    moved = [state.waiting[index] for index in state.indices(uids)]
    batch = frozenset(uids)
    others = [item for item in state.waiting if item.item_uid not in batch]
    index = place([item.item_uid for item in others])
    waiting = (*others[:index], *moved, *others[index:])
    if waiting == state.waiting:
        return Change(state)
    return Change(replace(state, waiting=waiting), tuple(("item.moved", item) for item in moved))


# ---------------------------------------------------------------------- what runs


def execute(state: QueueState, item: Item, now: float) -> Change:
    """Begin one item, past those that wait."""
    _refuse_unless_idle(state)
    queued = Change(replace(state, mode="one"), (("item.queued", item),))
    return queued.then(lambda state: _begin(state, item, now))


def start(state: QueueState, now: float) -> Change:
    """Begin the waiting items, one after another; an empty queue is at its end at once."""
    _refuse_unless_idle(state)
    return _go_on(replace(state, mode="queue"), now)


def request_stop(state: QueueState, *, pending: bool) -> Change:
    """Let the queue stop after the item that runs, or take that back."""
    if pending and state.mode == "idle":
        raise WrongStateError("The queue is not running, so there is nothing to stop.")
    return Change(replace(state, stop_pending=pending))


def step(state: QueueState, step: Step) -> Change:
    """Pause or resume the item that runs."""
    running = _stepped(present(state), step)
    return Change(replace(state, running=running), ((f"item.{step}", running),))


def end(state: QueueState, step: Step, result: Result, now: float) -> Change:
    """End the item that runs, put it back if it has to be done again, and go on or come to rest."""
    ended = replace(_stepped(present(state), step), result=result)
    goes_on = step is Step.COMPLETE or (step is Step.FAIL and state.plan_queue_mode.ignore_failures)
    front, back = _comes_back(state, ended, goes_on=goes_on)
    after = Change(
        replace(
            state,
            running=None,
            history=(*state.history, ended)[-KEPT:],
            waiting=(*front, *state.waiting, *back),
        ),
        ((f"item.{step}", ended), *(("item.queued", item) for item in (*front, *back))),
    )
    if goes_on and state.mode == "queue":
        return after.then(lambda state: _go_on(state, now))
    return after.then(lambda state: _rest(state, autostart=state.autostart and goes_on))


def settle(state: QueueState, now: float) -> Change:
    """Begin what waits if nothing runs and nobody has to say so."""
    if state.autostart and state.mode == "idle" and state.waiting:
        return start(state, now)
    return Change(state)


def wake(state: QueueState, result: Result | None, now: float, *, goes_on: bool) -> Change:
    """Go on after the process has ended under the queue, or wait for somebody to start it.

    Whatever was running is interrupted, with this result. If the queue waits, it is put back as
    after a failure; if it goes on, it does so with the next one, lest it die of the same again.
    """
    change = Change(replace(state, stop_pending=False))
    if state.running is not None:
        interrupted = replace(_stepped(state.running, Step.INTERRUPT), result=result)
        comes_back = state.mode == "queue" and not goes_on and state.running.approval is None
        front = (interrupted.again(),) if comes_back else ()
        change = Change(
            replace(
                change.state,
                running=None,
                history=(*state.history, interrupted)[-KEPT:],
                waiting=(*front, *state.waiting),
            ),
            (
                (f"item.{Step.INTERRUPT}", interrupted),
                *(("item.queued", item) for item in front),
            ),
        )
    if goes_on and state.mode == "queue":
        return change.then(lambda state: _go_on(state, now))
    return change.then(lambda state: _rest(state, autostart=state.autostart and goes_on))


def present(state: QueueState) -> Item:
    """Return the item that runs; raises `WrongStateError`."""
    if state.running is None:
        raise WrongStateError("nothing is running")
    return state.running


def _go_on(state: QueueState, now: float) -> Change:
    if state.stop_pending or not state.waiting:
        return _rest(state, autostart=state.autostart and not state.stop_pending)
    item, *others = state.waiting
    following = replace(state, waiting=tuple(others))
    if item.item_type == "plan":
        return _begin(following, item, now)
    return _obey(following, item).then(lambda state: _rest(state, autostart=False))


def _begin(state: QueueState, item: Item, now: float) -> Change:
    """Let an item run.

    Decided where the item is chosen and not where the runner takes it: in between there
    would be a moment in which a stop finds nothing to stop.
    """
    running = replace(_stepped(item, Step.START), time_start=now)
    return Change(replace(state, running=running), (("item.started", running),))


def _obey(state: QueueState, instruction: Item) -> Change:
    started = _stepped(instruction, Step.START)
    done = _stepped(started, Step.COMPLETE)
    again = (instruction.again(),) if state.plan_queue_mode.loop else ()
    return Change(
        replace(state, waiting=state.waiting + again, aside=(*state.aside, done)[-KEPT:]),
        (
            ("item.started", started),
            ("item.completed", done),
            *(("item.queued", item) for item in again),
        ),
    )


def _comes_back(
    state: QueueState, ended: Item, *, goes_on: bool
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Return what is put at the front, to be done again, and at the back, by a queue that loops.

    What was approved was approved for once.
    """
    if state.mode != "queue" or ended.approval is not None:
        return (), ()
    if not goes_on and ended.state in _DONE_AGAIN:
        return (ended.again(),), ()
    return (), (ended.again(),) if state.plan_queue_mode.loop else ()


def _rest(state: QueueState, *, autostart: bool) -> Change:
    return Change(replace(state, mode="idle", stop_pending=False, autostart=autostart))


def _refuse_unless_idle(state: QueueState) -> None:
    if state.running is not None:
        raise WrongStateError(
            f"The microscope is busy with {state.running.name}: wait for it, or stop it."
        )


def _stepped(item: Item, step: Step) -> Item:
    return replace(item, state=next_state(item.state, step))
