"""The board of positions: what was read back, told as it changes and not too often."""

from typing import Any

import pytest

from devices import CoreTimeoutError, FocusDrive, XYStage
from gently.core import positions as module
from gently.core.positions import PositionBoard
from tests.core.bench import focus_drive, xy_stage


class Heard:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, kind: str, **data: Any) -> None:
        assert kind == "positions"
        self.events.append(data)

    @property
    def places(self) -> list[dict[str, float]]:
        return [event["positions_um"] for event in self.events]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def drive() -> FocusDrive:
    return focus_drive()  # read at 0 µm


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> XYStage:
    return xy_stage()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module, "_now", lambda: now[0])
    return now


def reads(device: FocusDrive | XYStage, monkeypatch: pytest.MonkeyPatch, **values: float) -> None:
    monkeypatch.setattr(device, "_read_hardware", lambda: values)
    device.read()


def test_what_was_known_before_is_told_at_once(drive: FocusDrive, heard: Heard) -> None:
    PositionBoard([drive], heard)
    assert heard.events == [{"positions_um": {"focus.z": 0.0}, "read": 1.0}]


def test_each_new_position_is_told_with_its_time_whoever_read_it(
    stage: XYStage, heard: Heard, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    PositionBoard([stage], heard)
    assert heard.events == []  # never read so far

    reads(stage, monkeypatch, xy_stage_x=1.0, xy_stage_y=-2.0)

    (event,) = heard.events
    assert event["positions_um"] == {"xy_stage.x": 1.0, "xy_stage.y": -2.0}
    assert event["read"] == stage.last_reading()["xy_stage_x"]["timestamp"]


def test_the_same_place_is_not_told_again_nor_what_is_less_than_a_step(
    drive: FocusDrive, heard: Heard, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    PositionBoard([drive], heard)
    for z_um in (0.001, -0.002, 0.0):
        clock[0] += 1
        reads(drive, monkeypatch, focus=z_um)
    assert len(heard.events) == 1

    clock[0] += 1
    reads(drive, monkeypatch, focus=0.02)
    assert heard.places[1:] == [{"focus.z": 0.02}]


def test_a_fast_motion_is_told_five_times_a_second_and_its_end_afterwards(
    drive: FocusDrive, heard: Heard, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    board = PositionBoard([drive], heard)
    for step in range(1, 51):
        clock[0] += 0.01
        reads(drive, monkeypatch, focus=float(step))
    assert [place["focus.z"] for place in heard.places] == [0.0, 20.0, 40.0]

    board.catch_up()  # too soon
    assert len(heard.events) == 3
    clock[0] += 0.2
    board.catch_up()
    assert heard.places[-1] == {"focus.z": 50.0}
    board.catch_up()
    assert len(heard.events) == 4


def test_asked_stages_that_do_not_answer_are_named_and_logged_once(
    drive: FocusDrive,
    heard: Heard,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    clock: list[float],
) -> None:
    board = PositionBoard([drive], heard)

    def fail() -> dict[str, float]:
        raise CoreTimeoutError("focus did not answer within 5 s")

    monkeypatch.setattr(drive, "_read_hardware", fail)
    board.ask()
    board.ask()

    assert board.silent == ("focus",)
    assert len(caplog.records) == 1
    monkeypatch.setattr(drive, "_read_hardware", lambda: {"focus": 3.0})
    clock[0] += 1
    board.ask()
    assert list(board.silent) == []
    assert heard.places[-1] == {"focus.z": 3.0}
