"""What was approved was approved for once: the queue never puts it back."""

from pathlib import Path

import pytest

from gently.core.items import Item, Result
from gently.core.lifecycle import Step
from gently.core.queue import PlanQueue
from gently.core.queue_store import QueueStore

APPROVAL = {"proposal_uid": "p", "digest": "d", "by": "ada", "time": 1.5}
APPROVED = Item(name="snap", approval=APPROVAL)


def back(uids: list[str]) -> int:
    return len(uids)


def result(step: Step) -> Result:
    return Result(exit_status=str(step), time_start=1.0, time_stop=2.0)


@pytest.mark.parametrize("step", [Step.COMPLETE, Step.FAIL, Step.ABORT, Step.HALT, Step.STOP])
def test_it_is_not_put_back(step: Step) -> None:
    for approval, comes_back in [(None, True), (APPROVAL, False)]:
        queue = PlanQueue(lambda *_: None)
        queue.set_mode(loop=True)
        queue.add(Item(name="snap", approval=approval), back)
        queue.start()
        queue.take()
        queue.request_stop(pending=True)
        queue.end(step, result(step))
        assert bool(queue.snapshot().waiting) == comes_back, approval


def test_its_approval_survives_a_crash_and_it_is_not_done_again(tmp_path: Path) -> None:
    store = QueueStore(tmp_path / "queue.sqlite")
    queue = PlanQueue(lambda *_: None, store)
    queue.add(APPROVED, back)
    queue.start()
    store.close()

    store = QueueStore(tmp_path / "queue.sqlite")
    queue = PlanQueue(lambda *_: None, store)
    found = queue.find(APPROVED.item_uid)
    store.close()

    assert (str(found.state), found.approval) == ("interrupted", APPROVAL)
    assert queue.snapshot().waiting == ()


def test_it_is_sent_with_who_has_approved_it() -> None:
    assert APPROVED.message()["approval"] == APPROVAL
    assert "approval" not in Item(name="snap").message()
