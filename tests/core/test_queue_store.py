"""The queue on disk: what comes back is what was there, and what cannot be kept is refused."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gently.core.errors import ItemNotFoundError, WrongStateError
from gently.core.items import Item, Result
from gently.core.lifecycle import Step
from gently.core.queue import AlreadySubmittedError, PlanQueue
from gently.core.queue_store import QueueStore, QueueStoreError


class Disk:
    """A queue's file, opened again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.open: list[QueueStore] = []

    def queue(self, *, goes_on: bool = False) -> PlanQueue:
        """Return the queue as a process finds it that is started now."""
        self.close()
        self.open.append(QueueStore(self.path))
        return PlanQueue(lambda _, __: None, self.open[-1], goes_on=goes_on)

    def close(self) -> None:
        while self.open:
            self.open.pop().close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "queue.sqlite")
    yield disk
    disk.close()


def after_a_power_cut(disk: Disk, folder: Path) -> list[str]:
    """Return what waits in a file of which only that is left which was synced."""
    folder.mkdir(exist_ok=True)
    left = Path(shutil.copy(disk.path, folder / "queue.sqlite"))  # and not what is beside it
    try:
        with closing(QueueStore(left)) as store:
            return [item.name for item in store.load().waiting]
    except QueueStoreError:  # it was copied while it was being synced
        return []


def result(step: Step = Step.COMPLETE) -> Result:
    return Result(str(step), 1.0, 2.0, ("run",), (1,), "why", "", {"image": np.arange(2)})


def names(queue: PlanQueue) -> list[str]:
    return [item.name for item in queue.snapshot().waiting]


def filled(queue: PlanQueue, *wanted: str) -> list[Item]:
    items = [Item(name=name, kwargs={"x": 1}, args=(2,)) for name in wanted]
    queue.add_batch(items, len)
    return items


def test_what_waits_and_what_has_ended_come_back_as_they_were(disk: Disk) -> None:
    queue = disk.queue()
    filled(queue, "a", "b", "c")
    queue.start()
    queue.request_stop(pending=True)
    queue.end(Step.COMPLETE, Result("completed", 1.0, 2.0, ("run",), (1,), return_value=[1]))
    queue.set_mode(loop=True)
    before = queue.snapshot()

    after = disk.queue().snapshot()

    assert (after.waiting, after.history) == (before.waiting, before.history)
    assert after.plan_queue_mode == before.plan_queue_mode


def test_the_order_comes_back_after_any_moves(disk: Disk) -> None:
    queue = disk.queue()
    a, b, c, d = filled(queue, "a", "b", "c", "d")
    queue.move([d.item_uid, b.item_uid], lambda _: 0)
    queue.add(Item(name="e"), lambda _: 2)
    queue.remove(a.item_uid)
    queue.update(c.item_uid, Item(name="C", item_uid=c.item_uid))

    assert names(queue) == ["d", "b", "e", "C"]
    assert names(disk.queue()) == ["d", "b", "e", "C"]


def test_the_order_outlives_any_number_of_items_at_one_place(disk: Disk) -> None:
    queue = disk.queue()
    filled(queue, "first", "last")
    for number in range(150):  # halving the gap 150 times leaves no number in between
        queue.add(Item(name=str(number)), lambda _: 1)

    assert names(disk.queue()) == ["first", *map(str, reversed(range(150))), "last"]


@pytest.mark.parametrize("paused", [False, True])
def test_what_ran_is_interrupted_and_waits_at_the_front_to_be_done_again(
    disk: Disk, paused: bool
) -> None:
    queue = disk.queue()
    first, _ = filled(queue, "first", "second")
    queue.start()
    if paused:
        queue.step(Step.PAUSE)

    queue = disk.queue()

    interrupted = queue.find(first.item_uid)
    assert interrupted.state == "interrupted"
    assert interrupted.result is not None
    assert "It has left neither volume nor run." in interrupted.result.msg
    assert queue.running is None
    assert names(queue) == ["first", "second"]
    assert queue.snapshot().waiting[0].item_uid != first.item_uid
    assert disk.queue().snapshot().history[-1].item_uid == first.item_uid


