"""A calibration is looked at when it is used: after its end no slice is lit by it."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from devices import LightSheetModel, LimitError, Models, VolumeRequest, load_instrument_file
from tests.devices import demo
from tests.devices.demo import Bench

REQUEST = VolumeRequest(num_slices=2, exposure_ms=1, step_um=1, view="dual")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with demo.booted(load_instrument_file("twin"), tmp_path_factory.mktemp("twin")) as bench:
        yield bench


@pytest.fixture(autouse=True)
def as_it_was(bench: Bench) -> Iterator[None]:
    used = bench.sheet.calibration("b")
    yield
    bench.sheet.calibrate("b", used)


def ends(bench: Bench, in_s: float) -> None:
    used = bench.sheet.calibration("b")
    bench.sheet.calibrate("b", replace(used, uid="5" * 32, valid_until_s=time.time() + in_s))


def test_before_its_end_it_is_used_and_after_it_refused_with_the_side_and_the_remedy(
    bench: Bench,
) -> None:
    ends(bench, in_s=60)
    bench.sheet.prepare(REQUEST).wait(10)
    ends(bench, in_s=-60)
    with pytest.raises(LimitError, match=r"of view b .* UTC.*calibrate_piezo_galvo view=b"):
        bench.sheet.prepare(REQUEST)
    bench.sheet.prepare(replace(REQUEST, view="a")).wait(10)


def test_one_that_ends_before_it_is_armed_lights_nothing(bench: Bench) -> None:
    bench.sheet.prepare(REQUEST).wait(10)
    ends(bench, in_s=-1)
    bench.shelf.sinks.clear()
    with pytest.raises(LimitError, match="Calibrate again"):
        bench.sheet.trigger().wait(10)
    assert not bench.shelf.sinks


def test_a_sweep_through_a_sheet_that_stays_is_taken_all_the_same(bench: Bench) -> None:
    ends(bench, in_s=-60)
    bench.sheet.prepare(replace(REQUEST, sheet_um=0)).wait(10)
    bench.sheet.trigger().wait(10)


def test_a_plan_is_followed_in_its_own_time_and_may_calibrate_on_its_way(bench: Bench) -> None:
    ends(bench, in_s=60)
    models = Models()
    model = models.of(bench.sheet)
    assert isinstance(model, LightSheetModel)
    model.prepare(REQUEST)
    models.now_s += 120
    with pytest.raises(LimitError, match="Calibrate again"):
        model.prepare(REQUEST)
    model.calibrate("b")
    model.prepare(REQUEST)
