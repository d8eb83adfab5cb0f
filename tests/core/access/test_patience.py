"""Those who guess wait longer and longer; a few mistakes cost nothing."""

import pytest

from gently.core.access import Patience
from tests.core.access.conftest import Clock


@pytest.fixture
def patience(clock: Clock) -> Patience:
    return Patience(at_once=3, every_s=0.5, longest_s=2.0, clock=clock)


def test_a_few_mistakes_are_told_at_once(patience: Patience) -> None:
    assert [patience.wait_s() for _ in range(3)] == [0, 0, 0]


def test_more_of_them_come_one_after_the_other_and_none_waits_for_ever(
    patience: Patience,
) -> None:
    waits = [patience.wait_s() for _ in range(10)]
    assert waits[3:] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0]


def test_after_a_while_all_is_forgiven(patience: Patience, clock: Clock) -> None:
    for _ in range(10):
        patience.wait_s()
    clock.turn(2 + 1.5)
    assert [patience.wait_s() for _ in range(4)] == [0, 0, 0, 0.5]
