"""The event log: numbered, replayed, followed from anywhere, and waiting for nobody."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from gently.core.events import Event, EventLog, SlowFollowerError


@pytest.fixture
def log() -> EventLog:
    return EventLog(capacity=5)


def published(log: EventLog, count: int) -> list[Event]:
    return [log.publish("tick", number=number) for number in range(count)]


async def following(
    log: EventLog, after: int, count: int, kinds: tuple[str, ...] = ()
) -> list[Event]:
    """Return the first `count` events of a follower."""
    found: list[Event] = []
    async with aclosing(log.follow(after, kinds)) as events:
        async for event in events:
            if event is not None:
                found.append(event)
            if len(found) == count:
                break
    return found


# ---------------------------------------------------------------------- numbers and replay


def test_each_event_has_the_next_number_its_time_and_its_data(log: EventLog) -> None:
    first = log.last_seq
    one, two = published(log, 2)

    assert [one.seq, two.seq] == [first + 1, first + 2]
    assert log.last_seq == two.seq
    assert two.message() == {"seq": two.seq, "time": two.time, "kind": "tick", "number": 1}


def test_a_later_process_counts_on_from_a_higher_number() -> None:
    first = EventLog()
    published(first, 3)
    threading.Event().wait(0.01)

    assert EventLog().last_seq > first.last_seq


def test_one_who_comes_back_gets_what_came_since(log: EventLog) -> None:
    events = published(log, 4)

    assert log.after(events[1].seq) == events[2:]
    assert log.after(events[3].seq) == []


def test_zero_asks_for_all_that_is_kept_and_is_not_told_of_a_loss(log: EventLog) -> None:
    events = published(log, 8)

    assert log.after(0) == events[3:]


def test_one_who_was_away_for_too_long_is_told_where_the_log_begins(log: EventLog) -> None:
    events = published(log, 8)

    lost, *rest = log.after(events[0].seq)

    assert lost.kind == "events.lost"
    assert lost.data == {"first_available": events[3].seq}
    assert rest == events[3:]
    assert log.after(lost.seq) == rest  # from there on nothing is missing


def test_one_who_has_seen_all_but_the_kept_ones_has_lost_nothing(log: EventLog) -> None:
    events = published(log, 8)

    assert log.after(events[2].seq) == events[3:]


def test_one_from_before_a_restart_is_told_at_once_even_if_nothing_has_happened_since(
    log: EventLog,
) -> None:
    (lost,) = log.after(log.last_seq - 1)

    assert lost.kind == "events.lost"
    assert log.after(lost.seq) == []


def test_a_number_that_is_yet_to_come_is_a_loss_too(log: EventLog) -> None:
    events = published(log, 2)

    lost, *rest = log.after(log.last_seq + 1_000_000)

    assert lost.kind == "events.lost"
    assert rest == events


def test_no_number_is_given_twice_however_many_publish_at_once() -> None:
    log = EventLog(capacity=10_000)
    publishers = [threading.Thread(target=published, args=(log, 250)) for _ in range(8)]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join()

    numbers = [event.seq for event in log.after(0)]
    assert numbers == list(range(log.last_seq - 1_999, log.last_seq + 1))


def test_an_event_is_encoded_as_it_was_when_it_was_published(log: EventLog) -> None:
    place = {"x_um": float("nan"), "y_um": 2}

    event = log.publish("moved", place=place)
    place["y_um"] = 3

    assert json.loads(event.encoded) == {
        "seq": event.seq,
        "time": event.time,
        "kind": "moved",
        "place": {"x_um": None, "y_um": 2},
    }
    assert json.loads(log.publish("nothing").encoded).keys() == {"seq", "time", "kind"}


def test_what_is_kept_is_bounded_in_bytes_as_well_but_for_the_newest() -> None:
    log = EventLog(capacity=100, most_bytes=1_000)

    events = [log.publish("tick", text="x" * 300) for _ in range(5)]
    assert log.after(0) == events[-2:]

    large = log.publish("tick", text="x" * 5_000)
    assert log.after(0) == [large]
    assert log.after(events[0].seq)[0].kind == "events.lost"


# ---------------------------------------------------------------------- following


def test_a_follower_gets_what_was_missed_and_then_each_event_as_it_comes(log: EventLog) -> None:
    missed = published(log, 2)

    async def scenario() -> None:
        follower = asyncio.create_task(following(log, missed[0].seq, 2))
        await asyncio.sleep(0)
        new = await asyncio.to_thread(log.publish, "tock")
        assert await follower == [missed[1], new]

    asyncio.run(scenario())


def test_a_follower_may_ask_for_some_kinds_and_is_still_told_of_a_loss(log: EventLog) -> None:
    first = log.last_seq
    published(log, 8)
    wanted = log.publish("tock")

    found = asyncio.run(following(log, first, 2, kinds=("tock",)))

    assert [event.kind for event in found] == ["events.lost", "tock"]
    assert found[1] == wanted


def test_followers_on_many_loops_each_get_every_event_of_many_publishers() -> None:
    log = EventLog(capacity=10_000)
    first = log.last_seq
    found: dict[int, list[int]] = {}

    def follow(name: int) -> None:
        found[name] = [event.seq for event in asyncio.run(following(log, first, 300))]

    followers = [threading.Thread(target=follow, args=(name,)) for name in range(4)]
    publishers = [threading.Thread(target=published, args=(log, 100)) for _ in range(3)]
    for thread in [*followers, *publishers]:
        thread.start()
    for thread in [*followers, *publishers]:
        thread.join()

    assert set(found) == {0, 1, 2, 3}
    for numbers in found.values():
        assert numbers == list(range(first + 1, first + 301))


def test_a_slow_follower_holds_up_nobody_and_is_told_what_it_has_lost(log: EventLog) -> None:
    first = log.last_seq

    async def scenario() -> list[Event]:
        async with aclosing(log.follow(first)) as events:
            log.publish("tick")
            seen = [await anext(events)]
            published(log, 20)  # returns, though nobody reads
            seen += [await anext(events), await anext(events)]
            return [event for event in seen if event]

    seen = asyncio.run(scenario())

    assert [event.kind for event in seen] == ["tick", "events.lost", "tick"]
    assert seen[2].seq == log.last_seq - 4


def test_one_who_may_not_fall_behind_is_told_so_but_not_for_what_was_replayed() -> None:
    log = EventLog(capacity=1_000)
    published(log, 500)

    async def scenario() -> None:
        async with aclosing(log.batches(0, most_behind=10)) as batches:
            assert len(await anext(batches)) == 500
            published(log, 10)
            assert len(await anext(batches)) == 10
            published(log, 11)
            with pytest.raises(SlowFollowerError, match=r"11 events came .* more than 10"):
                await anext(batches)

    asyncio.run(scenario())
    assert log.followers == 0


def test_events_of_other_kinds_count_when_one_is_told_where_to_go_on(log: EventLog) -> None:
    async def scenario() -> None:
        async with aclosing(log.batches(log.last_seq, ["tock"], every_s=0.01)) as batches:
            published(log, 20)  # more than are kept; none is for this follower
            assert [event.kind for event in await anext(batches)] == ["events.lost"]
            published(log, 3)
            wanted = log.publish("tock")
            assert await anext(batches) == [wanted]

    asyncio.run(scenario())


def test_two_hundred_followers_of_one_loop_are_woken_by_one_call_and_all_hear_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = EventLog()
    calls: list[object] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        soon = loop.call_soon_threadsafe
        followers = [asyncio.create_task(following(log, log.last_seq, 100)) for _ in range(200)]
        await asyncio.sleep(0)
        assert log.followers == 200

        def counted(*given: Any) -> object:
            calls.append(given)
            return soon(*given)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        events = published(log, 100)  # on the loop itself: nobody is awake in between
        monkeypatch.undo()
        for heard in await asyncio.gather(*followers):
            assert len(heard) == 100
            assert all(mine is sent for mine, sent in zip(heard, events, strict=True))

    asyncio.run(scenario())
    assert len(calls) == 1
    assert log.followers == 0


def test_a_follower_hears_none_now_and_then_when_nothing_happens(log: EventLog) -> None:
    async def scenario() -> None:
        async with aclosing(log.follow(0, every_s=0.01)) as events:
            assert await anext(events) is None
            assert await anext(events) is None

    asyncio.run(scenario())


def test_closing_the_log_delivers_what_is_there_and_ends_every_follower(log: EventLog) -> None:
    last: list[Event] = []

    async def all_of(events: AsyncIterator[Event | None]) -> list[Event]:
        return [event async for event in events if event]

    async def scenario() -> list[Event]:
        follower = asyncio.create_task(all_of(log.follow(log.last_seq)))
        await asyncio.sleep(0)
        last.append(log.publish("last"))
        log.close()
        return await follower

    assert asyncio.run(scenario()) == last


def test_a_follower_whose_loop_is_gone_does_not_fail_the_publisher(log: EventLog) -> None:
    loop = asyncio.new_event_loop()
    events = log.follow(0, every_s=1)
    loop.run_until_complete(asyncio.wait({loop.create_task(anext_of(events))}, timeout=0.01))
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.close()

    assert log.publish("tick").kind == "tick"


async def anext_of(events: AsyncIterator[Event | None]) -> Event | None:
    return await anext(events)
