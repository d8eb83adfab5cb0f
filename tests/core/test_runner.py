"""The runner on a real RunEngine: each item ends once, as it was told, whenever that was."""

import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky.utils import MsgGenerator
from ophyd.status import DeviceStatus, Status

from gently.core.errors import FieldError, PlanRefusedError, WrongStateError
from gently.core.runner import Order
from storage import DocumentStore
from tests.core.lab import BlockingPause, BlockingRead, Lab, Motor, long, long_run, quick, result
from tests.waiting import until

# ---------------------------------------------------------------------- to the end


def test_a_plan_that_ends_completes_its_item_with_its_value_and_its_runs(lab: Lab) -> None:
    def two_runs() -> MsgGenerator[dict[str, int]]:
        for _ in range(2):
            yield from bps.open_run()
            yield from bps.close_run()
        return {"slices": 50}

    item = lab.run(two_runs)

    starts = lab.documents(item, "start")
    assert item.state == "completed"
    assert result(item)["exit_status"] == "completed"
    assert result(item)["return_value"] == {"slices": 50}
    assert result(item)["run_uids"] == [start["uid"] for start in starts]
    assert result(item)["scan_ids"] == [start["scan_id"] for start in starts] == [1, 2]
    assert result(item)["msg"] == result(item)["traceback"] == ""
    assert result(item)["time_start"] <= result(item)["time_stop"]
    assert lab.heard(item) == ["queued", "started", "completed"]


def test_a_plan_that_returns_more_than_can_be_kept_completes_and_says_so(lab: Lab) -> None:
    def chatty() -> MsgGenerator[list[int]]:
        yield from bps.null()
        return list(range(100_000))

    item = lab.run(chatty)

    assert item.state == "completed"
    assert result(item)["return_value"] is None
    assert "588,891 bytes of JSON" in result(item)["msg"]


def test_every_run_says_of_which_item_it_is_and_its_documents_are_events(lab: Lab) -> None:
    def one_run() -> MsgGenerator[None]:
        yield from bps.open_run(md={"sample": "embryo"})
        yield from bps.close_run()

    item = lab.run(one_run)

    (start,) = lab.documents(item, "start")
    assert start["item_uid"] == item.item_uid
    assert start["plan_name"] == "one_run"
    assert start["sample"] == "embryo"
    assert [stop["exit_status"] for stop in lab.documents(item, "stop")] == ["success"]


def test_the_run_list_tells_open_runs_from_closed_ones_and_is_renewed_by_each(lab: Lab) -> None:
    uids = set()
    seen = []

    def one_run() -> MsgGenerator[None]:
        for stub in (bps.null, bps.open_run, bps.close_run):
            yield from stub()
            runs, uid = lab.runner.runs.snapshot()
            uids.add(uid)
            seen.append([run.message()["is_open"] for run in runs])

    lab.run(one_run)

    assert seen == [[], [True], [False]]
    assert len(uids) == 3
    lab.run(quick)
    assert lab.runner.runs.snapshot()[0] == ()


def test_a_plan_that_raises_fails_its_item_with_the_cause_and_the_next_one_runs(lab: Lab) -> None:
    def broken() -> MsgGenerator[None]:
        yield from bps.open_run()
        raise LookupError("no embryo in sight")

    item = lab.run(broken)

    assert item.state == "failed"
    assert result(item)["msg"] == "no embryo in sight"
    assert "LookupError" in result(item)["traceback"]
    assert result(item)["return_value"] is None
    (stop,) = lab.documents(item, "stop")
    assert (stop["exit_status"], stop["reason"]) == ("fail", "no embryo in sight")
    assert lab.run(quick).state == "completed"


def test_a_device_that_fails_is_quoted_not_blueskys_wrapping_of_it(lab: Lab) -> None:
    motor = Motor()

    def move() -> MsgGenerator[None]:
        yield from bps.abs_set(motor, 1, group="move")
        motor.status.set_exception(OSError("the motor has lost its reference"))
        yield from bps.wait("move")

    assert result(lab.run(move))["msg"] == "the motor has lost its reference"


def test_an_item_that_is_refused_when_its_turn_comes_fails_with_the_refusal(lab: Lab) -> None:
    lab.refusal = PlanRefusedError("quick", (FieldError("x_um", "is too far"),))

    item = lab.run(quick)

    assert item.state == "failed"
    assert result(item)["msg"] == "quick was refused: x_um: is too far"


