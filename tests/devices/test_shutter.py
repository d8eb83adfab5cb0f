"""The light gate: closed is its safe state, and what it says is what was read back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bluesky.protocols import Movable, Readable, Stoppable

from devices import CoreError, DeviceError, LimitError
from tests.devices import demo, faults
from tests.devices.demo import Bench


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Bench]:
    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        yield bench


def test_it_opens_and_closes_and_is_read_back_so(bench: Bench) -> None:
    for state in ("open", "closed"):
        bench.shutter.set(state).wait(10)
        assert bench.shutter.read()["shutter"]["value"] == state


@pytest.mark.parametrize("value", ["Open", "", "on", True, False, 1, 0, None, ("open",)], ids=repr)
def test_anything_but_open_and_closed_is_refused(bench: Bench, value: Any) -> None:
    with pytest.raises(LimitError, match="shutter can be open or closed") as refused:
        bench.shutter.set(value)
    assert refused.value.field == "state"
    with pytest.raises(LimitError):
        bench.shutter.check_value(value)
    assert not bench.is_lit


def test_stop_closes_it_at_once(bench: Bench) -> None:
    bench.shutter.set("open").wait(10)
    bench.shutter.stop()
    assert not bench.is_lit
    bench.shutter.check_safe()


def test_stop_closes_it_while_the_core_is_latched(bench: Bench) -> None:
    bench.shutter.set("open").wait(10)
    bench.core.latch()
    bench.shutter.stop()
    assert not bench.is_lit


def test_one_that_stays_open_is_not_safe_and_says_to_do_it_by_hand(
    faulty: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.light._MOMENT_S", 0.02)
    faulty.shutter.set("open").wait(10)
    gate = faults.gate(faulty.core)
    gate.will_close = False
    with pytest.raises(CoreError, match="light off by hand"):
        faulty.shutter.set("closed").wait(10)
    faulty.shutter.stop()
    with pytest.raises(DeviceError, match=r"still open .*light off by hand"):
        faulty.shutter.check_safe()
    assert faulty.shutter.read()["shutter"]["value"] == "open"
    gate.will_close = True


def test_it_describes_its_state_as_a_string(bench: Bench) -> None:
    assert bench.shutter.describe() == {
        "shutter": {
            "source": "mmcore://White Light Shutter",
            "dtype": "string",
            "shape": [],
            "units": "",
        }
    }


def test_it_speaks_blueskys_protocols(bench: Bench) -> None:
    assert isinstance(bench.shutter, Readable)
    assert isinstance(bench.shutter, Movable)
    assert isinstance(bench.shutter, Stoppable)
