"""A light: put out aside, seen to be out, and told as lit as long as it was not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devices import DeviceError
from tests.devices import demo, faults
from tests.devices.demo import Bench
from tests.devices.faults import Hold
from tests.waiting import until


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Bench]:
    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        bench.core.timeout_s = 0.05
        yield bench


def test_one_that_hangs_in_going_out_is_given_up_and_goes_out_when_it_can(faulty: Bench) -> None:
    gate, hang = faults.gate(faulty.core), Hold()
    faulty.shutter.set("open").wait(10)
    gate.on_close = hang
    with pytest.raises(DeviceError, match=r"shutter \(Gate\) does not answer.*off by hand"):
        faulty.shutter.stop()
    assert faulty.shutter.may_shine
    assert gate.is_open
    hang.let_go()
    until(lambda: not gate.is_open)
    faulty.shutter.find()
    assert not faulty.shutter.may_shine


def test_one_that_was_not_seen_to_go_out_is_put_out_again(faulty: Bench) -> None:
    gate = faults.gate(faulty.core)
    faulty.shutter.set("open").wait(10)
    gate.will_close = False
    faulty.shutter.stop()
    for _ in range(2):
        with pytest.raises(DeviceError, match="still open"):
            faulty.shutter.check_safe()
        with pytest.raises(DeviceError, match="still open"):
            faulty.shutter.find()
    gate.will_close = True
    faulty.shutter.find()
    assert not gate.is_open


def test_one_that_went_out_is_left_alone(faulty: Bench) -> None:
    faulty.shutter.set("open").wait(10)
    faulty.shutter.find()  # as it is to be: nobody has put it out
    assert faulty.shutter.read()["shutter"]["value"] == "open"
