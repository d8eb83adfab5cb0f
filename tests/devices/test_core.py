"""The owner of MMCore: what it adds to the core, and how it ends."""

import importlib.util
import logging
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices import (
    AcquisitionError,
    CoreError,
    CoreTimeoutError,
    DeviceError,
    InstrumentError,
    StoppedError,
)
from devices.core import Core, Frame
from tests.devices import demo, faults
from tests.devices.demo import CAMERA, FOCUS, SHUTTER, XY
from tests.devices.faults import DRIVE, GATE, Hold
from tests.waiting import until

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Core]:
    core = demo.boot_core(faults.written_to(tmp_path).micromanager.config)
    yield core
    core.close()


@pytest.fixture
def held(core: Core) -> Iterator[Hold]:
    """Keep the core's thread busy in another call."""
    hold = Hold()
    thread = threading.Thread(target=lambda: core.ask(CAMERA, hold, timeout_s=10))
    thread.start()
    hold.wait_until_entered()
    yield hold
    hold.let_go()
    thread.join()


def never() -> threading.Event:
    return threading.Event()


def frames(core: Core, count: int, cancelled: threading.Event | None = None) -> Generator[Frame]:
    return core.frames(CAMERA, count, exposure_ms=1, cancelled=cancelled or never())


def slow_down(core: Core) -> None:
    demo.set_property(core, XY, "Velocity", 0.1)  # mm/s


def write_cfg(folder: Path, *lines: str) -> Path:
    path = folder / "under_test.cfg"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


# ---------------------------------------------------------------- what is loaded


def test_it_names_every_device_and_its_kind(core: Core) -> None:
    kinds = {label: core.kind(label) for label in (CAMERA, XY, FOCUS, SHUTTER)}
    assert set(kinds) <= set(core.labels)
    assert "Core" not in core.labels
    assert kinds == {CAMERA: "Camera", XY: "XYStage", FOCUS: "Stage", SHUTTER: "Shutter"}


def test_it_tells_the_versions_that_a_bug_report_needs(core: Core) -> None:
    versions = core.versions()
    assert set(versions) == {"mmcore", "device_interface", "pymmcore-plus"}
    assert all(versions.values())


def test_adapters_of_another_device_interface_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"pymmcore": "12.5.1.75.0", "mm-test-adapters": "74.20250101"}
    monkeypatch.setattr("importlib.metadata.version", versions.__getitem__)
    with pytest.raises(InstrumentError, match=r'interface 75, .* 74.*pip install "mm-test-adap'):
        demo.boot_core()


def test_pymmcore_nano_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> Any:
        return object() if name == "pymmcore_nano" else real(name, package)

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    with pytest.raises(InstrumentError, match="pip uninstall pymmcore-nano"):
        demo.boot_core()


def test_a_missing_configuration_is_refused_by_name() -> None:
    with pytest.raises(InstrumentError, match=r"could not load .*nowhere\.cfg"):
        demo.boot_core(Path("nowhere.cfg"))


def test_an_adapter_that_does_not_exist_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write_cfg(tmp_path, "Device,Stage,NoSuchAdapter,Stage", "Property,Core,Initialize,1")
    with pytest.raises(InstrumentError, match=r"under_test\.cfg.*line 1.*NoSuchAdapter"):
        demo.boot_core(path)


def test_a_device_that_is_not_initialised_is_refused_by_label(tmp_path: Path) -> None:
    path = write_cfg(
        tmp_path,
        "#py pyDevice,Silent,tests.devices.faults,Broken",
        "Property,Core,Initialize,1",
    )
    with pytest.raises(InstrumentError, match=r"Silent in .* is not initialised"):
        demo.boot_core(path)


def test_every_shutter_is_closed_once_loaded_even_one_nobody_uses(tmp_path: Path) -> None:
    path = write_cfg(
        tmp_path,
        "Device,One,DemoCamera,DShutter",
        "Device,Other,DemoCamera,DShutter",
        "Property,Core,Initialize,1",
        "Property,One,State,1",
        "Property,Other,State,1",
    )
    core = demo.boot_core(path)
    try:
        assert not core.shutter_open("One")
        assert not core.shutter_open("Other")
    finally:
        core.close()


