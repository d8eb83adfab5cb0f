"""The queue: its order, its uids and its history; nothing is lost, doubled or stuck."""

import threading
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gently.core.errors import ItemNotFoundError, LifecycleError, QuotaError, WrongStateError
from gently.core.items import Item, Result
from gently.core.lifecycle import Step
from gently.core.queue import PlanQueue, QueueSnapshot
from gently.core.transitions import QueueMode

ENDS = [Step.COMPLETE, Step.FAIL, Step.ABORT, Step.STOP, Step.HALT]


class Heard:
    """What a queue has announced."""

    def __init__(self) -> None:
        self.kinds: list[tuple[str, str]] = []

    def __call__(self, kind: str, item: Item) -> None:
        self.kinds.append((kind, item.item_uid))

    def of(self, item: Item) -> list[str]:
        return [kind for kind, uid in self.kinds if uid == item.item_uid]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def queue(heard: Heard) -> PlanQueue:
    return PlanQueue(heard)


def back(uids: list[str]) -> int:
    return len(uids)


def front(_: list[str]) -> int:
    return 0


def result(status: str = "completed") -> Result:
    return Result(exit_status=status, time_start=1.0, time_stop=2.0)


def waiting(queue: PlanQueue) -> list[str]:
    return [item.name for item in queue.snapshot().waiting]


def running(queue: PlanQueue) -> str | None:
    return queue.running.name if queue.running else None


def filled(queue: PlanQueue, *names: str) -> list[Item]:
    items = [Item(name=name) for name in names]
    for item in items:
        queue.add(item, back)
    return items


# ---------------------------------------------------------------------- clients


def test_items_wait_in_the_order_in_which_they_were_placed(queue: PlanQueue) -> None:
    filled(queue, "first", "second")

    assert queue.add(Item(name="urgent"), front) == 3
    assert queue.add(Item(name="between"), lambda _: 1) == 4
    assert waiting(queue) == ["urgent", "between", "first", "second"]


def test_a_place_that_cannot_be_found_leaves_the_queue_as_it_was(queue: PlanQueue) -> None:
    filled(queue, "first")
    before = queue.snapshot()

    def nowhere(uids: list[str]) -> int:
        raise ItemNotFoundError("no such neighbour")

    with pytest.raises(ItemNotFoundError):
        queue.add(Item(name="second"), nowhere)
    assert queue.snapshot() == before


def test_a_removed_item_is_cancelled_and_waits_no_more(queue: PlanQueue, heard: Heard) -> None:
    first, _ = filled(queue, "first", "second")

    assert queue.remove(first.item_uid).state == "cancelled"
    assert waiting(queue) == ["second"]
    assert heard.of(first) == ["item.queued", "item.cancelled"]
    assert queue.find(first.item_uid).state == "cancelled"


def test_only_an_item_that_waits_can_be_removed(queue: PlanQueue) -> None:
    item = Item(name="runs")
    queue.execute(item)

    with pytest.raises(ItemNotFoundError, match="no waiting item"):
        queue.remove(item.item_uid)


def test_clear_takes_out_what_waits_and_leaves_what_runs(queue: PlanQueue) -> None:
    filled(queue, "first", "second", "third")
    queue.start()

    queue.clear()

    assert waiting(queue) == []
    assert queue.running is not None
    assert queue.running.name == "first"


def test_an_item_is_found_wherever_it_is(queue: PlanQueue) -> None:
    first, second = filled(queue, "first", "second")

    assert queue.find(first.item_uid).state == "queued"
    queue.start()
    assert queue.find(first.item_uid).state == "running"
    queue.end(Step.COMPLETE, result())
    assert queue.find(first.item_uid).state == "completed"
    assert queue.find(second.item_uid).state == "running"


# ---------------------------------------------------------------------- running


def test_an_item_runs_from_the_moment_it_is_executed_not_from_when_it_is_taken(
    queue: PlanQueue,
) -> None:
    item = Item(name="now")

    queue.execute(item)

    assert queue.running is not None
    assert queue.running.item_uid == item.item_uid
    assert queue.running.state == "running"
    assert queue.running.time_start is not None


def test_execute_passes_those_that_wait_and_does_not_begin_them(queue: PlanQueue) -> None:
    filled(queue, "waits")

    assert queue.execute(Item(name="now")) == 1
    queue.end(Step.COMPLETE, result())

    assert queue.running is None
    assert waiting(queue) == ["waits"]