def test_an_item_that_was_executed_directly_is_interrupted_and_does_not_come_back(
    disk: Disk,
) -> None:
    disk.queue().execute(Item(name="once"))

    queue = disk.queue()

    assert [item.state for item in queue.snapshot().history] == ["interrupted"]
    assert names(queue) == []


def test_a_queue_that_goes_on_begins_the_next_item_and_not_the_one_it_died_of(disk: Disk) -> None:
    queue = disk.queue()
    filled(queue, "first", "second")
    queue.start()

    queue = disk.queue(goes_on=True)

    taken = queue.take()
    assert taken is not None
    assert taken.name == "second"
    assert [item.state for item in queue.snapshot().history] == ["interrupted"]
    assert names(queue) == []


def test_autostart_does_not_begin_anything_after_a_restart_unless_it_is_meant_to(
    disk: Disk,
) -> None:
    disk.queue().set_autostart(enabled=True)
    assert not disk.queue().snapshot().autostart

    disk.queue().set_autostart(enabled=True)
    assert disk.queue(goes_on=True).snapshot().autostart


def test_a_request_with_a_key_is_one_item_however_often_it_comes(disk: Disk) -> None:
    queue = disk.queue()
    item = Item(name="once", kwargs={"x": 1}, key="k")
    queue.execute(item)

    with pytest.raises(AlreadySubmittedError) as known:
        queue.execute(Item(name="once", kwargs={"x": 1}, key="k"))
    assert [found.item_uid for found in known.value.items] == [item.item_uid]

    queue.end(Step.COMPLETE, result())
    queue = disk.queue()
    with pytest.raises(AlreadySubmittedError):
        queue.add(Item(name="once", kwargs={"x": 1}, key="k"), len)
    with pytest.raises(WrongStateError, match="another request"):
        queue.add(Item(name="once", kwargs={"x": 2}, key="k"), len)


def test_a_batch_with_a_key_is_added_once_and_its_key_is_for_nothing_else(disk: Disk) -> None:
    queue = disk.queue()
    queue.add_batch([Item(name="same") for _ in range(12)], len, "k")
    uids = queue.snapshot().uids()

    queue = disk.queue()
    with pytest.raises(AlreadySubmittedError) as known:
        queue.add_batch([Item(name="same") for _ in range(12)], len, "k")
    assert [item.item_uid for item in known.value.items] == uids
    for others in ([Item(name="same")] * 11, [Item(name="same")] * 13, [Item(name="other")] * 12):
        with pytest.raises(WrongStateError, match="another request"):
            queue.add_batch(others, len, "k")
    with pytest.raises(WrongStateError, match="another request"):
        queue.add(Item(name="same", key="k"), len)
    assert queue.snapshot().uids() == uids


def test_a_request_that_comes_late_is_known_although_its_item_was_cleared_from_the_history(
    disk: Disk,
) -> None:
    queue = disk.queue()
    once = Item(name="once", kwargs={"x": 1}, key="k")
    queue.execute(once)
    queue.end(Step.COMPLETE, result())
    queue.add_batch([Item(name="same"), Item(name="same")], len, "both")
    batch = queue.snapshot().uids()
    queue.update(batch[0], Item(name="other"))  # under a uid of its own
    queue.start()
    queue.end(Step.COMPLETE, result())
    queue.end(Step.COMPLETE, result())
    queue.clear_history()

    queue = disk.queue()
    with pytest.raises(AlreadySubmittedError) as known:
        queue.execute(replace(once, item_uid="another"))
    assert [item.item_uid for item in known.value.items] == [once.item_uid]
    with pytest.raises(AlreadySubmittedError) as known:
        queue.add_batch([Item(name="same"), Item(name="same")], len, "both")
    assert [item.item_uid for item in known.value.items] == batch
    with pytest.raises(WrongStateError, match="another request"):
        queue.execute(replace(once, kwargs={"x": 2}))
    with pytest.raises(ItemNotFoundError):
        queue.find(once.item_uid)
    assert queue.search(limit=10) == []