def test_the_core_never_switches_a_shutter_by_itself(core: Core) -> None:
    assert core.ask(CAMERA, lambda mmc: mmc.getAutoShutter()) is False


# ---------------------------------------------------------------- short calls


def test_an_error_of_the_adapter_names_the_label_and_the_cause(core: Core) -> None:
    with pytest.raises(CoreError, match=r"^Z: .*NoSuchProperty") as caught:
        core.ask(FOCUS, lambda mmc: mmc.getProperty(FOCUS, "NoSuchProperty"))
    assert caught.value.__cause__ is not None


def test_a_call_that_is_not_answered_in_time_says_whose_state_is_unknown(
    core: Core, held: Hold
) -> None:
    with pytest.raises(CoreTimeoutError, match=r"Z did not answer within 0\.01 s"):
        core.ask(FOCUS, lambda mmc: mmc.getPosition(FOCUS), timeout_s=0.01)


def test_a_call_that_was_given_up_is_not_made_late(core: Core, held: Hold) -> None:
    with pytest.raises(CoreTimeoutError):
        core.ask(FOCUS, lambda mmc: mmc.setPosition(FOCUS, 50), timeout_s=0.01)
    held.let_go()
    assert core.position(FOCUS) == 0


def test_the_core_answers_again_after_a_call_that_took_too_long(core: Core, held: Hold) -> None:
    with pytest.raises(CoreTimeoutError):
        core.ask(FOCUS, lambda mmc: mmc.getPosition(FOCUS), timeout_s=0.01)
    held.let_go()
    core.move(FOCUS, 10, tolerance_um=0.1, timeout_s=10).result(10)
    assert core.position(FOCUS) == pytest.approx(10)


def test_colour_is_refused(core: Core) -> None:
    demo.set_property(core, CAMERA, "PixelType", "32bitRGB")
    with pytest.raises(CoreError, match="Camera delivers colour; choose a grey PixelType"):
        core.frame_format(CAMERA)


def test_a_frame_has_height_width_and_dtype_before_it_is_taken(core: Core) -> None:
    demo.set_property(core, CAMERA, "OnCameraCCDXSize", 256)
    demo.set_property(core, CAMERA, "PixelType", "8bit")
    (frame,) = frames(core, 1)
    height, width, dtype = core.frame_format(CAMERA)
    assert (height, width, dtype.name) == (512, 256, "uint8")
    assert (frame.pixels.shape, frame.pixels.dtype.name) == ((512, 256), "uint8")


# ---------------------------------------------------------------- motions


def test_a_motion_is_done_when_the_stage_is_read_back_there(core: Core) -> None:
    core.move_xy(XY, 300, -200, tolerance_um=0.1, timeout_s=10).result(10)
    assert core.xy_position(XY) == pytest.approx((300, -200), abs=0.1)
    assert not core.is_busy(XY)


def test_positions_are_read_while_a_stage_moves(core: Core) -> None:
    slow_down(core)
    motion = core.move_xy(XY, 1000, 0, tolerance_um=1, timeout_s=60)
    until(lambda: 0 < core.xy_position(XY)[0] < 1000)
    assert core.position(FOCUS) == 0
    assert not motion.done()
    core.halt_motion(XY)
    assert isinstance(motion.exception(10), StoppedError)


def test_a_drive_that_lands_elsewhere_fails_with_both_positions(faulty: Core) -> None:
    faults.drive(faulty).lands_off_um = 3
    motion = faulty.move(DRIVE, 20, tolerance_um=1, timeout_s=10)
    with pytest.raises(CoreError, match="Drive came to rest at z 23 µm, asked for 20 µm"):
        motion.result(10)


def test_a_drive_that_reads_back_nan_has_not_arrived(faulty: Core) -> None:
    faults.drive(faulty).lands_off_um = float("nan")
    with pytest.raises(CoreError, match="came to rest at z nan µm"):
        faulty.move(DRIVE, 20, tolerance_um=1, timeout_s=10).result(10)


