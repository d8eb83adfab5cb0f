"""Volumes that the controller takes by itself, on the twin: what is told, and what comes of it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from devices import (
    AcquisitionError,
    CoreError,
    DeviceError,
    Labels,
    Lasers,
    LightSheet,
    LimitError,
    Models,
    Scanner,
    StoppedError,
    VolumeRequest,
    load_instrument_file,
)
from devices.core import Core
from devices.properties import Properties
from devices.triggered import TriggeredSlicer
from devices.triggered_view import Calibration
from devices.twin import FrameStamp
from devices.twin.faults import CameraFault
from devices.twin.hub import TwinHub
from tests.devices import demo
from tests.devices.demo import Bench, Sink
from tests.waiting import until

MASTER, CAMERA, PIEZO = "Scanner:AB:33", "HamCam1", "PiezoStage:P:34"
REQUEST = VolumeRequest(num_slices=6, exposure_ms=1, step_um=1.5, center_um=20, power_percent=4)
BOTH = replace(REQUEST, view="dual")


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("twin")
    with demo.booted(load_instrument_file("twin"), folder) as bench:
        for camera in ("HamCam1", "HamCam2"):
            demo.set_property(bench.core, camera, "FrameStamp", "On")
        yield bench


@pytest.fixture
def twin(booted: Bench) -> Iterator[Bench]:
    """Give the twin, and see that whatever a test did has left it dark and idle."""
    yield booted
    faults = hub(booted).faults
    faults.cameras.clear()
    faults.read_backs.clear()
    faults.gate_sticks = False
    booted.shelf.on_write = lambda _index: None
    booted.shelf.sinks.clear()
    if booted.core._stops.is_latched:
        booted.core.release()
    assert_at_rest(booted)


def hub(bench: Bench) -> TwinHub:
    found = bench.core.ask("TwinHub", lambda mmc: mmc._pydevices["TwinHub"])
    assert isinstance(found, TwinHub)
    return found


def slicer(bench: Bench) -> TriggeredSlicer:
    found = bench.sheet.slicer
    assert isinstance(found, TriggeredSlicer)
    return found


def lasers(bench: Bench) -> Lasers:
    found = bench.instrument.devices["lasers"]
    assert isinstance(found, Lasers)
    return found


def read(bench: Bench, label: str, name: str) -> Any:
    return bench.core.ask(label, lambda mmc: mmc.getProperty(label, name))


def assert_at_rest(bench: Bench) -> None:
    lasers(bench).stop()
    lasers(bench).check_safe()
    for label in (MASTER, PIEZO, "PiezoStage:Q:35"):
        assert read(bench, label, "SPIMState") == "Idle"
    for label in (CAMERA, "HamCam2"):
        assert read(bench, label, "TRIGGER SOURCE") == "INTERNAL"


def take(bench: Bench, request: VolumeRequest = REQUEST) -> list[Sink]:
    """Take what is asked for, or raise; return the sinks, side a first."""
    before = len(bench.shelf.sinks)
    bench.sheet.prepare(request).wait(10)
    bench.sheet.trigger().wait(30)
    return bench.shelf.sinks[before:]


def failure(bench: Bench, request: VolumeRequest = REQUEST) -> BaseException:
    bench.sheet.prepare(request).wait(10)
    error = bench.sheet.trigger().exception(30)
    assert isinstance(error, BaseException)
    return error


def stamps(sink: Sink) -> list[FrameStamp]:
    return [FrameStamp.read(written.frame) for written in sink.written]


def lit_ms(bench: Bench) -> dict[int, float]:
    return hub(bench).world.light.count().lit_ms


# ---------------------------------------------------------------- a volume


def test_each_slice_is_taken_where_it_was_asked_for_in_order(twin: Bench) -> None:
    (sink,) = take(twin)
    asked_um = [16.25, 17.75, 19.25, 20.75, 22.25, 23.75]
    assert [stamp.index for stamp in stamps(sink)] == list(range(6))
    assert [stamp.piezo_um for stamp in stamps(sink)] == pytest.approx(asked_um, abs=2e-3)
    assert sink.z_um == pytest.approx(asked_um)
    assert sink.state == "published"


def test_the_light_shines_for_each_exposure_and_the_volume_says_what_it_was(twin: Bench) -> None:
    before = lit_ms(twin)
    (sink,) = take(twin)
    light = sink.planned.metadata["light"]
    assert light == {
        "line": "488",
        "requested_percent": 4,
        "percent": 4.0,
        "power_mw": 6.0,
        "requested_mw": pytest.approx(6.0),
        "lit_ms": 6.0,
        "slice_ms": 9.0,
    }
    assert sink.planned.labels.channel == "488"
    assert lit_ms(twin)[488] - before[488] == pytest.approx(light["lit_ms"])
    assert {nm: ms for nm, ms in lit_ms(twin).items() if nm != 488} == {
        nm: ms for nm, ms in before.items() if nm != 488
    }


def test_another_line_shines_alone(twin: Bench) -> None:
    before = lit_ms(twin)
    (sink,) = take(twin, replace(REQUEST, line="405", power_percent=10.0))
    after = lit_ms(twin)
    assert {nm for nm, ms in after.items() if ms != before[nm]} == {405}
    assert sink.planned.metadata["light"]["power_mw"] == pytest.approx(10.0)


def test_both_sides_come_to_a_volume_each_that_name_each_other(twin: Bench) -> None:
    a, b = take(twin, BOTH)
    assert [sink.planned.camera for sink in (a, b)] == ["camera_a", "camera_b"]
    assert [sink.planned.metadata["view"] for sink in (a, b)] == ["a", "b"]
    assert a.planned.metadata["siblings"] == [b.planned.uid]
    assert b.planned.metadata["siblings"] == [a.planned.uid]
    for sink in (a, b):
        assert [written.index for written in sink.written] == list(range(6))
        assert [stamp.index for stamp in stamps(sink)] == list(range(6))
    readings = twin.sheet.read()
    assert {"light_sheet_a_uid", "light_sheet_b_uid"} < set(readings)
    assert {"light_sheet_a", "light_sheet_b"} < set(twin.sheet.describe())
    resources = [doc for name, doc in twin.sheet.collect_asset_docs() if name == "stream_resource"]
    assert [doc["data_key"] for doc in resources] == ["light_sheet_a", "light_sheet_b"]


def test_side_b_alone_follows_its_own_piezo(twin: Bench) -> None:
    (sink,) = take(twin, replace(REQUEST, view="b", center_um=-30))
    assert sink.planned.camera == "camera_b"
    assert stamps(sink)[0].piezo_um == pytest.approx(-33.75, abs=2e-3)


def test_the_same_volume_again_has_the_same_pixels(twin: Bench) -> None:
    (first,), (second,) = take(twin), take(twin)
    assert np.array_equal(first.pixels, second.pixels)


# ---------------------------------------------------------------- what is told


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    found: list[tuple[str, str, Any]] = []
    begin = Properties.begin

    def noted(self: Properties, label: str, name: str, value: Any) -> None:
        found.append((label, name, value))
        begin(self, label, name, value)

    monkeypatch.setattr(Properties, "begin", noted)
    return found


STATES = [
    (CAMERA, "TRIGGER SOURCE", "EXTERNAL"),
    (PIEZO, "SPIMState", "Armed"),
    (MASTER, "SPIMState", "Running"),
    (CAMERA, "TRIGGER SOURCE", "INTERNAL"),
    (MASTER, "SPIMState", "Idle"),
    (PIEZO, "SPIMState", "Idle"),
]


def test_a_repeat_is_told_nothing_but_what_changes_by_itself(
    twin: Bench, told: list[tuple[str, str, Any]]
) -> None:
    take(twin)
    told.clear()
    take(twin)
    assert told == STATES


def test_for_another_place_only_the_place_is_told(
    twin: Bench, told: list[tuple[str, str, Any]]
) -> None:
    take(twin)
    told.clear()
    take(twin, replace(REQUEST, center_um=25))
    assert told[:2] == [
        (MASTER, "SingleAxisYOffset(deg)", slicer(twin).views["a"].calibration.deg(25)),
        (PIEZO, "SingleAxisOffset(um)", 25),
    ]
    assert told[2:] == STATES


def test_one_side_is_not_taken_for_the_other_after_it(twin: Bench) -> None:
    for view in ("a", "b", "a"):
        (sink,) = take(twin, replace(REQUEST, view=view))
        assert sink.planned.camera == f"camera_{view}"


def test_after_an_error_everything_is_told_again(
    twin: Bench, told: list[tuple[str, str, Any]]
) -> None:
    take(twin)
    hub(twin).faults.cameras[CAMERA] = CameraFault(drops=frozenset({5}))
    assert isinstance(failure(twin), AcquisitionError)
    hub(twin).faults.cameras.clear()
    told.clear()
    take(twin)
    assert len(told) > 30


def test_the_limits_are_told_to_the_controller(twin: Bench) -> None:
    fence = {name: float(read(twin, "XYStage:XY:31", name)) for name in FENCE}
    assert fence == pytest.approx(FENCE, abs=1e-3)


FENCE = {
    "LowerLimX(mm)": -2.2521,
    "UpperLimX(mm)": 0.983,
    "LowerLimY(mm)": -1.677,
    "UpperLimY(mm)": 0.5866,
}


# ---------------------------------------------------------------- refused before anything is told


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "an exposure between two steps": ({"exposure_ms": 1.1}, "exposure_ms", "Ask for 1 or 1.25 ms"),
    "an exposure beyond the cap": ({"exposure_ms": 11}, "exposure_ms", "0.25 to 10 ms"),
    "a power beyond the fence": (
        {"power_percent": 7.0},
        "power_percent",
        "lasers.488_percent asked for 7 percent; limits 2 to 6 percent",
    ),
    "a power below the fence": ({"power_percent": 1.0}, "power_percent", "and 0 for off"),
    "a line that is not there": ({"line": "532"}, "line", "it has: 488, 405, 561, 637"),
    "steps downwards": ({"step_um": -1.0}, "step_um", "steps upwards"),
    "a sweep beyond a piezo": ({"center_um": 198}, "step_um", "piezo_a.z"),
    "a sweep beyond the other": ({"center_um": 198, "view": "b"}, "step_um", "piezo_b.z"),
}


@pytest.mark.parametrize(("change", "field", "says"), BAD.values(), ids=BAD)
def test_what_cannot_be_done_is_refused_naming_the_field(
    twin: Bench,
    told: list[tuple[str, str, Any]],
    change: dict[str, Any],
    field: str,
    says: str,
) -> None:
    with pytest.raises(LimitError, match=says) as refused:
        twin.sheet.prepare(replace(REQUEST, **change))
    assert refused.value.field == field
    assert told == []


def test_a_slice_that_the_mirror_cannot_light_is_refused(
    twin: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    steep = Calibration(slope_um_per_deg=4, offset_um=0)
    view = replace(slicer(twin).views["a"], calibration=steep)
    monkeypatch.setattr(slicer(twin), "views", {"a": view})
    with pytest.raises(LimitError, match=r"a slice at 2\d.* cannot be lit: scanner_a.y") as refused:
        twin.sheet.check_prepare(REQUEST, {"a": 0.0})
    assert refused.value.field == "step_um"


def test_no_power_is_a_dark_volume(twin: Bench) -> None:
    before = lit_ms(twin)
    (sink,) = take(twin, replace(REQUEST, power_percent=0.0))
    assert sink.state == "published"
    assert lit_ms(twin) == before


# ---------------------------------------------------------------- volumes in a row


def row(count: int, request: VolumeRequest = REQUEST) -> list[VolumeRequest]:
    """Return the requests for volumes of which each follows the one before it at once."""
    return [
        replace(
            request,
            num_following=count - 1 - number,
            run_uid=f"run {number}",
            labels=Labels(acquisition_uid="a", time_point=number),
        )
        for number in range(count)
    ]


def running(told: list[tuple[str, str, Any]]) -> int:
    return told.count((MASTER, "SPIMState", "Running"))


@pytest.mark.parametrize("request_", [REQUEST, BOTH], ids=["one side", "both sides"])
def test_volumes_that_follow_at_once_are_one_run_of_the_controller(
    twin: Bench, told: list[tuple[str, str, Any]], request_: VolumeRequest
) -> None:
    before = lit_ms(twin)[488]
    sides = len(request_.views)
    for number, request in enumerate(row(4, request_)):
        sinks = take(twin, request)
        assert len(sinks) == sides
        for sink in sinks:
            frames = range(6 * number, 6 * (number + 1))
            assert [stamp.index for stamp in stamps(sink)] == list(frames)
            assert [written.index for written in sink.written] == list(range(6))
            assert sink.z_um == pytest.approx([16.25, 17.75, 19.25, 20.75, 22.25, 23.75])
            assert sink.written[0].delta_t_s >= 0
            assert sink.planned.run_uid == f"run {number}"
            assert sink.planned.labels.time_point == number
            assert sink.planned.metadata.get("repeat", {"number": 0})["number"] == number
    assert running(told) == 1
    assert int(read(twin, MASTER, "SPIMNumRepeats")) == 4
    assert twin.shelf.states == ["published"] * 4 * sides
    assert lit_ms(twin)[488] - before == pytest.approx(4 * 6 * sides)


def test_a_volume_after_a_row_is_one(twin: Bench) -> None:
    for request in row(2):
        take(twin, request)
    take(twin)
    assert int(read(twin, MASTER, "SPIMNumRepeats")) == 1
    assert_at_rest(twin)


def test_the_controller_is_told_no_more_at_a_time_than_may_outlive_this_process(
    twin: Bench, told: list[tuple[str, str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    slice_s = slicer(twin).timing(REQUEST).slice_ms / 1000
    monkeypatch.setattr("devices.rows._LEASH_S", 2.5 * 6 * slice_s)
    slicer(twin)._properties.forget()
    for request in row(5):
        take(twin, request)
    assert [value for _, name, value in told if name == "SPIMNumRepeats"] == [2, 1]
    assert running(told) == 3
    assert twin.shelf.states == ["published"] * 5


def test_no_exposure_is_set_in_the_middle_of_a_row(
    twin: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = row(2)
    take(twin, first)
    monkeypatch.setattr(Core, "set_exposure_ms", None)
    take(twin, second)


def _unstages(bench: Bench) -> None:
    bench.sheet.stage()
    bench.sheet.unstage().wait(10)


ENDS: dict[str, Callable[[Bench], None]] = {
    "it is paused": lambda bench: bench.sheet.pause(),
    "it is unstaged": _unstages,
    "it is stopped": lambda bench: bench.sheet.stop(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_row_that_is_not_gone_on_with_ends_dark_and_counts_what_had_begun(
    twin: Bench, end: Callable[[Bench], None]
) -> None:
    first, second, third = row(3)
    take(twin, first)
    end(twin)
    twin.sheet.check_safe()
    assert_at_rest(twin)
    assert twin.shelf.states == ["published", "discarded"]
    assert twin.shelf.sinks[1].is_lit
    for request in (second, third):
        take(twin, request)
    assert twin.shelf.states == ["published", "discarded", "published", "published"]


def test_a_row_ends_dark_if_nobody_asks_for_its_next_volume(
    twin: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.taking._PATIENCE_S", 0.05)
    take(twin, row(3)[0])
    until(lambda: twin.shelf.states == ["published", "discarded"])
    twin.sheet.check_safe()
    assert_at_rest(twin)


def test_something_else_than_what_was_to_follow_begins_anew(
    twin: Bench, told: list[tuple[str, str, Any]]
) -> None:
    take(twin, row(3)[0])
    *_, sink = take(twin, replace(REQUEST, center_um=25))
    assert [stamp.index for stamp in stamps(sink)] == list(range(6))
    assert running(told) == 2
    assert twin.shelf.states == ["published", "discarded", "published"]


def test_a_frame_that_is_lost_in_the_middle_of_a_row_costs_that_volume_only(twin: Bench) -> None:
    hub(twin).faults.cameras[CAMERA] = CameraFault(drops=frozenset({8}))
    first, second, _ = row(3)
    take(twin, first)
    error = failure(twin, second)
    assert isinstance(error, AcquisitionError)
    assert "1 lost" in str(error)
    assert twin.shelf.states == ["published", "discarded"]
    assert_at_rest(twin)


def test_a_file_that_cannot_be_finished_ends_the_row_in_the_dark(
    twin: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(twin.shelf, "on_finish", fail)
    assert "the disk is gone" in str(failure(twin, row(3)[0]))
    assert twin.shelf.states == ["discarded"]
    assert_at_rest(twin)


# ---------------------------------------------------------------- what goes wrong


def _disk_fails(bench: Bench) -> None:
    def fail(index: int) -> None:
        if index == 2:
            raise OSError("the disk is gone")

    bench.shelf.on_write = fail


def _is_stopped(bench: Bench) -> None:
    bench.shelf.on_write = lambda index: bench.sheet.stop() if index == 2 else None


def _is_latched(bench: Bench) -> None:
    bench.shelf.on_write = lambda index: bench.core.latch() if index == 2 else None


def _loses_frames(bench: Bench) -> None:
    hub(bench).faults.cameras[CAMERA] = CameraFault(drops=frozenset({3}))


def _holds_another_number(bench: Bench) -> None:
    slicer(bench)._properties.forget()
    hub(bench).faults.read_backs[MASTER, "SPIMNumSlices"] = 3


FAILURES: dict[str, tuple[Callable[[Bench], None], type[Exception], str]] = {
    "the disk fails": (_disk_fails, OSError, "the disk is gone"),
    "it is stopped": (_is_stopped, StoppedError, "was stopped after"),
    "the core is latched": (_is_latched, StoppedError, "was stopped after"),
    "a camera loses a frame": (_loses_frames, AcquisitionError, "1 lost"),
    "the controller holds another number": (
        _holds_another_number,
        CoreError,
        "Scanner:AB:33 was told SPIMNumSlices = 6 and reads back 3",
    ),
}


@pytest.mark.parametrize("request_", [REQUEST, BOTH], ids=["one side", "both sides"])
@pytest.mark.parametrize(("disturb", "error", "says"), FAILURES.values(), ids=FAILURES)
def test_whatever_goes_wrong_nothing_is_published_and_all_is_dark_and_idle(
    twin: Bench,
    disturb: Callable[[Bench], None],
    error: type[Exception],
    says: str,
    request_: VolumeRequest,
) -> None:
    disturb(twin)
    found = failure(twin, request_)
    assert isinstance(found, error)
    assert says in str(found)
    assert "published" not in twin.shelf.states
    assert twin.sheet.published == {}
    assert lasers(twin).read()["lasers"]["value"] == "off"
    assert_at_rest(twin)


def test_a_laser_that_stays_on_fails_the_volume_and_says_so(
    twin: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.light._MOMENT_S", 0.02)

    def stick(index: int) -> None:
        hub(twin).faults.gate_sticks = True

    twin.shelf.on_write = stick
    found = failure(twin)
    assert isinstance(found, DeviceError)
    assert "488 only" in str(found)
    assert "lasers themselves were switched off" in str(found)
    assert not any(hub(twin).world.light.passage.powers_mw)
    assert "published" not in twin.shelf.states


# ---------------------------------------------------------------- what is foretold


@pytest.mark.parametrize("request_", [REQUEST, BOTH], ids=["one side", "both sides"])
def test_the_dose_that_is_foretold_is_the_one_that_shone(
    twin: Bench, request_: VolumeRequest
) -> None:
    models = Models()
    model = models.of(twin.sheet)
    model.prepare(request_)
    model.trigger()
    use = models.of(lasers(twin)).use
    before = hub(twin).world.light.count()
    take(twin, request_)
    after = hub(twin).world.light.count()
    assert use.dose_percent_ms["488"] == pytest.approx(4 * (after.lit_ms[488] - before.lit_ms[488]))
    assert use.energy_mj == pytest.approx(
        (after.energy_uj[488] - before.energy_uj[488]) / 1000, rel=1e-6
    )
    assert model.use.volumes == len(request_.views)


# ---------------------------------------------------------------- its parts


def test_powers_are_set_within_their_fences_and_read_back(twin: Bench) -> None:
    device = lasers(twin)
    device.set({"488": 3.0, "561": 0}).wait(10)
    assert device.last_reading()["lasers_488"]["value"] == 3.0
    for wrong in ({"488": 6.5}, {"532": 1}, {}, 3.0):
        with pytest.raises(LimitError):
            device.set(wrong)


def test_a_scanner_turns_within_its_limits(twin: Bench) -> None:
    scanner = twin.instrument.devices["scanner_b"]
    assert isinstance(scanner, Scanner)
    scanner.set(-1.5).wait(10)
    assert scanner.last_reading()["scanner_b_y"]["value"] == -1.5
    with pytest.raises(LimitError, match=r"scanner_b\.y asked for 5\.1 deg; limits -5 to 5 deg"):
        scanner.set(5.1)


def test_the_lamp_shines_for_the_frame_from_below_only(twin: Bench) -> None:
    bottom = twin.instrument.devices["bottom"]
    assert isinstance(bottom, LightSheet)
    shone: list[bool] = []
    twin.shelf.on_write = lambda _index: shone.append(hub(twin).world.lamp.is_on)
    bottom.prepare(VolumeRequest(num_slices=1, exposure_ms=5, step_um=0)).wait(10)
    bottom.trigger().wait(30)
    assert shone == [True]
    assert not hub(twin).world.lamp.is_on