def test_progress_of_a_motion_is_told_and_forgotten_at_the_end(lab: Lab) -> None:
    class Watched(Status):  # type: ignore[misc]
        def watch(self, tell: Callable[..., None]) -> None:
            tell(name="motor", current=1, target=4, unit="um", fraction=0.75, time_remaining=3)
            seen.append(lab.runner.progress)
            self.set_finished()

    class Moving(Motor):
        def set(self, _: float) -> Any:
            return Watched()

    seen: list[dict[str, Any] | None] = []
    motor = Moving()

    def move() -> MsgGenerator[None]:
        yield from bps.abs_set(motor, 4, wait=True)

    lab.run(move)

    assert seen == [
        {
            "name": "motor",
            "current": 1,
            "target": 4,
            "unit": "um",
            "fraction": 0.25,
            "seconds_left": 3,
        }
    ]
    assert "progress" in lab.heard(lab.queue.snapshot().history[-1])
    assert lab.runner.progress is None


def test_a_status_that_only_tells_that_it_is_over_is_no_progress(lab: Lab) -> None:
    class Plain(Motor):
        def set(self, _: float) -> Any:
            self.status = DeviceStatus(self)
            return self.status

    motor = Plain()

    def move() -> MsgGenerator[None]:
        yield from bps.abs_set(motor, 4, group="move")
        threading.Timer(0.01, motor.status.set_exception, [OSError("stuck")]).start()
        yield from bps.wait("move")

    item = lab.run(move)

    assert item.state == "failed"
    assert "progress" not in lab.heard(item)  # ophyd calls this one 100 % done


# ---------------------------------------------------------------------- pause and resume


@pytest.mark.parametrize("pause", [Order.PAUSE, Order.PAUSE_DEFERRED])
def test_a_paused_plan_goes_on_when_it_is_resumed_and_completes(lab: Lab, pause: Order) -> None:
    steps: list[int] = []

    def counts() -> MsgGenerator[int]:
        for step in range(20):
            yield from bps.checkpoint()
            yield from bps.sleep(0.01)
            steps.append(step)
        return len(steps)

    item = lab.paused(counts, pause)
    assert lab.queue.find(item.item_uid).state == "paused"
    assert not lab.runner.pause_pending
    here = len(steps)

    time.sleep(0.05)
    assert len(steps) == here
    lab.runner.order(Order.RESUME)

    item = lab.ended(item)
    assert item.state == "completed"
    assert result(item)["return_value"] == 20
    assert lab.heard(item) == ["queued", "started", "paused", "resumed", "completed"]


def test_a_pause_stops_what_moves_and_resuming_asks_for_it_again(lab: Lab) -> None:
    motor = Motor()

    def move() -> MsgGenerator[None]:
        yield from bps.checkpoint()
        yield from bps.abs_set(motor, 1, wait=True)

    item = lab.begin(move)
    until(lambda: motor.status is not None)
    first = motor.status
    lab.runner.order(Order.PAUSE)
    until(lambda: lab.runner.state == "paused")
    assert motor.stops == [True]

    lab.runner.order(Order.RESUME)
    until(lambda: motor.status is not first)
    motor.status.set_finished()
    first.set_finished()

    assert lab.ended(item).state == "completed"


def test_pausing_twice_pauses_once(lab: Lab) -> None:
    item = lab.begin(long)
    until(lambda: lab.runner.state == "running")

    lab.runner.order(Order.PAUSE_DEFERRED)
    lab.runner.order(Order.PAUSE)
    until(lambda: lab.runner.state == "paused")
    lab.runner.order(Order.RESUME)

    time.sleep(0.05)
    assert lab.runner.state == "running"
    lab.runner.order(Order.ABORT)
    assert lab.heard(lab.ended(item)) == ["queued", "started", "paused", "resumed", "aborted"]


def test_resume_is_taken_at_once_so_that_nobody_sees_the_plan_paused_after_it(lab: Lab) -> None:
    item = lab.paused(long)

    lab.runner.order(Order.RESUME)

    assert lab.runner.state != "paused"
    assert lab.queue.find(item.item_uid).state == "running"
    with pytest.raises(WrongStateError):
        lab.runner.order(Order.RESUME)


def test_a_plan_can_be_paused_again_right_after_it_was_resumed(lab: Lab) -> None:
    item = lab.paused(long)

    for _ in range(20):
        lab.runner.order(Order.RESUME)
        lab.runner.order(Order.PAUSE)
        until(lambda: lab.runner.state == "paused")

    lab.runner.order(Order.ABORT)
    assert lab.ended(item).state == "aborted"


