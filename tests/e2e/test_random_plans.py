"""Random plans: what passes preflight runs, and what does not is accepted nowhere."""

from pathlib import Path

from tests.e2e.random_plans import run


def test_no_random_plan_that_passes_preflight_is_refused_on_the_twin(tmp_path: Path) -> None:
    """The same as a command, with as many plans as one likes, and with the figures of time."""
    figures = run(tmp_path, plans=100, seed_number=4)

    assert set(figures.states) <= {"completed", "refused", "refused before it ran"}
    assert figures.states["refused"] > 5
    assert figures.states["completed"] > 50
