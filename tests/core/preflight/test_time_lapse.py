"""A long plan is checked in no time, and the light of each embryo is known before it is lit."""

from collections.abc import Mapping
from typing import Any

import pytest

from devices import Dose, DoseBudget, HardwareDevice
from gently.core.catalogue import BoundPlan, Catalogue
from gently.core.preflight import WHOLE, Budget, Preflight, PreflightReport
from gently.core.preflight.alikes import Alikes
from plans import ALL_PLANS, Acquisition, TakenPoint, messages
from tests.core.bench import bench
from tests.core.lab import Nothing
from tests.core.preflight.test_check import ROOMY

ONE = {"name": "one", "x_um": 10.0, "y_um": 20.0}
TWO = {"name": "two", "x_um": 30.0, "y_um": -40.0, "z_um": 5.0}


class Known(Nothing):
    """What was taken, and the light that it took."""

    def __init__(self, *points: TakenPoint, spent: Mapping[str, Dose] | None = None) -> None:
        self._points = points
        self._spent = spent or {}

    def acquisition(self, uid: str) -> Acquisition:
        return Acquisition(uid, self._points)

    def dose(self, embryo: str) -> Dose:
        return self._spent.get(embryo, Dose())


@pytest.fixture(scope="module")
def devices() -> Mapping[str, HardwareDevice]:
    return bench()


def lapse(devices: Mapping[str, HardwareDevice], **changes: Any) -> BoundPlan:
    asked = {"embryos": [ONE, TWO], "num_points": 4, "interval_s": 100.0, "num_slices": 2}
    asked |= {"exposure_ms": 5.0, "step_um": 0.0, **changes}
    return Catalogue(ALL_PLANS, devices).bind("time_lapse", [], asked)


def report(
    plan: BoundPlan,
    known: Known | None = None,
    dose_budget: DoseBudget | None = None,
    budget: Budget = WHOLE,
) -> PreflightReport:
    return Preflight(ROOMY, known or Known(), dose_budget or DoseBudget()).check(plan, budget)


def test_points_that_are_alike_are_counted_as_if_each_was_followed(
    devices: Mapping[str, HardwareDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = report(lapse(devices))
    monkeypatch.setattr(Alikes, "begin", lambda *_: True)
    monkeypatch.setattr(Alikes, "end", lambda *_: None)
    whole = report(lapse(devices))

    assert (short.volumes, short.frames) == (whole.volumes, whole.frames) == (8, 16)
    assert short.bytes_needed == whole.bytes_needed
    assert short.travel_um == pytest.approx(whole.travel_um)
    assert short.light_ms == pytest.approx(whole.light_ms)
    assert short.rehearsed_s == pytest.approx(whole.rehearsed_s)
    assert short.doses["one"].light_ms == pytest.approx(whole.doses["one"].light_ms)


def test_ten_thousand_volumes_are_followed_to_the_end_in_few_messages(
    devices: Mapping[str, HardwareDevice],
) -> None:
    found = report(lapse(devices, num_points=5_000), budget=Budget(50_000, 600, has_to_end=True))
    assert found.ok
    assert found.volumes == 10_000
    assert found.steps > 100_000
    assert found.seconds == pytest.approx(5_000 * 100, rel=0.01)


def test_a_rule_stretches_the_interval_from_where_it_holds(
    devices: Mapping[str, HardwareDevice],
) -> None:
    rule = {"measure": "time_point", "at_least": 2.0, "interval_factor": 3.0}
    found = report(lapse(devices, embryos=[ONE], rules=[rule]))
    assert found.rehearsed_s == pytest.approx(100 + 100 + 300, abs=1)


def test_what_was_taken_already_costs_nothing(devices: Mapping[str, HardwareDevice]) -> None:
    known = Known(*(TakenPoint("one", point, "", 0) for point in range(3)))
    found = report(lapse(devices, embryos=[ONE], acquisition_uid="a" * 32), known)
    assert found.volumes == 1


def test_light_beyond_the_budget_is_refused_with_the_embryo_what_it_had_and_what_is_asked(
    devices: Mapping[str, HardwareDevice],
) -> None:
    known = Known(spent={"two": Dose(1000.0, None)})
    found = report(lapse(devices), known, DoseBudget(light_ms=1030.0))
    (refusal,) = found.refusals
    assert refusal.field == "embryos"
    assert "two would have had 1040 ms of light, of 1030 ms" in refusal.message
    assert "given 1000 ms, and this plan would take 40 ms" in refusal.message
    assert found.doses["two"].spent_light_ms == 1000


def test_light_of_unknown_power_is_beyond_every_budget_of_energy(
    devices: Mapping[str, HardwareDevice],
) -> None:
    found = report(lapse(devices), dose_budget=DoseBudget(energy_mj=1e6))
    assert "unknown power" in found.refusals[0].message


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("snap", {}),
        ("focus", {}),
        ("find_embryos", {}),
        ("burst", {}),
        ("tile_scan", {"width_um": 10.0, "height_um": 10.0, "x_um": 0.0, "y_um": 0.0}),
    ],
)
def test_light_on_no_embryo_in_particular_is_that_of_the_items_embryo(
    devices: Mapping[str, HardwareDevice], name: str, asked: dict[str, Any]
) -> None:
    plan = Catalogue(ALL_PLANS, devices).bind(name, [], asked)
    found = Preflight(ROOMY, Known(), DoseBudget(light_ms=4)).check(plan, embryo="e7")
    assert "e7 would have had" in found.refusals[0].message
    assert found.doses["e7"].light_ms == pytest.approx(found.light_ms)


def test_the_light_of_looking_for_an_embryos_focus_is_that_embryos(
    devices: Mapping[str, HardwareDevice],
) -> None:
    plan = Catalogue(ALL_PLANS, devices).bind("acquire_embryo", [], {"embryo": ONE})
    found = Preflight(ROOMY, Known(), DoseBudget()).check(plan, embryo="e7")
    assert set(found.doses) == {"one"}
    assert found.doses["one"].light_ms == pytest.approx(found.light_ms)


def test_a_budget_of_the_plan_ends_it_there(devices: Mapping[str, HardwareDevice]) -> None:
    known = Known(spent={"two": Dose(1000.0, None)})
    found = report(lapse(devices, light_budget_ms=1025.0), known)
    assert found.ok
    assert found.doses["one"].light_ms == pytest.approx(40)
    assert found.doses["two"].light_ms == pytest.approx(20)


def test_a_part_that_is_alike_is_done_each_time_it_really_runs() -> None:
    def part() -> Any:
        yield from messages.clock()
        return "done"

    plan = messages.alike("key", part)
    assert next(plan).command == "begin_alike"
    assert plan.send(True).command == "clock"
    assert plan.send(0.0).command == "end_alike"