def test_start_runs_one_after_the_other_until_none_waits(queue: PlanQueue) -> None:
    filled(queue, "first", "second")
    queue.start()
    ran = []

    while queue.running is not None:
        ran.append(queue.running.name)
        queue.end(Step.COMPLETE, result())

    assert ran == ["first", "second"]
    assert queue.snapshot().mode == "idle"


@pytest.mark.parametrize("step", [Step.FAIL, Step.ABORT, Step.HALT])
def test_the_queue_stops_after_an_item_that_did_not_complete_and_puts_it_back_under_a_new_uid(
    queue: PlanQueue, heard: Heard, step: Step
) -> None:
    first, _ = filled(queue, "first", "second")
    queue.start()

    queue.end(step, result(step))

    assert queue.running is None
    assert waiting(queue) == ["first", "second"]
    again = queue.snapshot().waiting[0]
    assert again.item_uid != first.item_uid
    assert (again.state, again.result, again.time_start) == ("queued", None, None)
    assert heard.of(again) == ["item.queued"]
    assert str(queue.find(first.item_uid).state) == str(step)


def test_an_item_that_was_told_to_stop_is_done_but_the_queue_stops_with_it(
    queue: PlanQueue,
) -> None:
    filled(queue, "first", "second")
    queue.start()

    queue.end(Step.STOP, result("stopped"))

    assert queue.running is None
    assert waiting(queue) == ["second"]


@pytest.mark.parametrize("step", ENDS)
def test_an_item_that_was_executed_directly_never_comes_back(queue: PlanQueue, step: Step) -> None:
    queue.set_mode(loop=True)
    queue.execute(Item(name="once"))

    queue.end(step, result(step))

    assert waiting(queue) == []


# ---------------------------------------------------------------------- modes


def test_a_queue_that_loops_puts_what_has_completed_at_the_back(queue: PlanQueue) -> None:
    first, second = filled(queue, "first", "second")
    queue.set_mode(loop=True)
    queue.start()

    queue.end(Step.COMPLETE, result())

    assert queue.running is not None
    assert queue.running.item_uid == second.item_uid
    assert waiting(queue) == ["first"]
    assert queue.snapshot().waiting[0].item_uid != first.item_uid


def test_a_queue_that_ignores_failures_goes_on_after_one_but_not_after_an_abort(
    queue: PlanQueue,
) -> None:
    filled(queue, "first", "second", "third")
    queue.set_mode(ignore_failures=True)
    queue.start()

    queue.end(Step.FAIL, result("failed"))
    assert running(queue) == "second"

    queue.end(Step.ABORT, result("aborted"))
    assert running(queue) is None
    assert waiting(queue) == ["second", "third"]


def test_setting_one_mode_leaves_the_other(queue: PlanQueue) -> None:
    queue.set_mode(loop=True)
    queue.set_mode(ignore_failures=True)

    assert queue.snapshot().plan_queue_mode == QueueMode(loop=True, ignore_failures=True)


def test_autostart_begins_what_waits_and_what_comes(queue: PlanQueue) -> None:
    filled(queue, "waits")

    queue.set_autostart(enabled=True)
    assert running(queue) == "waits"
    queue.end(Step.COMPLETE, result())
    assert running(queue) is None

    filled(queue, "comes")
    assert running(queue) == "comes"


@pytest.mark.parametrize("step", [step for step in ENDS if step is not Step.COMPLETE])
def test_autostart_ends_when_something_goes_wrong_or_was_stopped(
    queue: PlanQueue, step: Step
) -> None:
    filled(queue, "first", "second")
    queue.set_autostart(enabled=True)

    queue.end(step, result(step))

    assert queue.running is None
    assert not queue.snapshot().autostart


def test_autostart_ends_with_a_pending_stop(queue: PlanQueue) -> None:
    filled(queue, "first", "second")
    queue.set_autostart(enabled=True)

    queue.request_stop(pending=True)
    queue.end(Step.COMPLETE, result())

    assert queue.running is None
    assert not queue.snapshot().autostart


