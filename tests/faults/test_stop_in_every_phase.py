"""Whatever the microscope is doing, a stop makes it safe, and its report is true.

These are the rounds of ``benchmarks.stop``, without the time they take.
"""

from collections.abc import Iterator

import pytest

from benchmarks.stop import PHASES, Bench, bench_of, one_round


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GENTLY_API_KEY", "")  # put back afterwards
        with bench_of(tmp_path_factory.mktemp("bench"), seed=1) as bench:
            yield bench


@pytest.mark.parametrize("phase", [name for name in PHASES if not PHASES[name].is_slow])
def test_a_stop_makes_it_safe(bench: Bench, phase: str) -> None:
    one_round(bench, PHASES[phase])
