"""Stop: in any state, past anything that hangs, and it reports what was read back."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import MsgGenerator

from devices import (
    CoreError,
    FocusDrive,
    HardwareDevice,
    Instrument,
    PlannedVolume,
    Shutter,
    StoppedError,
    XYStage,
    load_instrument_file,
)
from devices.frames import FrameSink
from gently.core import stop as stop_module
from gently.core.stop import StopReport, stop_everything
from tests.core.lab import BlockingRead, Lab, long, quick, result
from tests.devices import faults
from tests.devices.faults import Hold
from tests.waiting import until

FAR = 5_000.0


def no_sink(_: PlannedVolume) -> FrameSink:
    raise AssertionError("no volume is taken here")


@pytest.fixture(scope="module")
def instrument() -> Iterator[Instrument]:
    instrument = Instrument(load_instrument_file("demo"), open_sink=no_sink)
    yield instrument
    instrument.close()


@pytest.fixture
def stage(instrument: Instrument) -> XYStage:
    stage = instrument.devices["xy_stage"]
    assert isinstance(stage, XYStage)
    stage.set((0.0, 0.0)).wait(10)
    return stage


@pytest.fixture
def focus(instrument: Instrument) -> FocusDrive:
    focus = instrument.devices["focus"]
    assert isinstance(focus, FocusDrive)
    return focus


@pytest.fixture
def shutter(instrument: Instrument) -> Shutter:
    shutter = instrument.devices["shutter"]
    assert isinstance(shutter, Shutter)
    return shutter


def stop(instrument: Instrument, lab: Lab, reason: str = "enough") -> StopReport:
    return stop_everything(instrument, lab.runner, lab.queue, reason)


def test_stop_in_motion_ends_it_on_its_way_and_the_plan_with_it(
    instrument: Instrument, lab: Lab, stage: XYStage
) -> None:
    def travel() -> MsgGenerator[None]:
        yield from bps.mv(stage, (FAR, 0.0))

    item = lab.begin(travel)
    until(lambda: stage.readback()["xy_stage_x"]["value"] > 1)
    report = stop(instrument, lab)

    x_um = report.devices["xy_stage"].readings["xy_stage_x"]["value"]
    assert report.success
    assert 1 < x_um < FAR - 1
    assert stage.readback()["xy_stage_x"]["value"] == x_um  # where it was read is where it stays
    assert report.item_uid == item.item_uid
    item = lab.ended(item)
    assert (item.state, result(item)["msg"]) == ("aborted", "enough")


def test_stop_of_an_idle_microscope_reads_everything_back(instrument: Instrument, lab: Lab) -> None:
    report = stop(instrument, lab)

    assert report.success
    assert (report.item_uid, report.plan_ended) == (None, True)
    assert set(report.devices) == set(instrument.devices)
    for name, device in report.devices.items():
        assert device.stopped, name
        assert set(device.readings) == set(instrument.devices[name].read()), name
    assert report.message()["devices"]["focus"]["readings"]["focus"]["units"] == "um"


def test_stop_closes_an_open_shutter(instrument: Instrument, lab: Lab, shutter: Shutter) -> None:
    shutter.set("open").wait(30)

    report = stop(instrument, lab)

    assert report.devices["shutter"].readings["shutter"]["value"] == "closed"


def test_stop_ends_a_paused_plan(instrument: Instrument, lab: Lab) -> None:
    item = lab.paused(long)

    report = stop(instrument, lab)

    assert report.success
    assert report.item_uid == item.item_uid
    assert lab.ended(item).state == "aborted"


def test_stop_finds_a_plan_that_has_only_just_been_asked_for(
    instrument: Instrument, lab: Lab
) -> None:
    for _ in range(20):
        item = lab.begin(long)
        report = stop(instrument, lab)

        assert report.item_uid == item.item_uid
        assert report.plan_ended
        assert lab.queue.find(item.item_uid).state == "aborted"


def test_stop_ends_the_queue_and_leaves_what_waits(instrument: Instrument, lab: Lab) -> None:
    first, second = lab.item(long), lab.item(quick)
    for item in (first, second):
        lab.queue.add(item, len)
    lab.queue.start()

    stop(instrument, lab)

    assert lab.queue.find(first.item_uid).state == "aborted"
    assert lab.queue.find(second.item_uid).state == "queued"


def test_after_a_stop_the_microscope_moves_again(
    instrument: Instrument, lab: Lab, stage: XYStage
) -> None:
    stop(instrument, lab)

    stage.set((10.0, 0.0)).wait(10)

    assert stage.readback()["xy_stage_x"]["value"] == pytest.approx(10, abs=1)


def test_two_stops_at_once_both_report(instrument: Instrument, lab: Lab) -> None:
    item = lab.begin(long)

    with ThreadPoolExecutor(2) as threads:
        reports = list(threads.map(lambda _: stop(instrument, lab), range(2)))

    assert [report.success for report in reports] == [True, True]
    assert lab.ended(item).state == "aborted"


# ---------------------------------------------------------------------- what does not stop


def test_a_device_whose_stop_hangs_is_named_and_keeps_no_other_from_stopping(
    instrument: Instrument,
    lab: Lab,
    stage: XYStage,
    focus: FocusDrive,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def travel() -> MsgGenerator[None]:
        yield from bps.mv(stage, (FAR, 0.0))

    let_go = threading.Event()
    monkeypatch.setattr(focus, "stop", lambda: let_go.wait(30))
    monkeypatch.setattr(stop_module, "_DEVICE_S", 0.2)
    lab.begin(travel)
    until(lambda: stage.readback()["xy_stage_x"]["value"] > 1)

    report = stop(instrument, lab)
    let_go.set()

    assert not report.success
    assert not report.devices["focus"].stopped
    assert report.devices["focus"].error == "did not answer within 0.2 s"
    assert report.devices["focus"].readings["focus"]["value"] == focus.position_um
    others = {name: found for name, found in report.devices.items() if name != "focus"}
    assert all(found.stopped for found in others.values())
    assert report.plan_ended
    assert report.message()["msg"] == "Not stopped: focus."


def test_a_device_whose_stop_raises_is_quoted_and_read_back_all_the_same(
    instrument: Instrument, lab: Lab, focus: FocusDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise CoreError("Z: the controller answers with error 21")

    monkeypatch.setattr(focus, "stop", refuse)

    report = stop(instrument, lab)

    assert not report.success
    assert report.devices["focus"].error == "Z: the controller answers with error 21"
    assert report.devices["focus"].readings["focus"]["value"] == focus.position_um


def test_a_device_that_cannot_be_read_back_does_not_count_as_stopped(
    instrument: Instrument, lab: Lab, focus: FocusDrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silence() -> None:
        raise CoreError("Z: no answer")

    monkeypatch.setattr(focus, "readback", silence)

    found = stop(instrument, lab).message()["devices"]["focus"]

    assert found == {"stopped": False, "readings": {}, "error": "Z: no answer"}


def test_a_light_that_stays_on_is_reported_as_read(
    instrument: Instrument, lab: Lab, shutter: Shutter, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutter.set("open").wait(30)
    with monkeypatch.context() as stuck:
        stuck.setattr(instrument.core, "close_shutter", lambda _: None)
        report = stop(instrument, lab)

    assert not report.success
    assert not report.devices["shutter"].stopped
    assert report.devices["shutter"].readings["shutter"]["value"] == "open"
    assert "still open" in str(report.devices["shutter"].error)
    assert stop(instrument, lab).success


def test_until_the_plan_has_ended_nothing_moves_and_then_everything_may(
    instrument: Instrument, lab: Lab, stage: XYStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = BlockingRead()

    def reads() -> MsgGenerator[None]:
        yield from bps.read(dead)
        yield from bps.mv(stage, (FAR, FAR))

    monkeypatch.setattr(stop_module, "_PLAN_S", 0.1)
    item = lab.begin(reads)
    assert dead.is_held.wait(30)

    report = stop(instrument, lab)

    assert not report.success
    assert not report.plan_ended
    assert "The plan has not ended; nothing moves until it has." in report.message()["msg"]
    assert all(device.stopped for device in report.devices.values())
    motion = stage.set((FAR, FAR))
    with pytest.raises(StoppedError, match="a stop was asked for"):
        motion.wait(10)
    shutter = instrument.devices["shutter"]
    assert isinstance(shutter, Shutter)
    light = shutter.set("open")
    with pytest.raises(StoppedError):
        light.wait(10)
    shutter.set("closed").wait(10)  # towards safety is always allowed

    dead.let_go.set()

    assert lab.ended(item).state == "aborted"
    until(lambda: not [t for t in threading.enumerate() if t.name == "release"])
    stage.set((1.0, 1.0)).wait(10)


# ---------------------------------------------------------------------- what hangs


def moving_and_lit(stage: XYStage, shutter: Shutter) -> None:
    """Leave the stage on its way and the light on, as a plan would that hangs now."""
    shutter.set("open").wait(30)
    stage.set((FAR, 0.0))
    until(lambda: stage.readback()["xy_stage_x"]["value"] > 1)


def stands_still(stage: XYStage, report: StopReport) -> bool:
    x_um = report.devices["xy_stage"].readings["xy_stage_x"]["value"]
    return bool(1 < x_um < FAR - 1 and stage.readback()["xy_stage_x"]["value"] == x_um)


def test_a_plan_that_blocks_the_run_engine_keeps_no_device_from_stopping(
    instrument: Instrument,
    lab: Lab,
    stage: XYStage,
    shutter: Shutter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dead = BlockingRead()

    def hangs() -> MsgGenerator[None]:
        yield from bps.read(dead)

    monkeypatch.setattr(stop_module, "_PLAN_S", 0.1)
    lab.begin(hangs)
    assert dead.is_held.wait(30)
    moving_and_lit(stage, shutter)

    report = stop(instrument, lab)

    assert not report.plan_ended
    assert stands_still(stage, report)
    assert report.devices["shutter"].readings["shutter"]["value"] == "closed"
    dead.let_go.set()
    until(lambda: not [t for t in threading.enumerate() if t.name == "release"])


def test_a_queue_that_waits_for_its_disk_keeps_no_device_from_stopping(
    instrument: Instrument,
    lab: Lab,
    stage: XYStage,
    shutter: Shutter,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hold = Hold()
    monkeypatch.setattr(lab.queue._store, "save", hold)
    monkeypatch.setattr(stop_module, "_PLAN_S", 0.1)
    moving_and_lit(stage, shutter)
    adding = threading.Thread(target=lab.queue.add, args=(lab.item(quick), len))
    adding.start()
    hold.wait_until_entered()

    report = stop(instrument, lab)

    assert stands_still(stage, report)
    assert all(device.stopped for device in report.devices.values())
    hold.let_go()
    adding.join()
    until(lambda: not [t for t in threading.enumerate() if t.name == "release"])


def test_a_core_that_is_stuck_in_a_call_keeps_no_device_from_being_stopped_and_read_back(
    instrument: Instrument, lab: Lab, stage: XYStage, shutter: Shutter
) -> None:
    moving_and_lit(stage, shutter)
    hold = Hold()
    stuck = threading.Thread(target=instrument.core.ask, args=("Camera", hold))
    stuck.start()
    hold.wait_until_entered()

    report = stop(instrument, lab)
    hold.let_go()
    stuck.join()

    assert report.success, report.message()["msg"]
    assert stands_still(stage, report)


def test_of_several_devices_only_the_one_whose_call_hangs_is_named(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_module, "_DEVICE_S", 0.3)
    faulty = Instrument(faults.written_to(tmp_path), open_sink=no_sink)
    hold = Hold()
    try:
        shutter, focus = faulty.devices["shutter"], faulty.devices["focus"]
        assert isinstance(shutter, Shutter)
        assert isinstance(focus, FocusDrive)
        shutter.set("open").wait(30)
        faults.drive(faulty.core).on_command = hold
        motion = focus.set(10.0)  # the core's thread is now inside the drive's adapter
        hold.wait_until_entered()

        report = stop(faulty, lab)

        hung = {name for name, device in report.devices.items() if not device.stopped}
        assert hung == {"focus"}
        assert report.devices["shutter"].readings["shutter"]["value"] == "closed"
    finally:
        hold.let_go()
        with pytest.raises(StoppedError):
            motion.wait(10)
        faulty.close()


def test_devices_that_answer_one_after_the_other_on_a_slow_line_are_waited_for(
    instrument: Instrument, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stop_module, "_DEVICE_S", 0.3)
    line = threading.Lock()
    began = time.monotonic()
    for device in instrument.devices.values():

        def answer(device: HardwareDevice = device) -> None:
            with line:
                time.sleep(0.15)

        monkeypatch.setattr(device, "check_safe", answer)
    report = stop(instrument, lab)
    assert time.monotonic() - began > 0.15 * len(instrument.devices) > stop_module._DEVICE_S
    assert report.success, report.message()["msg"]


def test_at_the_end_of_the_process_no_plan_that_hangs_keeps_the_light_on_meanwhile(
    lab: Lab, shutter: Shutter, stage: XYStage, instrument: Instrument
) -> None:
    dead = BlockingRead()

    def hangs() -> MsgGenerator[None]:
        yield from bps.read(dead)

    item = lab.begin(hangs)
    assert dead.is_held.wait(30)
    moving_and_lit(stage, shutter)

    assert not stop_module.stop_for_good(instrument, lab.runner, 0.1)

    assert shutter.readback()["shutter"]["value"] == "closed"
    instrument.core.release()
    dead.let_go.set()
    assert lab.ended(item).state == "aborted"