@pytest.mark.parametrize("loop", [False, True])
def test_the_instruction_stops_the_queue_where_it_stands(
    queue: PlanQueue, heard: Heard, loop: bool
) -> None:
    stop = Item(name="queue_stop", item_type="instruction")
    filled(queue, "first")
    queue.add(stop, back)
    filled(queue, "second")
    queue.set_mode(loop=loop)
    queue.set_autostart(enabled=True)

    queue.end(Step.COMPLETE, result())

    assert queue.running is None
    assert not queue.snapshot().autostart
    assert waiting(queue) == (["second", "first", "queue_stop"] if loop else ["second"])
    assert heard.of(stop) == ["item.queued", "item.started", "item.completed"]
    assert queue.find(stop.item_uid).state == "completed"
    assert [item.name for item in queue.snapshot().history] == ["first"]


# ---------------------------------------------------------------------- batches and order


def test_a_batch_waits_side_by_side(queue: PlanQueue) -> None:
    filled(queue, "first", "last")

    assert queue.add_batch([Item(name="a"), Item(name="b")], lambda _: 1) == 4
    assert waiting(queue) == ["first", "a", "b", "last"]


def test_a_batch_is_removed_as_a_whole_or_not_at_all(queue: PlanQueue) -> None:
    first, second = filled(queue, "first", "second")

    with pytest.raises(ItemNotFoundError, match="nobody"):
        queue.remove_batch([first.item_uid, "nobody"])
    with pytest.raises(WrongStateError, match="more than once"):
        queue.remove_batch([first.item_uid, first.item_uid])
    assert waiting(queue) == ["first", "second"]

    asked = [second.item_uid, "nobody", second.item_uid]
    removed = queue.remove_batch(asked, ignore_missing=True)
    assert [item.state for item in removed] == ["cancelled"]
    assert waiting(queue) == ["first"]


def test_an_item_is_updated_where_it_waits(queue: PlanQueue, heard: Heard) -> None:
    first, _ = filled(queue, "first", "second")
    other = replace(first, kwargs={"x": 1})

    assert queue.update(first.item_uid, other) == 2

    assert queue.snapshot().waiting[0] == other
    assert heard.of(first) == ["item.queued", "item.updated"]


def test_items_are_moved_side_by_side_in_the_order_given_or_in_their_own(queue: PlanQueue) -> None:
    a, b, c, _ = filled(queue, "a", "b", "c", "d")

    queue.move([c.item_uid, a.item_uid], back)
    assert waiting(queue) == ["b", "d", "c", "a"]

    queue.move([a.item_uid, b.item_uid], front, reorder=True)
    assert waiting(queue) == ["b", "a", "d", "c"]


def test_a_move_to_where_an_item_is_changes_nothing(queue: PlanQueue, heard: Heard) -> None:
    first, _ = filled(queue, "first", "second")
    before = queue.snapshot()

    queue.move([first.item_uid], front)

    assert queue.snapshot() == before
    assert heard.of(first) == ["item.queued"]


def test_a_pending_stop_ends_the_queue_after_the_present_item_and_is_then_forgotten(
    queue: PlanQueue,
) -> None:
    filled(queue, "first", "second", "third")
    queue.start()

    queue.request_stop(pending=True)
    queue.end(Step.COMPLETE, result())

    assert queue.snapshot().mode == "idle"
    queue.start()
    queue.end(Step.COMPLETE, result())
    assert queue.running is not None
    assert queue.running.name == "third"


def test_a_pending_stop_can_be_taken_back(queue: PlanQueue) -> None:
    filled(queue, "first", "second")
    queue.start()

    queue.request_stop(pending=True)
    queue.request_stop(pending=False)
    queue.end(Step.COMPLETE, result())

    assert queue.running is not None


def test_a_queue_that_does_not_run_has_nothing_to_stop(queue: PlanQueue) -> None:
    with pytest.raises(WrongStateError, match="not running"):
        queue.request_stop(pending=True)


def test_an_empty_queue_that_is_started_is_at_its_end_at_once(queue: PlanQueue) -> None:
    queue.set_autostart(enabled=True)

    queue.start()

    now = queue.snapshot()
    assert (now.mode, now.running, now.autostart) == ("idle", None, True)


def test_while_something_runs_nothing_else_is_begun_and_the_refusal_names_it(
    queue: PlanQueue,
) -> None:
    queue.execute(Item(name="long_one"))
    before = queue.snapshot()

    with pytest.raises(WrongStateError, match="long_one"):
        queue.execute(Item(name="other"))
    with pytest.raises(WrongStateError, match="long_one"):
        queue.start()
    assert queue.snapshot() == before