def test_a_deferred_pause_that_finds_no_checkpoint_does_not_meet_the_next_item(lab: Lab) -> None:
    def no_checkpoint() -> MsgGenerator[None]:
        yield from bps.sleep(0.05)

    item = lab.begin(no_checkpoint)
    until(lambda: lab.runner.state == "running")
    lab.runner.order(Order.PAUSE_DEFERRED)
    seen = [lab.runner.pause_pending]

    assert lab.ended(item).state == "completed"
    assert [*seen, lab.runner.pause_pending] == [True, False]
    assert lab.heard(lab.run(quick)) == ["queued", "started", "completed"]


def test_a_pause_past_the_last_checkpoint_ends_the_plan_and_says_why(lab: Lab) -> None:
    def committed() -> MsgGenerator[None]:
        yield from bps.clear_checkpoint()
        yield from bps.sleep(30)

    item = lab.begin(committed)
    until(lambda: lab.runner.state == "running")
    time.sleep(0.02)
    lab.runner.order(Order.PAUSE)

    item = lab.ended(item)
    assert item.state == "aborted"
    assert "cannot be resumed" in result(item)["msg"]


# ---------------------------------------------------------------------- ending


@pytest.mark.parametrize(
    ("order", "state", "run_status", "cleans_up"),
    [
        (Order.ABORT, "aborted", "abort", True),
        (Order.STOP, "stopped", "success", True),
        (Order.HALT, "halted", "abort", False),
    ],
)
def test_a_paused_plan_ends_as_it_is_told(
    lab: Lab, order: Order, state: str, run_status: str, cleans_up: bool
) -> None:
    cleaned = []

    def clean() -> MsgGenerator[None]:
        cleaned.append(True)
        yield from bps.null()

    def tidy() -> MsgGenerator[Any]:
        return (yield from bpp.finalize_wrapper(long_run(), clean))

    item = lab.paused(tidy)
    lab.runner.order(order, "seen enough")

    item = lab.ended(item)
    assert item.state == state
    assert result(item)["exit_status"] == state
    assert result(item)["msg"] == "seen enough"
    assert [stop["exit_status"] for stop in lab.documents(item, "stop")] == [run_status]
    assert bool(cleaned) == cleans_up
    assert lab.run(quick).state == "completed"


def test_a_running_plan_can_be_aborted_cleans_up_and_its_run_says_why(lab: Lab) -> None:
    cleaned = []

    def clean() -> MsgGenerator[None]:
        cleaned.append(True)
        yield from bps.null()

    def tidy() -> MsgGenerator[Any]:
        return (yield from bpp.finalize_wrapper(long_run(), clean))

    item = lab.begin(tidy)
    until(lambda: bool(lab.documents(item, "start")))
    lab.runner.order(Order.ABORT, "the embryo has hatched")

    item = lab.ended(item)
    assert item.state == "aborted"
    assert result(item)["msg"] == "the embryo has hatched"
    (stop,) = lab.documents(item, "stop")
    assert (stop["exit_status"], stop["reason"]) == ("abort", "the embryo has hatched")
    assert cleaned == [True]
    assert lab.heard(item) == ["queued", "started", "aborted"]  # the pause on the way is not told


def test_a_plan_that_cannot_be_paused_can_be_aborted(lab: Lab) -> None:
    def committed() -> MsgGenerator[None]:
        yield from bps.clear_checkpoint()
        yield from bps.sleep(30)

    item = lab.begin(committed)
    until(lambda: lab.runner.state == "running")
    lab.runner.order(Order.ABORT, "enough")

    item = lab.ended(item)
    assert (item.state, result(item)["msg"]) == ("aborted", "enough")


def test_an_abort_that_breaks_the_plan_is_an_abort_and_no_failure(lab: Lab) -> None:
    def fragile() -> MsgGenerator[None]:
        try:
            yield from long()
        except Exception as error:
            raise OSError("not like this") from error

    item = lab.begin(fragile)
    until(lambda: lab.runner.state == "running")
    lab.runner.order(Order.ABORT, "enough")

    item = lab.ended(item)
    assert (item.state, result(item)["msg"]) == ("aborted", "enough")