def test_a_drive_that_never_arrives_fails_after_its_timeout(faulty: Core) -> None:
    faults.drive(faulty).is_moving = True
    with pytest.raises(CoreTimeoutError, match=r"motion of Drive was not finished after 0\.02 s"):
        faulty.move(DRIVE, 20, tolerance_um=1, timeout_s=0.02).result(10)


def test_a_shutter_that_does_not_close_fails_saying_to_do_it_by_hand(faulty: Core) -> None:
    faulty.set_shutter(GATE, is_open=True, timeout_s=10).result(10)
    faults.gate(faulty).will_close = False
    with pytest.raises(CoreError, match=r"Gate was told to close.*light off by hand"):
        faulty.set_shutter(GATE, is_open=False, timeout_s=10).result(10)


# ---------------------------------------------------------------- stop


def test_stop_reaches_a_moving_stage_while_the_cores_thread_is_busy(core: Core) -> None:
    slow_down(core)
    motion = core.move_xy(XY, 10_000, 0, tolerance_um=1, timeout_s=200)
    until(lambda: core.is_busy(XY))
    hold = Hold()
    asker = threading.Thread(target=lambda: core.ask(CAMERA, hold, timeout_s=10))
    asker.start()
    hold.wait_until_entered()
    core.halt_motion(XY)  # returns although the thread is held
    hold.let_go()
    asker.join()
    with pytest.raises(StoppedError, match="XY was stopped on its way"):
        motion.result(10)
    assert not core.is_busy(XY)
    assert core.xy_position(XY)[0] < 10_000


def test_a_latched_core_refuses_motion_light_and_frames(core: Core) -> None:
    core.latch()
    with pytest.raises(StoppedError, match="XY was not moved: a stop was asked for"):
        core.move_xy(XY, 100, 0, tolerance_um=1, timeout_s=10).result(10)
    with pytest.raises(StoppedError, match="Z was not moved"):
        core.move(FOCUS, 100, tolerance_um=1, timeout_s=10).result(10)
    with pytest.raises(StoppedError, match="White Light Shutter was not moved"):
        core.set_shutter(SHUTTER, is_open=True, timeout_s=10).result(10)
    with pytest.raises(StoppedError, match="Camera was not started"):
        list(frames(core, 1))
    assert core.xy_position(XY) == (0, 0)
    assert core.position(FOCUS) == 0
    assert not core.shutter_open(SHUTTER)


def test_a_latched_core_still_closes_the_shutter_and_answers(core: Core) -> None:
    core.set_shutter(SHUTTER, is_open=True, timeout_s=10).result(10)
    core.latch()
    core.set_shutter(SHUTTER, is_open=False, timeout_s=10).result(10)
    assert not core.shutter_open(SHUTTER)


def test_a_released_core_moves_again(core: Core) -> None:
    core.latch()
    core.release()
    core.move(FOCUS, 100, tolerance_um=1, timeout_s=10).result(10)
    assert core.position(FOCUS) == pytest.approx(100)


def test_a_latch_refuses_what_was_queued_before_it(core: Core, held: Hold) -> None:
    queued: list[Future[Any]] = [
        core.move_xy(XY, 100, 0, tolerance_um=1, timeout_s=10),
        core.move(FOCUS, 100, tolerance_um=1, timeout_s=10),
        core.set_shutter(SHUTTER, is_open=True, timeout_s=10),
    ]
    core.latch()
    held.let_go()
    assert [type(motion.exception(10)) for motion in queued] == [StoppedError] * 3
    core.release()
    assert core.xy_position(XY) == (0, 0)
    assert core.position(FOCUS) == 0
    assert not core.shutter_open(SHUTTER)


def test_a_stop_without_a_latch_refuses_what_was_queued_for_that_device_only(
    core: Core, held: Hold
) -> None:
    stopped = core.move_xy(XY, 100, 0, tolerance_um=1, timeout_s=10)
    other = core.move(FOCUS, 100, tolerance_um=1, timeout_s=10)
    core.halt_motion(XY)
    held.let_go()
    assert isinstance(stopped.exception(10), StoppedError)
    other.result(10)
    assert core.xy_position(XY) == (0, 0)


