"""Volumes: every frame in order, light only while they come, and nothing half-done left."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bluesky.protocols import (
    Pausable,
    Preparable,
    Readable,
    Stageable,
    Triggerable,
    WritesStreamAssets,
)

from devices import (
    AcquisitionError,
    CoreError,
    CoreTimeoutError,
    DeviceError,
    LimitError,
    StoppedError,
    VolumeRequest,
)
from devices.progress import VolumeStatus
from tests.devices import demo, faults
from tests.devices.demo import Bench
from tests.devices.faults import Hold
from tests.waiting import until

REQUEST = VolumeRequest(num_slices=5, exposure_ms=1, step_um=2, center_um=10, run_uid="run")
AT_REST = VolumeRequest(num_slices=5, exposure_ms=1, step_um=0)
PLACES_UM = [6, 8, 10, 12, 14]
Disturb = Callable[[Bench], None]


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[Bench]:
    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        yield bench


def take(bench: Bench, request: VolumeRequest = REQUEST) -> VolumeStatus:
    """Take a volume, and wait until it is published or given up."""
    bench.sheet.prepare(request).wait(10)
    status = bench.sheet.trigger()
    status.exception(30)
    return status


def begin(bench: Bench, request: VolumeRequest = REQUEST) -> tuple[VolumeStatus, Hold]:
    """Trigger a volume, and hold it in the moment when its third frame is written."""
    hold = Hold()
    bench.shelf.on_write = lambda index: hold() if index == 2 else None
    bench.sheet.prepare(request).wait(10)
    status = bench.sheet.trigger()
    hold.wait_until_entered()
    return status, hold


# ---------------------------------------------------------------- a volume


def test_a_sweep_brings_every_slice_in_order_from_its_own_place(bench: Bench) -> None:
    assert take(bench).success
    (sink,) = bench.shelf.sinks
    assert sink.state == "published"
    assert [written.index for written in sink.written] == [0, 1, 2, 3, 4]
    assert sink.z_um == pytest.approx(PLACES_UM)
    times = [written.delta_t_s for written in sink.written]
    assert times == sorted(times)


def test_what_is_planned_was_read_from_the_hardware_before_the_first_frame(bench: Bench) -> None:
    bench.stage.set((300, 0)).wait(10)
    bench.focus.set(-40).wait(10)
    take(bench, VolumeRequest(num_slices=3, exposure_ms=2.5, step_um=0.5, run_uid="run"))
    planned = bench.shelf.sinks[0].planned
    assert planned.shape == (3, 512, 512)
    assert planned.dtype == "uint16"
    assert (planned.exposure_ms, planned.step_um, planned.pixel_size_um) == (2.5, 0.5, 1.0)
    assert planned.positions_um == pytest.approx(
        {"xy_stage.x": 300, "xy_stage.y": 0, "focus.z": -40}, abs=0.1
    )
    assert (planned.camera, planned.run_uid) == ("camera", "run")


def test_without_a_centre_the_sweep_goes_around_where_the_drive_is(bench: Bench) -> None:
    bench.focus.set(-40).wait(10)
    take(bench, VolumeRequest(num_slices=3, exposure_ms=1, step_um=2))
    assert bench.shelf.sinks[0].z_um == pytest.approx([-42, -40, -38])


def test_a_volume_is_kept_as_it_was_asked_for(bench: Bench) -> None:
    asked = replace(REQUEST, file_format="ome-zarr", compression="blosc-lz4")
    take(bench, asked)
    planned = bench.shelf.sinks[0].planned
    assert (planned.file_format, planned.compression) == ("ome-zarr", "blosc-lz4")


def test_a_file_that_cannot_be_compressed_is_refused_with_one_that_can(bench: Bench) -> None:
    with pytest.raises(LimitError, match="ome-tiff is not compressed; ask for ome-zarr") as refused:
        bench.sheet.prepare(replace(REQUEST, compression="blosc-lz4"))
    assert refused.value.field == "compression"


def test_the_drive_goes_back_to_the_centre_of_the_sweep(bench: Bench) -> None:
    take(bench)
    assert bench.focus.position_um == pytest.approx(10)


def test_a_sweep_may_go_downwards(bench: Bench) -> None:
    take(bench, VolumeRequest(num_slices=3, exposure_ms=1, step_um=-2, center_um=0))
    assert bench.shelf.sinks[0].z_um == pytest.approx([2, 0, -2])


def test_a_volume_without_steps_is_taken_where_the_drive_is(bench: Bench) -> None:
    bench.focus.set(25).wait(10)
    take(bench, AT_REST)
    assert bench.shelf.sinks[0].z_um == pytest.approx([25] * 5)
    assert bench.focus.position_um == pytest.approx(25)


@pytest.mark.parametrize("num_slices", [1, 3])
def test_a_volume_without_a_sweep_is_taken_at_the_centre_asked_for(
    faulty: Bench, num_slices: int
) -> None:
    step_um = 0 if num_slices > 1 else 0.5
    take(
        faulty,
        VolumeRequest(num_slices=num_slices, exposure_ms=1, step_um=step_um, center_um=30),
    )
    assert faulty.shelf.sinks[0].z_um == pytest.approx([30] * num_slices)
    assert faults.drive(faulty.core).commands == [30]


def test_a_volume_without_steps_may_be_larger_than_the_image_buffer(bench: Bench) -> None:
    demo.make_fast(bench.core)
    held = bench.core.buffer_frames(bench.camera.label)
    count = 2 * held + 3
    status = take(bench, VolumeRequest(num_slices=count, exposure_ms=1, step_um=0))
    assert status.success
    (sink,) = bench.shelf.sinks
    assert [written.index for written in sink.written] == list(range(count))
    times = [written.delta_t_s for written in sink.written]
    assert times == sorted(times)


def test_a_volume_without_steps_survives_a_writer_slower_than_the_camera(bench: Bench) -> None:
    demo.make_fast(bench.core)
    overflowed: list[bool] = []

    def wait_until_the_camera_rests(index: int) -> None:
        if index % 31 == 0:
            until(lambda: not bench.core.ask("Camera", lambda mmc: mmc.isSequenceRunning("Camera")))
            overflowed.append(bench.core.ask("Camera", lambda mmc: mmc.isBufferOverflowed()))

    bench.shelf.on_write = wait_until_the_camera_rests
    assert take(bench, VolumeRequest(num_slices=93, exposure_ms=1, step_um=0)).success
    assert overflowed == [False, False, False]


def test_volumes_follow_each_other(bench: Bench) -> None:
    for _ in range(5):
        assert take(bench).success
    assert bench.shelf.states == ["published"] * 5


# ---------------------------------------------------------------- light


def test_light_is_on_for_every_frame_and_off_while_the_file_is_finished(bench: Bench) -> None:
    lit: list[bool] = []
    lit_at_the_end: list[bool] = []
    bench.shelf.on_write = lambda _index: lit.append(bench.is_lit)
    bench.shelf.on_finish = lambda: lit_at_the_end.append(bench.is_lit)
    take(bench)
    assert lit == [True] * 5
    assert lit_at_the_end == [False]
    assert not bench.is_lit


def test_the_space_for_the_file_is_reserved_in_the_dark(bench: Bench) -> None:
    lit: list[bool] = []
    bench.shelf.on_open = lambda: lit.append(bench.is_lit)
    take(bench)
    assert lit == [False]


def test_the_drive_goes_to_the_first_slice_and_back_in_the_dark(faulty: Bench) -> None:
    gate = faults.gate(faulty.core)
    drive = faults.drive(faulty.core)
    lit: list[tuple[float, bool]] = []
    drive.on_command = lambda position_um: lit.append((position_um, gate.is_open))
    take(faulty)
    assert lit == [(6, False), (8, True), (10, True), (12, True), (14, True), (10, False)]


def test_no_light_goes_on_if_there_is_no_space(faulty: Bench) -> None:
    def full() -> None:
        raise OSError("no space left")

    faulty.shelf.on_open = full
    with pytest.raises(OSError, match="no space left"):
        take(faulty).wait(0)
    assert faults.gate(faulty.core).openings == 0
    assert faults.drive(faulty.core).commands == []


def _fail_to_write(bench: Bench) -> None:
    def fail(index: int) -> None:
        if index == 2:
            raise OSError("the disk is gone")

    bench.shelf.on_write = fail


def _fail_to_finish(bench: Bench) -> None:
    def fail() -> None:
        raise OSError("the disk is gone")

    bench.shelf.on_finish = fail


def _end_the_camera(bench: Bench) -> None:
    demo.set_property(bench.core, "Camera", "FastImage", 1)

    def end(index: int) -> None:
        if index == 2:
            bench.core.ask("Camera", lambda mmc: mmc.stopSequenceAcquisition("Camera"))
            bench.core.ask("Camera", lambda mmc: mmc.clearCircularBuffer())

    bench.shelf.on_write = end


def _stop(bench: Bench) -> None:
    bench.shelf.on_write = lambda index: bench.sheet.stop() if index == 2 else None


def _latch(bench: Bench) -> None:
    bench.shelf.on_write = lambda index: bench.core.latch() if index == 2 else None


FAILURES: dict[str, tuple[Disturb, type[Exception]]] = {
    "the disk fails": (_fail_to_write, OSError),
    "the file cannot be finished": (_fail_to_finish, OSError),
    "it is stopped": (_stop, StoppedError),
    "the core is latched": (_latch, StoppedError),
}


@pytest.mark.parametrize("request_", [REQUEST, AT_REST], ids=["sweep", "at rest"])
@pytest.mark.parametrize(("disturb", "error"), FAILURES.values(), ids=FAILURES)
def test_whatever_goes_wrong_the_light_is_off_the_file_discarded_and_the_error_told(
    bench: Bench, disturb: Disturb, error: type[Exception], request_: VolumeRequest
) -> None:
    disturb(bench)
    status = take(bench, request_)
    assert isinstance(status.exception(0), error)
    assert not bench.is_lit
    assert bench.shelf.states == ["discarded"]
    assert bench.sheet.published == {}
    assert list(bench.sheet.collect_asset_docs()) == []
    assert not bench.core.ask("Camera", lambda mmc: mmc.isSequenceRunning("Camera"))


def test_a_camera_that_ends_early_costs_the_volume_and_puts_out_the_light(bench: Bench) -> None:
    _end_the_camera(bench)
    status = take(bench, VolumeRequest(num_slices=20, exposure_ms=1, step_um=0))
    assert isinstance(status.exception(0), AcquisitionError)
    assert not bench.is_lit
    assert bench.shelf.states == ["discarded"]


@pytest.mark.parametrize(("disturb", "error"), FAILURES.values(), ids=FAILURES)
def test_after_a_failure_the_next_volume_is_whole(
    bench: Bench, disturb: Disturb, error: type[Exception]
) -> None:
    disturb(bench)
    assert isinstance(take(bench).exception(0), error)
    bench.core.release()
    bench.shelf.on_write = lambda _index: None
    bench.shelf.on_finish = lambda: None
    assert take(bench).success
    assert bench.shelf.states == ["discarded", "published"]


def test_one_that_is_stopped_before_the_light_goes_on_stays_dark(faulty: Bench) -> None:
    faulty.shelf.on_open = faulty.sheet.stop
    status = take(faulty)
    assert isinstance(status.exception(0), StoppedError)
    assert faults.gate(faulty.core).openings == 0
    assert faulty.shelf.states == ["discarded"]


def test_a_shutter_that_does_not_close_fails_the_volume_and_says_so(
    faulty: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.light._MOMENT_S", 0.02)
    faults.gate(faulty.core).will_close = False
    with pytest.raises(DeviceError, match=r"still open .*light off by hand"):
        take(faulty).wait(0)
    assert faulty.shelf.states == ["discarded"]


def test_a_shutter_that_does_not_open_fails_the_volume_before_a_frame(faulty: Bench) -> None:
    def close_again() -> None:
        faulty.shelf.on_write = lambda _index: pytest.fail("a dark frame was kept")
        gate.on_open = _stuck

    def _stuck() -> None:
        raise RuntimeError("the motor is blocked")

    gate = faults.gate(faulty.core)
    faulty.shelf.on_open = close_again
    with pytest.raises(CoreError, match="Gate: the motor is blocked"):
        take(faulty).wait(0)
    assert not gate.is_open
    assert faulty.shelf.states == ["discarded"]


def test_a_drive_that_hangs_does_not_keep_the_light_on(faulty: Bench) -> None:
    faulty.core.timeout_s = 0.02
    faulty.focus.timeout_s = 0.02
    gate = faults.gate(faulty.core)
    drive = faults.drive(faulty.core)
    hang = Hold()
    drive.on_command = lambda position_um: hang() if position_um == 8 else None
    faulty.sheet.prepare(REQUEST).wait(10)
    status = faulty.sheet.trigger()
    hang.wait_until_entered()
    assert gate.is_open
    until(lambda: not gate.is_open)  # while the core's thread hangs in the drive
    hang.let_go()
    assert isinstance(status.exception(30), CoreTimeoutError)
    assert faulty.shelf.states == ["discarded"]


# ---------------------------------------------------------------- the drive


def test_a_drive_that_misses_a_slice_costs_the_volume(faulty: Bench) -> None:
    drive = faults.drive(faulty.core)

    def miss(position_um: float) -> None:
        drive.lands_off_um = 5 if position_um == 12 else 0

    drive.on_command = miss
    with pytest.raises(CoreError, match="came to rest at z 17 µm, asked for 12 µm"):
        take(faulty).wait(0)
    assert not faults.gate(faulty.core).is_open
    assert faulty.shelf.states == ["discarded"]
    assert faulty.focus.position_um == 10


def test_a_drive_that_cannot_go_back_fails_the_volume_in_the_dark(faulty: Bench) -> None:
    drive = faults.drive(faulty.core)

    def miss_the_centre(position_um: float) -> None:
        drive.lands_off_um = 5 if position_um == 10 and 14 in drive.commands else 0

    drive.on_command = miss_the_centre
    with pytest.raises(CoreError, match="came to rest at z 15 µm, asked for 10 µm"):
        take(faulty).wait(0)
    assert not faults.gate(faulty.core).is_open
    assert faulty.shelf.states == ["discarded"]


def test_a_drive_that_cannot_go_back_does_not_hide_what_went_wrong_before(faulty: Bench) -> None:
    _fail_to_write(faulty)
    drive = faults.drive(faulty.core)

    def miss_the_centre(position_um: float) -> None:
        drive.lands_off_um = 5 if drive.commands[-2:] == [8, 10] else 0

    drive.on_command = miss_the_centre
    with pytest.raises(OSError, match="the disk is gone"):
        take(faulty).wait(0)
    assert drive.lands_off_um == 5
    assert faulty.focus.position_um == 15


def test_a_stop_on_the_way_back_leaves_the_drive_there_and_the_volume_whole(faulty: Bench) -> None:
    drive = faults.drive(faulty.core)

    def stop_on_the_way_back(position_um: float) -> None:
        if position_um == 10 and 14 in drive.commands:
            faulty.focus.stop()

    drive.on_command = stop_on_the_way_back
    assert take(faulty).success
    assert faulty.shelf.states == ["published"]


# ---------------------------------------------------------------- requests


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "no slices": ({"num_slices": 0}, "num_slices"),
    "a negative number of slices": ({"num_slices": -3}, "num_slices"),
    "half a slice": ({"num_slices": 2.5}, "num_slices"),
    "true slices": ({"num_slices": True}, "num_slices"),
    "no exposure": ({"exposure_ms": 0}, "exposure_ms"),
    "an endless exposure": ({"exposure_ms": float("inf")}, "exposure_ms"),
    "steps of NaN": ({"step_um": float("nan")}, "step_um"),
    "one step of NaN": ({"num_slices": 1, "step_um": float("nan")}, "step_um"),
    "steps in words": ({"step_um": "2"}, "step_um"),
    "a side from which it does not see": ({"view": "b"}, "view"),
    "both sides of which it has one": ({"view": "dual"}, "view"),
    "a laser line without lasers": ({"line": "488"}, "line"),
    "a power without lasers": ({"power_percent": 5.0}, "power_percent"),
    "a sweep too wide": ({"num_slices": 500}, "step_um"),
    "a sweep past the upper limit": ({"center_um": 197}, "step_um"),
    "a sweep past the lower limit": ({"center_um": -197}, "step_um"),
    "one slice outside": ({"num_slices": 1, "center_um": 200.5}, "center_um"),
    "no steps, outside": ({"step_um": 0, "center_um": -200.5}, "center_um"),
    "a centre of NaN": ({"center_um": float("nan")}, "step_um"),
    "one slice at NaN": ({"num_slices": 1, "center_um": float("nan")}, "center_um"),
}


@pytest.mark.parametrize(("change", "field"), BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_request_that_cannot_be_carried_out_is_refused_by_field_and_nothing_moves(
    bench: Bench, change: dict[str, Any], field: str
) -> None:
    asked = {"num_slices": 5, "exposure_ms": 1, "step_um": 2, "center_um": 10, **change}
    exposure_ms = bench.core.exposure_ms("Camera")
    with pytest.raises(LimitError) as refused:
        bench.sheet.prepare(VolumeRequest(**asked))
    assert refused.value.field == field
    with pytest.raises(LimitError):
        bench.sheet.check_prepare(VolumeRequest(**asked))
    assert bench.core.position("Z") == 0
    assert bench.core.exposure_ms("Camera") == exposure_ms
    with pytest.raises(AcquisitionError, match="before it was prepared"):
        bench.sheet.trigger()


def test_a_sweep_that_does_not_fit_says_which_slices_where_and_what_to_lower(bench: Bench) -> None:
    with pytest.raises(LimitError) as refused:
        bench.sheet.check_prepare(
            VolumeRequest(num_slices=5, exposure_ms=1, step_um=2, center_um=198)
        )
    assert str(refused.value).startswith(
        "the sweep of 5 slices by 2 µm around 198 µm does not fit: "
        "focus.z at 0 µm asked for 202 µm; limits -200 to 200 µm (demo.yml)"
    )


def test_a_sweep_may_use_the_limits_to_the_last_micrometre(bench: Bench) -> None:
    request = VolumeRequest(num_slices=5, exposure_ms=1, step_um=2, center_um=196)
    assert take(bench, request).success
    assert bench.shelf.sinks[0].z_um[-1] == pytest.approx(200)


def test_a_sweep_around_a_drive_that_has_moved_since_is_checked_again_in_the_dark(
    faulty: Bench,
) -> None:
    request = VolumeRequest(num_slices=5, exposure_ms=1, step_um=2)
    faulty.sheet.prepare(request).wait(10)
    faults.drive(faulty.core).set_position_um(99)  # somebody turned the knob
    status = faulty.sheet.trigger()
    assert isinstance(status.exception(30), LimitError)
    assert faults.gate(faulty.core).openings == 0
    assert faults.drive(faulty.core).commands == [99]


def test_preparing_sets_the_exposure(bench: Bench) -> None:
    bench.sheet.prepare(VolumeRequest(num_slices=1, exposure_ms=7, step_um=0)).wait(10)
    assert bench.core.exposure_ms("Camera") == 7


def test_a_light_sheet_is_not_set(bench: Bench) -> None:
    with pytest.raises(LimitError, match="light_sheet cannot be set"):
        bench.sheet.check_value(5)


def test_it_is_not_triggered_again_while_it_takes_a_volume(bench: Bench) -> None:
    status, hold = begin(bench)
    with pytest.raises(AcquisitionError, match="still taking a volume"):
        bench.sheet.trigger()
    hold.let_go()
    status.wait(30)
    assert bench.shelf.states == ["published"]


def test_it_may_be_triggered_again_in_the_moment_it_is_done(bench: Bench) -> None:
    """The status is done before the thread that did it has ended."""
    again: list[VolumeStatus] = []
    bench.sheet.prepare(REQUEST).wait(10)
    first = bench.sheet.trigger()
    done = threading.Event()

    def trigger_again(_status: object) -> None:
        again.append(bench.sheet.trigger())
        done.set()

    first.add_callback(trigger_again)
    assert done.wait(30)
    again[0].wait(30)
    assert bench.shelf.states == ["published", "published"]


def test_an_unstaged_light_sheet_has_to_be_prepared_again(bench: Bench) -> None:
    bench.sheet.prepare(REQUEST).wait(10)
    bench.sheet.unstage().wait(10)
    with pytest.raises(AcquisitionError, match="before it was prepared"):
        bench.sheet.trigger()


ANEW = replace(REQUEST, center_um=None)


@pytest.mark.parametrize("num_slices", [5, 1])
def test_after_a_sweep_that_was_stopped_the_next_is_around_the_same_centre(
    bench: Bench, num_slices: int
) -> None:
    _stop_all(bench, index=3)
    left_um = bench.focus.position_um
    assert left_um != pytest.approx(10), "nothing moves by itself"

    request = replace(ANEW, num_slices=num_slices)
    bench.sheet.check_prepare(request)
    course = bench.sheet.slicer.course(request, {"a": left_um})
    assert course.stations_um["a"][-1:] == ((10,) if num_slices > 1 else ())
    take(bench, request)
    assert bench.shelf.sinks[-1].z_um == pytest.approx(PLACES_UM if num_slices > 1 else [left_um])


def test_after_a_sweep_that_was_stopped_a_drive_that_was_moved_is_at_the_next_centre(
    bench: Bench,
) -> None:
    _stop_all(bench, index=3)
    bench.focus.set(20).wait(10)
    take(bench, ANEW)
    assert bench.shelf.sinks[-1].z_um == pytest.approx([16, 18, 20, 22, 24])


def _stop_all(bench: Bench, *, index: int) -> None:
    """Stop the microscope while a slice of a sweep is written, as a person would."""

    def stop(written: int) -> None:
        if written == index:
            bench.core.latch()
            bench.sheet.stop()
            bench.focus.stop()

    bench.shelf.on_write = stop
    assert not take(bench).success
    bench.core.release()
    bench.shelf.on_write = lambda _: None


# ---------------------------------------------------------------- pause, stop and the end


def test_a_pause_gives_the_volume_up_without_an_error(bench: Bench) -> None:
    status, hold = begin(bench)
    pausing = threading.Thread(target=bench.sheet.pause)
    pausing.start()
    until(lambda: status.is_given_up)
    hold.let_go()
    pausing.join()
    assert status.exception(10) is None
    assert not bench.is_lit
    assert bench.shelf.states == ["discarded"]
    assert bench.sheet.published == {}


def test_a_volume_published_in_the_moment_of_a_pause_leaves_no_documents_for_the_next(
    bench: Bench,
) -> None:
    bench.shelf.on_finish = lambda: setattr(bench.sheet._under_way, "is_given_up", True)
    take(bench)
    bench.shelf.on_finish = lambda: None
    take(bench)
    documents = [name for name, _ in bench.sheet.collect_asset_docs()]
    assert documents == ["stream_resource", "stream_datum"]


@pytest.mark.parametrize("file_format", ["ome-tiff", "ome-zarr"])
def test_the_documents_say_where_a_volume_of_either_format_lies(
    bench: Bench, file_format: Any
) -> None:
    take(bench, replace(REQUEST, file_format=file_format))
    assert bench.shelf.sinks[0].planned.file_format == file_format
    resource = dict(bench.sheet.collect_asset_docs())["stream_resource"]
    published = bench.sheet.published
    assert published
    folder = published["a"].path.parent if file_format == "ome-tiff" else published["a"].path
    assert resource["uri"] == f"{folder.as_uri().replace('file://', 'file://localhost')}/"
    assert (
        resource["mimetype"]
        == {
            "ome-tiff": "multipart/related;type=image/tiff",
            "ome-zarr": "application/x-zarr",
        }[file_format]
    )


def test_unstaging_ends_when_the_light_is_off_and_the_file_closed(bench: Bench) -> None:
    status, hold = begin(bench)
    unstaged = bench.sheet.unstage()
    assert not unstaged.done
    hold.let_go()
    unstaged.wait(10)
    assert status.exception(0) is None  # whoever ended it knows why
    assert bench.shelf.states == ["discarded"]
    assert not bench.is_lit


def test_stop_puts_out_the_light_at_once_even_if_the_disk_hangs(bench: Bench) -> None:
    status, hold = begin(bench)
    bench.sheet.stop()
    assert not bench.is_lit
    hold.let_go()
    assert isinstance(status.exception(10), StoppedError)


def test_it_is_not_safe_before_its_volume_has_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.sheet.check_safe()
    monkeypatch.setattr("devices.light_sheet._REST_S", 0.02)
    status, hold = begin(bench)
    bench.sheet.stop()
    with pytest.raises(DeviceError, match="has not ended its volume"):
        bench.sheet.check_safe()
    hold.let_go()
    status.exception(10)
    monkeypatch.undo()
    bench.sheet.check_safe()


def test_closing_the_instrument_in_mid_volume_ends_it_in_the_dark(faulty: Bench) -> None:
    gate = faults.gate(faulty.core)
    status, hold = begin(faulty)
    assert faulty.is_lit
    closing = threading.Thread(target=faulty.instrument.close)
    closing.start()
    until(lambda: not gate.is_open)
    hold.let_go()
    closing.join()
    assert isinstance(status.exception(10), StoppedError)
    assert not gate.is_open
    assert faulty.shelf.states == ["discarded"]


# ---------------------------------------------------------------- what it tells


def test_it_speaks_blueskys_protocols(bench: Bench) -> None:
    for protocol in (Readable, Preparable, Triggerable, Stageable, Pausable):
        assert isinstance(bench.sheet, protocol)
    assert not isinstance(bench.sheet, WritesStreamAssets)  # it yields one index an event


def test_progress_is_told_until_all_frames_are_there(bench: Bench) -> None:
    told: list[dict[str, Any]] = []
    bench.sheet.prepare(REQUEST).wait(10)
    hold = Hold()
    bench.shelf.on_open = hold
    status = bench.sheet.trigger()
    status.watch(lambda **progress: told.append(progress))
    hold.let_go()
    status.wait(30)
    last = told[-1]
    assert (last["current"], last["target"], last["unit"]) == (5, 5, "frames")
    assert last["fraction"] == 0  # bluesky's fraction is what remains
    assert last["time_remaining"] == 0
    assert [progress["current"] for progress in told] == sorted(p["current"] for p in told)


def test_a_volume_that_fails_is_never_told_to_be_complete(bench: Bench) -> None:
    told: list[dict[str, Any]] = []
    _fail_to_write(bench)
    hold = Hold()
    bench.shelf.on_open = hold
    bench.sheet.prepare(REQUEST).wait(10)
    status = bench.sheet.trigger()
    status.watch(lambda **progress: told.append(progress))
    hold.let_go()
    assert isinstance(status.exception(30), OSError)
    assert all(progress["fraction"] > 0 for progress in told)


def test_it_reads_the_uid_of_what_it_has_published_and_the_exposure(bench: Bench) -> None:
    assert bench.sheet.read()["light_sheet_uid"]["value"] == ""
    take(bench)
    assert bench.sheet.published
    readings = bench.sheet.read()
    assert readings["light_sheet_uid"]["value"] == bench.sheet.published["a"].uid
    assert readings["light_sheet_exposure"]["value"] == 1


def test_the_volume_itself_is_described_as_external_and_is_in_no_reading(bench: Bench) -> None:
    take(bench)
    key = bench.sheet.describe()["light_sheet"]
    assert key["external"] == "STREAM:"
    assert key["shape"] == [5, 512, 512]
    assert key["dtype_numpy"] == "<u2"
    assert "light_sheet" not in bench.sheet.read()
