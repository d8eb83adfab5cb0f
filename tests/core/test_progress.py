"""Progress: of what can be watched and of sleeps, honest, and not too often."""

import time
from typing import Any

import pytest
from bluesky.utils import Msg

from gently.core import progress as module
from gently.core.progress import Progress
from plans import sleep


class Heard:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, kind: str, **data: Any) -> None:
        self.events.append({"kind": kind, **data})


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def progress(heard: Heard) -> Progress:
    return Progress(heard, lambda: "f00")


class Watched:
    """A status that tells what the test says."""

    def watch(self, tell: Any) -> None:
        self.tell = tell


def told(heard: Heard) -> list[float]:
    return [event["fraction"] for event in heard.events]


def test_a_watched_status_is_told_with_the_part_that_is_done(
    progress: Progress, heard: Heard
) -> None:
    status = Watched()
    progress.watch([status, object()])

    status.tell(name="focus", current=5, target=20, unit="um", fraction=0.75, time_remaining=3)

    (event,) = heard.events
    assert event == {
        "kind": "item.progress",
        "item_uid": "f00",
        "name": "focus",
        "current": 5,
        "target": 20,
        "unit": "um",
        "fraction": 0.25,
        "seconds_left": 3,
    }
    assert progress.latest == {k: v for k, v in event.items() if k not in ("kind", "item_uid")}


def test_it_is_told_ten_times_a_second_at_most_and_the_end_in_any_case(
    progress: Progress, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    status = Watched()
    progress.watch([status])
    for step in range(1, 101):
        now[0] = 100 + step / 100  # a second
        status.tell(name="sheet", current=step, target=100, unit="frames", fraction=1 - step / 100)

    assert 9 <= len(heard.events) <= 11
    assert told(heard)[-1] == 1
    status.tell(name="sheet", current=100, target=100, unit="frames", fraction=0)
    assert told(heard)[-2:] == [1, 1]


def test_a_sleep_tells_how_much_of_the_whole_wait_is_over(
    progress: Progress, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 0)
    for message in sleep(2):
        progress.hear(message)

    assert told(heard) == [0, 0.25, 0.5, 0.75]
    assert [event["seconds_left"] for event in heard.events] == [2, 1.5, 1, 0.5]
    assert {event["unit"] for event in heard.events} == {"s"}


def test_a_plain_sleep_tells_how_long_it_will_be(progress: Progress, heard: Heard) -> None:
    progress.hear(Msg("sleep", None, 30))

    assert (heard.events[0]["target"], heard.events[0]["seconds_left"]) == (30, 30)


def test_a_moment_is_not_worth_telling_and_other_messages_tell_nothing(
    progress: Progress, heard: Heard
) -> None:
    progress.hear(Msg("sleep", None, 0.2))
    progress.hear(Msg("checkpoint"))
    assert heard.events == []
    assert progress.latest is None


def test_the_next_item_begins_anew(progress: Progress, heard: Heard) -> None:
    progress.hear(Msg("sleep", None, 30))
    progress.forget()
    assert progress.latest is None

    progress.hear(Msg("sleep", None, 30))
    assert len(heard.events) == 2  # not held back for what the item before has told