def test_a_refused_step_leaves_the_item_as_it_was(queue: PlanQueue) -> None:
    queue.execute(Item(name="runs"))
    queue.step(Step.PAUSE)
    before = queue.snapshot()

    with pytest.raises(LifecycleError):
        queue.end(Step.COMPLETE, result())
    with pytest.raises(LifecycleError):
        queue.step(Step.PAUSE)
    assert queue.snapshot() == before


def test_only_a_running_item_can_step_or_end(queue: PlanQueue) -> None:
    with pytest.raises(WrongStateError):
        queue.step(Step.PAUSE)
    with pytest.raises(WrongStateError):
        queue.end(Step.COMPLETE, result())


# ---------------------------------------------------------------------- the runner's side


def test_take_hands_each_item_out_once(queue: PlanQueue) -> None:
    item = Item(name="once")
    taken: list[Item | None] = []

    def take() -> None:
        while (found := queue.take()) is not None:
            taken.append(found)

    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    queue.execute(item)
    queue.close()
    for taker in takers:
        taker.join()

    assert [found.item_uid for found in taken if found] == [item.item_uid]


def test_a_closed_queue_hands_out_what_has_begun_and_begins_nothing_more(queue: PlanQueue) -> None:
    filled(queue, "first", "second")
    queue.start()

    queue.close()

    taken = queue.take()
    assert taken is not None
    assert taken.name == "first"
    queue.end(Step.COMPLETE, result())
    assert queue.take() is None
    assert queue.running is None
    with pytest.raises(WrongStateError, match="shutting down"):
        queue.start()
    with pytest.raises(WrongStateError, match="shutting down"):
        queue.execute(Item(name="late"))


def test_waiting_for_an_item_ends_with_that_item_and_not_with_the_queue(queue: PlanQueue) -> None:
    first, _ = filled(queue, "first", "second")
    queue.start()

    assert not queue.wait_until_ended(first.item_uid, 0)
    queue.end(Step.COMPLETE, result())
    assert queue.wait_until_ended(first.item_uid, 0)


def test_what_happens_is_announced_in_the_order_in_which_it_happens(
    queue: PlanQueue, heard: Heard
) -> None:
    first, second = filled(queue, "first", "second")
    queue.start()
    queue.step(Step.PAUSE)
    queue.step(Step.RESUME)
    queue.end(Step.COMPLETE, result())

    assert heard.kinds == [
        ("item.queued", first.item_uid),
        ("item.queued", second.item_uid),
        ("item.started", first.item_uid),
        ("item.paused", first.item_uid),
        ("item.resumed", first.item_uid),
        ("item.completed", first.item_uid),
        ("item.started", second.item_uid),
    ]


# ---------------------------------------------------------------------- what is sent


def test_an_item_is_told_as_blueskys_queue_server_tells_it(queue: PlanQueue) -> None:
    item = Item(name="snap", kwargs={"exposure_ms": 5}, meta={"session_id": "s"})

    assert item.message() == {
        "item_type": "plan",
        "name": "snap",
        "args": [],
        "kwargs": {"exposure_ms": 5},
        "meta": {"session_id": "s"},
        "user": "operator",
        "user_group": "primary",
        "item_uid": item.item_uid,
    }
    queue.execute(item)
    assert queue.running is not None
    assert queue.running.message()["properties"] == {"time_start": queue.running.time_start}
    queue.end(Step.FAIL, Result("failed", 1.0, 2.0, ("run",), (3,), "why", "where", {"a": 1}))
    assert queue.snapshot().history[-1].message()["result"] == {
        "exit_status": "failed",
        "run_uids": ["run"],
        "scan_ids": [3],
        "time_start": 1.0,
        "time_stop": 2.0,
        "msg": "why",
        "traceback": "where",
        "return_value": {"a": 1},
    }


def test_the_history_keeps_the_last_thousand_and_can_be_cleared(queue: PlanQueue) -> None:
    for number in range(1_001):
        queue.execute(Item(name=f"plan {number}"))
        queue.end(Step.COMPLETE, result())

    history = queue.snapshot().history
    assert [history[0].name, history[-1].name, len(history)] == ["plan 1", "plan 1000", 1_000]
    queue.clear_history()
    assert queue.snapshot().history == ()


