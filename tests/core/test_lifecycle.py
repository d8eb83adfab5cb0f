"""The life of an item: the table as it is meant, and nothing beside it."""

from itertools import product

import pytest

from gently.core.errors import LifecycleError
from gently.core.lifecycle import ENDED, ItemState, Step, next_state

MEANT = {
    ("queued", "started"): "running",
    ("queued", "cancelled"): "cancelled",
    ("running", "paused"): "paused",
    ("running", "completed"): "completed",
    ("running", "failed"): "failed",
    ("running", "aborted"): "aborted",
    ("running", "stopped"): "stopped",
    ("running", "halted"): "halted",
    ("running", "interrupted"): "interrupted",
    ("paused", "interrupted"): "interrupted",
    ("paused", "resumed"): "running",
    ("paused", "failed"): "failed",
    ("paused", "aborted"): "aborted",
    ("paused", "stopped"): "stopped",
    ("paused", "halted"): "halted",
}
NOT_MEANT = [pair for pair in product(ItemState, Step) if pair not in MEANT]


@pytest.mark.parametrize(("state", "step"), MEANT)
def test_a_listed_step_leads_where_the_table_says(state: str, step: str) -> None:
    assert next_state(ItemState(state), Step(step)) == MEANT[state, step]


@pytest.mark.parametrize(("state", "step"), NOT_MEANT)
def test_any_other_step_is_refused_and_names_state_and_step(state: ItemState, step: Step) -> None:
    with pytest.raises(LifecycleError, match=f"{state}.*{step}"):
        next_state(state, step)


def test_an_item_that_has_ended_never_changes_again() -> None:
    assert set(ENDED) == {
        "completed",
        "failed",
        "aborted",
        "stopped",
        "halted",
        "cancelled",
        "interrupted",
    }
    assert not [pair for pair in MEANT if pair[0] in ENDED]