def test_an_abort_ends_the_queue_and_the_next_item_goes_on_waiting(lab: Lab) -> None:
    first, second = lab.item(long), lab.item(quick)
    for item in (first, second):
        lab.queue.add(item, len)
    lab.queue.start()
    lab.runner.order(Order.ABORT)

    assert lab.ended(first).state == "aborted"
    assert lab.queue.find(second.item_uid).state == "queued"


def test_an_abort_on_the_way_into_a_pause_ends_the_plan_too(lab: Lab) -> None:
    slow = BlockingPause()

    def reads() -> MsgGenerator[Any]:
        yield from bps.checkpoint()
        yield from bps.read(slow)
        yield from long()

    item = lab.begin(reads)
    until(lambda: lab.runner.state == "running")
    time.sleep(0.02)
    lab.runner.order(Order.PAUSE)
    assert slow.is_held.wait(30)
    lab.runner.order(Order.ABORT, "enough")
    slow.let_go.set()

    assert lab.ended(item).state == "aborted"
    assert lab.run(quick).state == "completed"


def test_an_abort_wins_over_a_resume_whichever_comes_first(lab: Lab) -> None:
    item = lab.paused(long)
    lab.runner.order(Order.RESUME)
    lab.runner.order(Order.ABORT)
    assert lab.ended(item).state == "aborted"

    item = lab.paused(long)
    lab.runner.order(Order.ABORT)
    with pytest.raises(WrongStateError):
        lab.runner.order(Order.RESUME)
    assert lab.ended(item).state == "aborted"


def test_an_order_returns_at_once_though_a_device_holds_up_the_run_engine(lab: Lab) -> None:
    dead = BlockingRead()

    def reads() -> MsgGenerator[Any]:
        yield from bps.checkpoint()
        yield from bps.read(dead)
        yield from long()

    item = lab.begin(reads)
    assert dead.is_held.wait(30)
    lab.runner.order(Order.PAUSE)
    lab.runner.order(Order.ABORT, "enough")  # these two come back although nothing moves on
    assert lab.queue.find(item.item_uid).state == "running"

    dead.let_go.set()

    assert lab.ended(item).state == "aborted"


# ---------------------------------------------------------------------- orders out of place


@pytest.mark.parametrize("order", Order)
def test_nothing_can_be_ordered_while_nothing_runs(lab: Lab, order: Order) -> None:
    with pytest.raises(WrongStateError, match="Nothing runs"):
        lab.runner.order(order)
    assert lab.run(quick).state == "completed"  # and nothing of it is left for the next


@pytest.mark.parametrize("order", [Order.RESUME, Order.STOP, Order.HALT])
def test_what_needs_a_paused_plan_is_refused_while_it_runs(lab: Lab, order: Order) -> None:
    item = lab.begin(long)

    with pytest.raises(WrongStateError, match="only while it is paused"):
        lab.runner.order(order)

    lab.runner.order(Order.ABORT)
    assert lab.ended(item).state == "aborted"


@pytest.mark.parametrize("order", [Order.PAUSE, Order.PAUSE_DEFERRED])
def test_what_is_paused_cannot_be_paused(lab: Lab, order: Order) -> None:
    lab.paused(long)

    with pytest.raises(WrongStateError, match="paused already"):
        lab.runner.order(order)


def test_what_is_being_ended_takes_another_abort_and_nothing_else(lab: Lab) -> None:
    dead = BlockingRead()

    def reads() -> MsgGenerator[Any]:
        yield from bps.read(dead)
        yield from long()

    item = lab.begin(reads)
    assert dead.is_held.wait(30)
    lab.runner.order(Order.ABORT, "first")
    lab.runner.order(Order.ABORT, "second")
    for order in set(Order) - {Order.ABORT}:
        with pytest.raises(WrongStateError, match="told to abort"):
            lab.runner.order(order)
    dead.let_go.set()

    assert result(lab.ended(item))["msg"] == "first"


# ---------------------------------------------------------------------- at every moment


def test_an_abort_before_the_plan_has_begun_keeps_it_from_beginning_or_ends_it(lab: Lab) -> None:
    for _ in range(100):
        item = lab.begin(long)
        lab.runner.order(Order.ABORT, "at once")
        assert lab.ended(item).state == "aborted"
    assert lab.run(quick).state == "completed"