# ---------------------------------------------------------------------- how many


@pytest.fixture
def narrow(heard: Heard) -> PlanQueue:
    """A queue in which each may have three unfinished items."""
    return PlanQueue(heard, quota=3)


def of(user: str, *names: str) -> list[Item]:
    return [Item(name=name, user=user) for name in names]


def test_nobody_gets_more_unfinished_items_than_the_quota_and_is_told_the_remedy(
    narrow: PlanQueue,
) -> None:
    narrow.add_batch(of("agent", "a", "b"), back)
    before = narrow.snapshot()

    with pytest.raises(QuotaError, match=r"agent has 2 items .* may have 3 .* remove some"):
        narrow.add_batch(of("agent", "c", "d"), back)
    assert narrow.snapshot() == before
    narrow.add_batch(of("agent", "c"), back)
    narrow.add_batch(of("person", "d"), back)  # somebody else's items are not counted
    assert waiting(narrow) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("paused", [False, True])
def test_running_and_pausing_an_item_makes_no_room_for_another(
    narrow: PlanQueue, paused: bool
) -> None:
    narrow.add_batch(of("agent", "a", "b", "c"), back)
    narrow.start()
    if paused:
        narrow.step(Step.PAUSE)

    with pytest.raises(QuotaError):
        narrow.add(Item(name="d", user="agent"), back)
    if paused:
        narrow.step(Step.RESUME)
    narrow.end(Step.COMPLETE, result())
    narrow.add(Item(name="d", user="agent"), back)


def test_what_is_run_at_once_counts_as_well(narrow: PlanQueue) -> None:
    narrow.add_batch(of("agent", "a", "b", "c"), back)

    with pytest.raises(QuotaError):
        narrow.execute(Item(name="now", user="agent"))
    narrow.execute(Item(name="now", user="person"))
    assert running(narrow) == "now"


def test_an_item_cannot_be_passed_on_to_one_who_has_enough(narrow: PlanQueue) -> None:
    narrow.add_batch(of("agent", "a", "b", "c"), back)
    narrow.add(Item(name="d", user="person", item_uid="d"), back)

    with pytest.raises(QuotaError):
        narrow.update("d", Item(name="d", user="agent", item_uid="d"))
    narrow.update("d", Item(name="D", user="person", item_uid="d"))


def test_what_a_queue_puts_back_by_itself_is_no_new_item(narrow: PlanQueue) -> None:
    narrow.set_mode(loop=True)
    narrow.add_batch(of("agent", "a", "b", "c"), back)
    narrow.start()
    narrow.end(Step.COMPLETE, result())

    assert waiting(narrow) == ["c", "a"]
    with pytest.raises(QuotaError):
        narrow.add(Item(name="d", user="agent"), back)


# ---------------------------------------------------------------------- any order of it all


