"""The devices' own models: what they foretell is what the twin and the demo then do."""

from collections.abc import Callable
from pathlib import Path

import pytest

from devices import (
    CoreError,
    HardwareDevice,
    Models,
    Stage,
    VolumeRequest,
    load_instrument_file,
)
from devices.slicing import Stepper
from tests.devices import demo, faults
from tests.devices.demo import Bench
from tests.waiting import until

SWEEP = VolumeRequest(num_slices=5, exposure_ms=1, step_um=2)


def modelled(device: HardwareDevice) -> dict[str, object]:
    return Models().of(device).read()


def where(stage: Stage) -> list[float]:
    return [reading["value"] for reading in stage.last_reading().values()]


@pytest.mark.parametrize(
    ("name", "speed"),
    [
        ("xy_stage", "MotorSpeedX-S(mm/s) = 2, AccelerationX-AC(ms) = 100"),
        ("focus", "MotorSpeed-S(mm/s) = 0.5, Acceleration-AC(ms) = 50"),
        ("piezo_a", "no speed is known"),
    ],
)
def test_stages_say_how_their_times_are_known(tmp_path: Path, name: str, speed: str) -> None:
    with demo.booted(load_instrument_file("twin"), tmp_path) as twin:
        source = twin.instrument.devices[name].pace_source
        assert source.startswith(speed)
        assert source.endswith("what that leaves out is assumed")


def test_a_motion_is_foretold_by_the_speed_that_was_read_at_boot(bench: Bench) -> None:
    models = Models()

    seconds = models.of(bench.stage).set((10_000, 0))  # at 10 mm/s

    assert seconds == pytest.approx(1.0, abs=0.05)
    assert models.of(bench.stage).read() == {"xy_stage_x": 10_000, "xy_stage_y": 0}
    assert where(bench.stage) == [0, 0]


def test_where_a_motion_has_ended_is_known_without_another_question(bench: Bench) -> None:
    bench.stage.set((30, -20)).wait(10)
    bench.focus.set(15).wait(10)
    bench.camera.set(7).wait(10)
    bench.shutter.set("open").wait(10)

    assert where(bench.stage) == pytest.approx([30, -20], abs=0.1)
    assert where(bench.focus) == pytest.approx([15], abs=0.1)
    assert modelled(bench.camera) == {"camera_exposure": 7}
    assert modelled(bench.shutter) == {"shutter": "open"}


def test_a_motion_teaches_how_long_the_next_one_takes(bench: Bench) -> None:
    assert bench.focus.pace.source == "assumed"
    for z_um in (10, 20, 30):
        bench.focus.set(z_um).wait(10)
    assert bench.focus.pace.source == "learned from the latest 3"


def test_a_drive_that_tells_no_speed_settles_as_a_piezo_does(tmp_path: Path) -> None:
    with demo.booted(load_instrument_file("twin"), tmp_path) as twin:
        piezo = twin.instrument.devices["piezo_a"]
        assert isinstance(piezo, Stage)
        for z_um in (1, -1, 3, -3, 9, -9, 27, -27, 81, -81, 1, 60):
            piezo.set(z_um).wait(10)

        nearer_s, near_s, far_s = (piezo.duration_s((0,), (um,)) for um in (2, 20, 200))

    # Ten times as far takes so much longer, from wherever: what remains shrinks by equal parts.
    assert 0 < near_s - nearer_s == pytest.approx(far_s - near_s, rel=0.1)


def test_a_motion_that_was_paused_teaches_nothing(bench: Bench) -> None:
    demo.set_property(bench.core, demo.XY, "Velocity", 0.1)
    status = bench.stage.set((5000, 0))
    bench.stage.stop(success=True)
    status.wait(10)
    assert bench.stage.pace.source == "assumed"
    assert where(bench.stage)[0] < 5000


def lands_elsewhere(bench: Bench) -> None:
    faults.drive(bench.core).lands_off_um = 9
    with pytest.raises(CoreError):
        bench.focus.set(20).wait(10)


def stopped(bench: Bench) -> None:
    faults.drive(bench.core).is_moving = True
    status = bench.focus.set(29)
    until(lambda: faults.drive(bench.core).commands == [29])
    bench.focus.stop()
    assert status.exception(10) is not None


@pytest.mark.parametrize("end_badly", [lands_elsewhere, stopped])
def test_a_stage_whose_motion_was_not_seen_to_arrive_is_found_before_the_next_plan(
    tmp_path: Path, end_badly: Callable[[Bench], None]
) -> None:
    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        end_badly(bench)
        assert where(bench.focus) == [0]
        bench.instrument.find_stages()
        assert where(bench.focus) == [29]


def test_a_stage_that_is_where_it_was_read_is_not_asked_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.stage.set((30, -20)).wait(10)
    monkeypatch.setattr(bench.core, "xy_position", None)
    bench.instrument.find_stages()


@pytest.mark.parametrize("name", ["demo", "twin"])
@pytest.mark.parametrize("center_um", [None, 4.0])
@pytest.mark.parametrize("step_um", [2.0, 0.0])
def test_after_a_volume_everything_is_where_the_model_says(
    tmp_path: Path, name: str, center_um: float | None, step_um: float
) -> None:
    request = VolumeRequest(num_slices=5, exposure_ms=1, step_um=step_um, center_um=center_um)
    file = demo.with_buffer(load_instrument_file(name), 16)
    with demo.booted(file, tmp_path) as bench:
        sheet = bench.sheet
        drive = sheet.slicer.views["a"].drive
        drive.set(11.5).wait(10)
        models = Models()
        model = models.of(sheet)
        model.prepare(request)
        model.trigger()

        sheet.prepare(request).wait(10)
        sheet.trigger().wait(30)

        foretold = models.of(drive).read()
        assert list(foretold.values()) == where(drive)
        assert model.use.frames == len(bench.shelf.sinks[0].written)
        assert model.use.disk_bytes == bench.shelf.sinks[0].pixels.nbytes


def test_a_volume_teaches_the_readout_the_file_and_the_light(bench: Bench) -> None:
    sheet = bench.sheet
    sheet.prepare(VolumeRequest(num_slices=4, exposure_ms=1, step_um=0)).wait(10)
    sheet.trigger().wait(30)
    assert sheet.pace_source == (
        "readout of a frame learned from the latest 1; "
        "setting up and file: ome-tiff learned from the latest 1; ome-zarr assumed"
    )
    assert isinstance(sheet.slicer, Stepper)
    assert sheet.slicer.light_pace.source == "learned from the latest 1"


def test_a_volume_that_fails_teaches_nothing(tmp_path: Path) -> None:
    def fail(_index: int) -> None:
        raise OSError("the disk is gone")

    with demo.booted(faults.written_to(tmp_path), tmp_path) as bench:
        bench.shelf.on_write = fail
        bench.sheet.prepare(SWEEP).wait(10)
        assert bench.sheet.trigger().exception(30) is not None
        assert bench.sheet.paces["ome-tiff"].source == "assumed"