def test_an_abort_at_any_moment_of_a_short_plan_ends_that_item_and_no_other(lab: Lab) -> None:
    def short() -> MsgGenerator[str]:
        yield from bps.open_run()
        yield from bps.sleep(0.001)
        yield from bps.close_run()
        return "done"

    undisturbed = result(lab.run(short))
    twice_its_time_s = 2 * (undisturbed["time_stop"] - undisturbed["time_start"])
    chance = random.Random(1)
    states = set()
    for _ in range(200):
        item = lab.begin(short)
        time.sleep(chance.uniform(0, twice_its_time_s))
        try:
            lab.runner.order(Order.ABORT, "now")
        except WrongStateError:
            assert lab.queue.find(item.item_uid).state == "completed"
        next_one = lab.ended(item)
        states.add(str(next_one.state))
        assert result(lab.run(quick))["return_value"] == "done"
        assert (next_one.state == "completed") == (result(next_one)["return_value"] == "done")

    assert states == {"completed", "aborted"}


def test_orders_from_many_threads_at_any_moment_leave_nothing_stuck(lab: Lab) -> None:
    def some() -> MsgGenerator[None]:
        for _ in range(5):
            yield from bps.checkpoint()
            yield from bps.sleep(0.001)

    over = threading.Event()

    def nag(seed: int) -> None:
        chance = random.Random(seed)
        while not over.is_set():
            try:
                lab.runner.order(chance.choice([*Order, Order.RESUME, Order.RESUME]), "nag")
            except WrongStateError:
                over.wait(0.001)

    naggers = [threading.Thread(target=nag, args=(seed,)) for seed in range(3)]
    for nagger in naggers:
        nagger.start()
    states = Counter[str]()
    try:
        # An order of three that is carried out first is an abort far more often than not.
        while states.total() < 100 or (len(states) < 2 and states.total() < 1_000):
            states[str(lab.run(some).state)] += 1
    finally:
        over.set()
        for nagger in naggers:
            nagger.join()

    assert set(states) <= {"completed", "aborted", "stopped", "halted"}
    assert len(states) > 1
    assert lab.run(quick).state == "completed"


# ---------------------------------------------------------------------- closing


def test_closing_ends_the_plan_that_runs(lab: Lab) -> None:
    item = lab.begin(long)

    assert lab.runner.close(30)

    item = lab.queue.find(item.item_uid)
    assert (item.state, result(item)["msg"]) == ("aborted", "the device layer is shutting down")


def test_closing_ends_the_plan_that_is_paused(lab: Lab) -> None:
    item = lab.paused(long)

    assert lab.runner.close(30)

    assert lab.queue.find(item.item_uid).state == "aborted"


def test_closing_begins_no_item_that_waits(lab: Lab) -> None:
    first, second = lab.item(long), lab.item(quick)
    for item in (first, second):
        lab.queue.add(item, len)
    lab.queue.start()

    assert lab.runner.close(30)

    assert lab.queue.find(second.item_uid).state == "queued"


def test_closing_does_not_wait_for_ever_for_a_plan_that_a_dead_device_holds_up(lab: Lab) -> None:
    dead = BlockingRead()

    def reads() -> MsgGenerator[None]:
        yield from bps.read(dead)

    lab.begin(reads)
    assert dead.is_held.wait(30)

    assert not lab.runner.close(0.01)

    dead.let_go.set()


# ---------------------------------------------------------------------- documents


def a_run() -> MsgGenerator[None]:
    yield from bps.open_run()
    yield from bps.close_run()


def test_the_documents_of_an_item_are_on_the_disk_when_it_has_ended(
    lab: Lab, tmp_path: Path
) -> None:
    item = lab.run(a_run)
    (run_uid,) = result(item)["run_uids"]
    kept = DocumentStore(tmp_path).replay(run_uid)
    assert [name for name, _ in kept] == ["start", "stop"]


def test_an_item_whose_documents_are_lost_has_failed_and_says_why(lab: Lab, tmp_path: Path) -> None:
    def lose(fd: int) -> None:
        raise OSError("the disk is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lose)
        item = lab.run(a_run)
    assert item.state == "failed"
    assert "the disk is gone" in result(item)["msg"]
    assert lab.heard(item)[-1] == "failed"
    assert lab.run(a_run).state == "completed"


def test_what_made_a_plan_fail_is_told_before_what_became_of_its_documents(lab: Lab) -> None:
    def broken() -> MsgGenerator[None]:
        yield from bps.open_run()
        raise RuntimeError("the plan is broken")

    def lose(fd: int) -> None:
        raise OSError("the disk is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lose)
        item = lab.run(broken)
    assert item.state == "failed"
    assert re.fullmatch(r"the plan is broken; .*the disk is gone.*", result(item)["msg"])