class AnyOrder(RuleBasedStateMachine):
    """Whatever is asked in whatever order: each item is in exactly one place, uids tell."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = Heard()
        self.queue = PlanQueue(self.heard)
        self.waiting: list[str] = []
        self.running: str | None = None
        self.is_paused = False
        self.goes_on = False
        self.stop_pending = False
        self.autostart = self.loop = self.ignore_failures = False
        self.history: list[str] = []
        self.removed: list[str] = []
        self.before = self.queue.snapshot()

    def idle(self) -> bool:
        return self.running is None

    def _begin_next(self) -> None:
        self.running = self.waiting.pop(0)

    def _settle(self) -> None:
        if self.autostart and self.running is None and self.waiting:
            self.goes_on = True
            self._begin_next()

    @rule(place=st.integers(0, 5))
    def add(self, place: int) -> None:
        item = Item(name="plan")
        self.queue.add(item, lambda uids: min(place, len(uids)))
        self.waiting.insert(min(place, len(self.waiting)), item.item_uid)
        self._settle()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove(self, data: Any) -> None:
        uid = data.draw(st.sampled_from(self.waiting))
        self.queue.remove(uid)
        self.waiting.remove(uid)
        self.removed.append(uid)

    @rule()
    def clear(self) -> None:
        self.queue.clear()
        self.removed += self.waiting
        self.waiting = []

    @rule()
    def execute(self) -> None:
        item = Item(name="plan")
        if self.running is None:
            self.queue.execute(item)
            self.running, self.goes_on = item.item_uid, False
        else:
            with pytest.raises(WrongStateError):
                self.queue.execute(item)

    @rule()
    def start(self) -> None:
        if self.running is None:
            self.queue.start()
            if self.waiting:
                self.goes_on = True
                self._begin_next()
        else:
            with pytest.raises(WrongStateError):
                self.queue.start()

    @precondition(lambda self: not self.idle())
    @rule(pending=st.booleans())
    def request_stop(self, pending: bool) -> None:
        self.queue.request_stop(pending=pending)
        self.stop_pending = pending

    @precondition(lambda self: not self.idle())
    @rule()
    def pause_or_resume(self) -> None:
        self.queue.step(Step.RESUME if self.is_paused else Step.PAUSE)
        self.is_paused = not self.is_paused

    @precondition(lambda self: not self.idle())
    @rule(step=st.sampled_from(ENDS))
    def end(self, step: Step) -> None:
        if self.is_paused and step is Step.COMPLETE:
            with pytest.raises(LifecycleError):
                self.queue.end(step, result(step))
            return
        self.queue.end(step, result(step))
        assert self.running is not None
        self.history.append(self.running)
        self.running, self.is_paused = None, False
        now = self.queue.snapshot()
        is_good = step is Step.COMPLETE or (step is Step.FAIL and self.ignore_failures)
        if self.goes_on and not is_good and step is not Step.STOP:
            self.waiting.insert(0, now.waiting[0].item_uid)
        elif self.goes_on and self.loop:
            last = now.waiting[-1] if now.waiting else now.running
            assert last is not None
            self.waiting.append(last.item_uid)
        self.autostart &= is_good
        if self.goes_on and is_good and not self.stop_pending and self.waiting:
            self._begin_next()
            return
        self.autostart &= not (self.goes_on and is_good and self.stop_pending)
        self.goes_on = self.stop_pending = False
        self._settle()

    @rule(loop=st.booleans(), ignore_failures=st.booleans())
    def set_mode(self, loop: bool, ignore_failures: bool) -> None:
        self.queue.set_mode(loop=loop, ignore_failures=ignore_failures)
        self.loop, self.ignore_failures = loop, ignore_failures

    @rule(enabled=st.booleans())
    def set_autostart(self, enabled: bool) -> None:
        self.queue.set_autostart(enabled=enabled)
        self.autostart = enabled
        self._settle()

    @precondition(lambda self: len(self.waiting) > 1)
    @rule(data=st.data(), place=st.integers(0, 5))
    def move(self, data: Any, place: int) -> None:
        uids = data.draw(st.lists(st.sampled_from(self.waiting), unique=True, min_size=1))
        self.queue.move(uids, lambda others: min(place, len(others)))
        others = [uid for uid in self.waiting if uid not in uids]
        place = min(place, len(others))
        self.waiting = [*others[:place], *uids, *others[place:]]

    @precondition(lambda self: self.history)
    @rule()
    def clear_history(self) -> None:
        self.queue.clear_history()
        self.removed += self.history
        self.history = []

    @invariant()
    def each_item_is_in_exactly_one_place(self) -> None:
        now = self.queue.snapshot()
        assert [item.item_uid for item in now.waiting] == self.waiting
        assert (now.running.item_uid if now.running else None) == self.running
        assert [item.item_uid for item in now.history] == self.history
        assert (now.mode == "idle") == (self.running is None)
        assert now.stop_pending == self.stop_pending
        assert now.autostart == self.autostart
        queued = [uid for kind, uid in self.heard.kinds if kind == "item.queued"]
        places = [*self.waiting, *([self.running] if self.running else []), *self.history]
        assert sorted(queued) == sorted([*places, *self.removed])

    @invariant()
    def a_uid_changes_exactly_when_its_part_does(self) -> None:
        before, now = self.before, self.queue.snapshot()
        self.before = now

        def parts(queue: QueueSnapshot) -> tuple[Any, ...]:
            return queue.waiting, queue.running

        queue_changed = now.plan_queue_uid != before.plan_queue_uid
        history_changed = now.plan_history_uid != before.plan_history_uid
        assert queue_changed == (parts(now) != parts(before))
        assert history_changed == (now.history != before.history)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