@pytest.mark.parametrize("keeps_its_uid", [True, False])
def test_a_request_that_comes_late_is_known_although_its_item_was_changed_since(
    disk: Disk, keeps_its_uid: bool
) -> None:
    queue = disk.queue()
    once = Item(name="once", key="k")
    queue.add(once, len)
    other = Item(name="other", item_uid=once.item_uid if keeps_its_uid else "its own")
    queue.update(once.item_uid, other)

    queue = disk.queue()
    with pytest.raises(AlreadySubmittedError) as known:
        queue.add(Item(name="once", key="k"), len)
    assert [item.item_uid for item in known.value.items] == [once.item_uid]
    assert queue.snapshot().waiting == (other,)


def test_the_whole_history_is_read_in_pages_and_searched(disk: Disk) -> None:
    queue = disk.queue()
    for number in range(1_005):
        queue.execute(Item(name=f"plan {number}", meta={"sample": f"Worm{number % 2} n-{number}"}))
        queue.end(Step.FAIL if number % 5 == 0 else Step.COMPLETE, result())
    first = queue.search(limit=600)
    rest = queue.search(limit=600, before=first[-1][0])

    found = [item.name for _, item in (*first, *rest)]
    assert found == [f"plan {number}" for number in reversed(range(1_005))]
    assert len(queue.search(limit=1_000, state="failed")) == 201
    hits = queue.search(limit=10, search="worm1 n-100")
    assert [item.name for _, item in hits] == ["plan 1003", "plan 1001"]


def test_what_is_cleared_from_the_history_is_gone_and_the_rest_stays(disk: Disk) -> None:
    queue = disk.queue()
    for number in range(4):
        queue.execute(Item(name=str(number)))
        queue.end(Step.COMPLETE, result())

    queue.clear_history(lambda history: history[2:])
    assert [item.name for item in disk.queue().snapshot().history] == ["2", "3"]
    disk.queue().clear_history()
    assert disk.queue().search(limit=10) == []


def test_a_disk_that_refuses_keeps_an_item_from_being_acknowledged(disk: Disk) -> None:
    queue = disk.queue()
    filled(queue, "kept")
    disk.close()

    with pytest.raises(QueueStoreError, match=r"queue\.sqlite"):
        queue.add(Item(name="lost"), len)
    assert names(queue) == ["kept"]


def test_a_disk_that_refuses_keeps_nothing_from_ending_and_is_told_later(tmp_path: Path) -> None:
    store = _Full(tmp_path / "queue.sqlite")
    queue = PlanQueue(lambda _, __: None, store)
    filled(queue, "first", "second")
    queue.start()

    store.is_full = True
    queue.request_stop(pending=True)
    queue.end(Step.COMPLETE, result())
    assert queue.running is None
    store.is_full = False
    queue.add(Item(name="third"), len)

    found = store.load()
    assert [item.name for item in found.waiting] == ["second", "third"]
    assert [item.name for item in found.history] == ["first"]
    assert found.running is None
    store.close()


class _Full(QueueStore):
    is_full = False

    def save(self, *states: object) -> None:
        if self.is_full:
            raise QueueStoreError("no space is left")
        super().save(*states)  # type: ignore[arg-type]


def test_a_file_that_is_none_of_ours_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "queue.sqlite"
    path.write_bytes(b"not a database" * 1_000)
    with pytest.raises(QueueStoreError, match="move it away"):
        QueueStore(path)

    later = tmp_path / "later.sqlite"
    with sqlite3.connect(later) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(QueueStoreError, match="later version"):
        QueueStore(later)


def test_what_was_saved_soon_outlives_a_power_cut_though_nobody_waits_for_that(
    disk: Disk, tmp_path: Path
) -> None:
    queue = disk.queue()
    for name in ("first", "second"):
        queue.add(Item(name=name), len)

    deadline = time.monotonic() + 30
    while after_a_power_cut(disk, tmp_path / "left") != ["first", "second"]:
        assert time.monotonic() < deadline, "it is not synced"
