"""The light that reaches the sample: what lets it through, and that all of it is counted."""

from pathlib import Path

import pytest

from devices.twin import LightAccount
from devices.twin.light import LINES, Light
from devices.twin.light_log import LightLog, Portion
from devices.twin.spim import Program, Pulse, Run, SliceTiming, Sweep
from tests.devices.twin.clock import ManualClock

MS = 1_000_000
BLUE = {"outputs": (6,), "powers_mw": (0, 6, 0, 0)}
STILL = Sweep(0, 0)


def run_of(slices: int, started_ns: int) -> Run:
    """Slices of 13 ms, each with 5 ms of laser after 8 ms."""
    timing = SliceTiming(Pulse(0, 0), Pulse(8 * MS, 5 * MS), Pulse(8 * MS, MS))
    program = Program(timing, slices, ("A",), 1, 0, 0, 1, {}, {"A": STILL, "B": STILL}, {}, {})
    return Run(program, started_ns)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def light(clock: ManualClock) -> Light:
    return Light(clock)


@pytest.mark.parametrize(
    ("parts", "uj"),
    [
        ({"is_open": True}, 60),
        ({"is_open": False}, 0),
        ({"is_open": True, "outputs": (5,)}, 0),
        ({"is_open": True, "outputs": (5, 6, 7, 8)}, 60),
        ({"is_open": True, "powers_mw": (0, 0, 0, 0)}, 0),
        ({"unmodulated": (False, True, False, False), "outputs": ()}, 60),
    ],
)
def test_a_line_needs_its_output_its_power_and_an_open_gate_unless_nothing_modulates_it(
    light: Light, clock: ManualClock, parts: dict[str, object], uj: float
) -> None:
    light.change(**{**BLUE, **parts})
    clock.wait_s(0.01)
    assert light.count().energy_uj == {405: 0, 488: uj, 561: 0, 637: 0}


def test_a_shut_gate_passes_the_pulses_of_a_run_and_nothing_else(
    light: Light, clock: ManualClock
) -> None:
    clock.wait_s(1)
    light.change(**BLUE, run=run_of(10, clock()))
    clock.wait_s(5)
    assert light.count().lit_ms[488] == 50
    assert light.count().open_ms == 0
    begun = 1_000 * MS
    assert light.energy_uj(begun + 8 * MS, begun + 13 * MS)[1] == 30
    assert light.energy_uj(begun, begun + 8 * MS)[1] == 0
    assert light.energy_uj(begun + 10 * MS, begun + 13 * MS + 10 * MS)[1] == pytest.approx(30)


def test_a_run_that_is_cut_gives_no_more_light(light: Light, clock: ManualClock) -> None:
    run = run_of(10, clock())
    light.change(**BLUE, run=run)
    clock.wait_s(0.023)  # in the second pulse
    run.cut(clock())
    light.change(run=None)
    clock.wait_s(5)
    assert light.count().lit_ms[488] == pytest.approx(7)


def test_light_is_counted_for_the_embryos_in_view_once_the_stage_has_arrived(
    light: Light, clock: ManualClock
) -> None:
    light.change(**BLUE, is_open=True, in_view=(0,))
    clock.wait_s(0.1)
    light.move((3, 4), arrives_ns=clock() + 50 * MS)
    clock.wait_s(1.05)
    got = light.count().embryos
    assert {embryo: line[488] for embryo, line in got.items()} == pytest.approx(
        {0: 900, 3: 6000, 4: 6000}
    )


def test_what_is_forgotten_is_still_counted(light: Light, clock: ManualClock) -> None:
    for _ in range(50):
        light.change(**BLUE, is_open=True)
        clock.wait_s(1)
        light.change(is_open=False)
        clock.wait_s(9)
    assert light.count().open_ms == 50_000
    assert light.count().energy_uj[488] == pytest.approx(300_000)


def test_each_line_has_an_output_of_its_own() -> None:
    assert [(line.nm, line.output) for line in LINES] == [(405, 5), (488, 6), (561, 7), (637, 8)]


def test_a_log_outlives_the_process_and_says_what_a_run_would_have_given_that_it_died_under(
    clock: ManualClock, tmp_path: Path
) -> None:
    path = tmp_path / "light.ndjson"
    for life in range(2):
        light = Light(clock, LightLog(path, seed=7))
        light.move((3,), clock())
        light.change(**BLUE)
        for _ in range(2):
            light.change(run=run_of(10, clock()))
            clock.wait_s(0.1)  # seven pulses, and a part of the eighth
            light.change(run=None)
        if life == 0:
            light.change(run=run_of(10, clock()))
    account = LightAccount.read(path)
    assert account.lives == 2
    assert account.died_under == [{3: Portion(50, 300)}]
    given = Portion(account.total.ms, account.total.uj)
    assert account.embryos == {3: given}
    assert given == Portion(4 * 36, 6 * 4 * 36)
