"""Whose turn it is in a time-lapse, and when: without a clock."""

import pytest

from plans import Embryo, TakenPoint
from plans.schedule import Schedule

FAST = Embryo(name="fast", x_um=0, y_um=0, interval_s=10)
SLOW = Embryo(name="slow", x_um=100, y_um=0)


def schedule(*taken: TakenPoint, interval_s: float = 30, num_points: int = 3) -> Schedule:
    return Schedule(
        [FAST, SLOW],
        num_points=num_points,
        interval_s=interval_s,
        channels=("",),
        taken=taken,
        now_s=1000,
    )


def turns(schedule: Schedule, takes_s: float, now_s: float = 1000) -> list[tuple[str, int, float]]:
    """Play a schedule to its end, where each volume takes so long; return who began when."""
    found = []
    while (course := schedule.next()) is not None:
        now_s = max(now_s, course.due_s)
        found.append((course.name, course.time_point, now_s - 1000))
        schedule.taken(course, now_s, course.base_interval_s)
        now_s += takes_s
    return found


def test_each_embryo_is_taken_at_its_own_interval() -> None:
    assert turns(schedule(), takes_s=1) == [
        ("fast", 0, 0),
        ("slow", 0, 1),
        ("fast", 1, 10),
        ("fast", 2, 20),
        ("slow", 1, 31),
        ("slow", 2, 61),
    ]


def test_intervals_do_not_drift_by_what_each_point_is_late() -> None:
    lapse = schedule(num_points=50)
    found = [at_s for name, _, at_s in turns(lapse, takes_s=7) if name == "fast"]
    assert found[-1] == pytest.approx(490, abs=7)  # and not later by more for each
    (fast, _) = lapse.courses
    report = fast.report()
    assert report["mean_interval_s"] == pytest.approx(10, abs=0.2)
    assert 0 < report["most_late_s"] <= 7


def test_what_was_missed_by_more_than_an_interval_is_not_made_up_for_by_haste() -> None:
    lapse = schedule()
    fast = lapse.courses[0]
    lapse.taken(fast, 1000, 10)
    lapse.taken(fast, 1045, 10)  # 35 s late
    assert fast.due_s == 1055
    assert fast.report()["most_late_s"] == 35


def test_it_goes_on_at_the_first_time_point_that_is_missing_with_whoever_is_behind() -> None:
    taken = [TakenPoint("fast", 0, "", 900), TakenPoint("fast", 2, "", 920)]
    assert turns(schedule(*taken), takes_s=1) == [
        ("slow", 0, 0),
        ("fast", 1, 1),
        ("slow", 1, 30),
        ("slow", 2, 60),
    ]


def test_a_short_break_does_not_move_the_grid() -> None:
    lapse = schedule(TakenPoint("slow", 0, "", 990))
    assert [(turn[0], turn[2]) for turn in turns(lapse, 0) if turn[0] == "slow"] == [
        ("slow", 20),
        ("slow", 50),
    ]
    (_, slow) = lapse.courses
    assert slow.report()["most_late_s"] == 0


def test_a_channel_that_is_missing_is_taken_alone() -> None:
    lapse = Schedule(
        [SLOW],
        num_points=1,
        interval_s=0,
        channels=("488", "561"),
        taken=[TakenPoint("slow", 0, "488", 900)],
        now_s=1000,
    )
    course = lapse.next()
    assert course is not None
    assert course.missing == ("561",)


def test_a_point_that_is_due_at_once_is_never_late() -> None:
    lapse = Schedule([SLOW], num_points=5, interval_s=0, channels=("",), taken=[], now_s=1000)
    turns(lapse, takes_s=3)
    assert lapse.courses[0].report()["most_late_s"] == 0
    assert lapse.courses[0].report()["mean_interval_s"] == 3