def test_a_shutter_closed_at_once_is_not_opened_by_what_was_queued(core: Core, held: Hold) -> None:
    opening = core.set_shutter(SHUTTER, is_open=True, timeout_s=10)
    core.close_shutter(SHUTTER)
    held.let_go()
    assert isinstance(opening.exception(10), StoppedError)
    assert not core.shutter_open(SHUTTER)


def test_a_motion_asked_for_after_a_stop_is_made(core: Core) -> None:
    core.halt_motion(FOCUS)
    core.move(FOCUS, 100, tolerance_um=1, timeout_s=10).result(10)
    assert core.position(FOCUS) == pytest.approx(100)


def test_light_switched_on_by_a_command_that_overtook_the_stop_goes_off_again(
    faulty: Core,
) -> None:
    gate = faults.gate(faulty)

    def stop_comes_first() -> None:
        faulty.latch()
        gate.set_open(False)

    gate.on_open = stop_comes_first
    opening = faulty.set_shutter(GATE, is_open=True, timeout_s=10)
    assert isinstance(opening.exception(10), StoppedError)
    assert gate.openings == 1
    assert not gate.is_open


@pytest.mark.parametrize("is_pause", [False, True])
def test_a_motion_whose_command_overtook_the_stop_is_stopped(faulty: Core, is_pause: bool) -> None:
    drive = faults.drive(faulty)
    stopped_before_command: list[int] = []

    def stop_comes_first(_position_um: float) -> None:
        faulty.halt_motion(DRIVE, is_pause=is_pause)
        stopped_before_command.append(drive.stops)

    drive.on_command = stop_comes_first
    motion = faulty.move(DRIVE, 20, tolerance_um=1, timeout_s=10)
    error = motion.exception(10)
    assert error is None if is_pause else isinstance(error, StoppedError)
    assert stopped_before_command == [1]
    assert drive.stops == 2


def test_a_paused_motion_ends_without_an_error_short_of_its_target(core: Core) -> None:
    slow_down(core)
    motion = core.move_xy(XY, 10_000, 0, tolerance_um=1, timeout_s=200)
    until(lambda: core.is_busy(XY))
    core.halt_motion(XY, is_pause=True)
    motion.result(10)
    assert core.xy_position(XY)[0] < 10_000


def test_a_motion_that_was_queued_when_a_pause_came_does_not_move(core: Core, held: Hold) -> None:
    motion = core.move(FOCUS, 100, tolerance_um=1, timeout_s=10)
    core.halt_motion(FOCUS, is_pause=True)
    held.let_go()
    motion.result(10)
    assert core.position(FOCUS) == 0


# ---------------------------------------------------------------- frames


def test_exactly_the_asked_number_of_frames_comes_in_order(core: Core) -> None:
    demo.make_fast(core)
    taken = list(frames(core, 25))
    assert len(taken) == 25
    times = [frame.elapsed_s for frame in taken]
    assert times == sorted(times)
    assert times[-1] > 0
    assert not core.ask(CAMERA, lambda mmc: mmc.isSequenceRunning(CAMERA))


def test_a_frame_belongs_to_its_receiver(core: Core) -> None:
    first, second = frames(core, 2)
    kept = second.pixels.copy()
    first.pixels[:] = 0
    assert np.array_equal(second.pixels, kept)


def test_an_overflow_is_reported_with_what_was_lost_and_what_to_do(core: Core) -> None:
    demo.make_fast(core)
    taking = frames(core, 200)
    next(taking)
    until(lambda: core.ask(CAMERA, lambda mmc: mmc.isBufferOverflowed()))
    with pytest.raises(AcquisitionError, match=r"buffer overflowed: \d+ of 200 .*Raise buffer_mb"):
        list(taking)


def test_after_an_overflow_the_next_sequence_is_whole(core: Core) -> None:
    demo.make_fast(core)
    taking = frames(core, 200)
    next(taking)
    until(lambda: core.ask(CAMERA, lambda mmc: mmc.isBufferOverflowed()))
    with pytest.raises(AcquisitionError):
        list(taking)
    assert len(list(frames(core, 10))) == 10


def test_a_camera_that_ends_early_is_reported_with_the_count(core: Core) -> None:
    taking = frames(core, 1000)
    next(taking)
    core.ask(CAMERA, lambda mmc: mmc.stopSequenceAcquisition(CAMERA))
    with pytest.raises(AcquisitionError, match=r"Camera ended its sequence after \d+ of 1000"):
        list(taking)


def test_a_gap_in_the_frame_numbers_is_reported(core: Core) -> None:
    demo.make_fast(core)
    taking = frames(core, 20)
    next(taking)
    until(lambda: core.ask(CAMERA, lambda mmc: mmc.getRemainingImageCount()) > 1)
    core.ask(CAMERA, lambda mmc: mmc.popNextImage())  # somebody else takes frame 1
    with pytest.raises(
        AcquisitionError, match=r"frame 2 where frame 1 was due: .*acquire it again"
    ):
        next(taking)


def test_a_camera_that_delivers_nothing_is_given_up(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core._sequences, "_late_s", 0.01)
    core.set_exposure_ms(CAMERA, 500).result(10)
    with pytest.raises(AcquisitionError, match=r"0 of 1 frames, then none .*trigger and cable"):
        list(frames(core, 1))


def test_frames_left_over_by_a_cancelled_sequence_do_not_enter_the_next(core: Core) -> None:
    demo.make_fast(core)
    taking = frames(core, 20)
    next(taking)
    until(lambda: core.ask(CAMERA, lambda mmc: mmc.getRemainingImageCount()) > 2)
    taking.close()
    assert len(list(frames(core, 5))) == 5


def test_leaving_the_frames_ends_the_sequence(core: Core) -> None:
    taking = frames(core, 1000)
    next(taking)
    assert core.ask(CAMERA, lambda mmc: mmc.isSequenceRunning(CAMERA))
    taking.close()
    assert not core.ask(CAMERA, lambda mmc: mmc.isSequenceRunning(CAMERA))


@pytest.mark.parametrize("how", ["cancelled", "latched"])
def test_frames_end_at_a_stop_even_if_the_next_one_is_waiting_already(core: Core, how: str) -> None:
    demo.make_fast(core)
    cancelled = threading.Event()
    taking = frames(core, 20, cancelled)
    next(taking)
    until(lambda: core.ask(CAMERA, lambda mmc: mmc.getRemainingImageCount()) > 2)
    cancelled.set() if how == "cancelled" else core.latch()
    with pytest.raises(StoppedError, match="Camera was stopped after 1 of 20 frames"):
        next(taking)


# ---------------------------------------------------------------- the end


def test_closing_puts_out_the_light(faulty: Core) -> None:
    gate = faults.gate(faulty)
    faulty.set_shutter(GATE, is_open=True, timeout_s=10).result(10)
    faulty.close()
    assert not gate.is_open


def test_a_closed_core_refuses_and_does_not_hang(core: Core) -> None:
    core.close()
    with pytest.raises(DeviceError, match="shutting down"):
        core.position(FOCUS)
    with pytest.raises(DeviceError, match="shutting down"):
        core.move(FOCUS, 1, tolerance_um=1, timeout_s=10).result(10)


def test_a_core_whose_adapter_hangs_is_left_to_the_system(
    core: Core, held: Hold, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core._worker, "close", lambda: type(core._worker).close(core._worker, 0.01))
    with caplog.at_level(logging.ERROR, "devices.core"):
        core.close()
    assert "does not return; leaving it to the system" in caplog.text
    monkeypatch.undo()
    held.let_go()


@pytest.mark.parametrize("ending", ["idle", "after a volume", "in mid-sequence"])
def test_a_process_with_a_core_ends_cleanly(ending: str, tmp_path: Path) -> None:
    """MMCore's callback thread, alive at exit, aborts the process more often than not."""
    script = f"""
import sys, threading
from tests.devices import demo
from devices.core import Core
core = demo.boot_core()
ending = {ending!r}
taking = core.frames("Camera", 100, exposure_ms=10, cancelled=threading.Event())
if ending != "idle":
    next(taking)
if ending == "after a volume":
    taking.close()
core.close()
print([thread.name for thread in threading.enumerate()])
"""
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, "-c", script],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        assert "Traceback" not in run.stderr
        assert run.stdout.strip() == "['MainThread']"
