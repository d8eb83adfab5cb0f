"""The twin behind its Micro-Manager labels, driven through the core as the rig is."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from devices.core import FocusDirection
from devices.errors import CoreError, InstrumentError, StoppedError
from devices.twin import FrameStamp, sheets
from devices.twin.optics import PIXEL_UM
from devices.twin.sensor import OFFSET, READ_NOISE
from tests.devices.twin.rig import (
    CAMERA,
    CONFIG,
    FOCUS,
    GATE,
    HEAD,
    HUB,
    PIEZO,
    SEED,
    XY,
    Rig,
    centroid,
)

EDGE = OFFSET + 60.0  # between the cytoplasm and the medium, at 5 ms


def test_two_cores_have_two_worlds(rig: Rig, tmp_path: Path) -> None:
    config = tmp_path / "other.cfg"
    config.write_text(CONFIG.read_text().replace(f"Seed,{SEED}", f"Seed,{SEED + 1}"))
    other = Rig.boot(config)
    try:
        assert (rig.get(HUB, "Seed"), other.get(HUB, "Seed")) == (SEED, SEED + 1)
        rig.go(100, 50)
        rig.light(on=True)
        assert other.core.xy_position(XY) == (0, 0)
        assert not other.core.shutter_open(GATE)
        rig.go(0, 0)
        other.light(on=True)
        assert not np.array_equal(rig.frames(1, 5)[0], other.frames(1, 5)[0])
    finally:
        other.core.close()


def test_the_world_cannot_be_exchanged_under_its_devices(rig: Rig) -> None:
    with pytest.raises(CoreError, match="set Seed in the configuration file"):
        rig.set(HUB, "Seed", 3)


def test_a_device_that_names_no_hub_does_not_boot(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tmp_path / "orphan.cfg"
    config.write_text(CONFIG.read_text().replace(f"#py Parent,{PIEZO},{HUB}\n", ""))
    with caplog.at_level(logging.ERROR), pytest.raises(InstrumentError, match=PIEZO):
        Rig.boot(config)
    assert f"#py Parent,{PIEZO}" in caplog.text


def test_the_reference_has_every_label_and_every_property_of_the_hub(rig: Rig) -> None:
    reference = (Path(__file__).parents[3] / "docs" / "reference" / "twin.md").read_text("utf-8")
    properties = rig.core.ask(HUB, lambda mmc: mmc.getDevicePropertyNames(HUB))
    missing = [name for name in (*rig.core.labels, *properties) if f"`{name}`" not in reference]
    assert not missing
    for side, sheet in sheets(SEED).items():
        stated = f"| {side} | {sheet.slope_um_per_deg:.4f} | {sheet.offset_um:.4f} |"
        assert stated.replace("-", "−") in reference


# ---------------------------------------------------------------------- stages


def test_it_boots_with_an_embryo_in_the_middle_and_the_light_off(rig: Rig) -> None:
    assert rig.core.xy_position(XY) == (0, 0)
    assert (rig.core.position(FOCUS), rig.core.position(PIEZO)) == (150, 0)
    assert not rig.core.shutter_open(GATE)
    rig.light(on=True)
    assert centroid(rig.frames(1, 5)[0], EDGE) == pytest.approx((255.5, 255.5), abs=2)


def test_motion_takes_time_and_stop_stops_where_it_is(rig: Rig) -> None:
    rig.set(XY, "MotorSpeedX-S(mm/s)", 0.5)
    moving = rig.core.move_xy(XY, 5000, 0, tolerance_um=1, timeout_s=60)
    while rig.core.xy_position(XY)[0] < 20:
        assert not moving.done()
    rig.core.halt_motion(XY)
    with pytest.raises(StoppedError):
        moving.result(5)
    here = rig.core.xy_position(XY)
    assert 20 <= here[0] < 5000
    assert not rig.is_busy(XY)
    assert rig.core.xy_position(XY) == here


@pytest.mark.parametrize(("label", "target_um"), [(FOCUS, 240.0), (PIEZO, -150.0)])
def test_a_z_stage_is_busy_until_it_is_there(rig: Rig, label: str, target_um: float) -> None:
    start_um = rig.core.position(label)
    rig.core.ask(label, lambda mmc: mmc.setPosition(label, target_um))
    while rig.is_busy(label):
        assert abs(rig.core.position(label) - start_um) <= abs(target_um - start_um)
    assert rig.core.position(label) == target_um


def test_speeds_are_read_back_and_bounded(rig: Rig) -> None:
    rig.set(FOCUS, "MotorSpeed-S(mm/s)", "0.25")
    assert rig.get(FOCUS, "MotorSpeed-S(mm/s)") == 0.25
    rig.set(XY, "MotorSpeedX-S(mm/s)", 1)
    assert rig.get(XY, "MotorSpeedY-S(mm/s)") == 2
    with pytest.raises(CoreError, match="allowed range"):
        rig.set(XY, "MotorSpeedY-S(mm/s)", 500)


def test_past_an_end_stop_neither_axis_moves(rig: Rig) -> None:
    with pytest.raises(CoreError, match=r"y was sent to .* past its mechanical end stops"):
        rig.core.move_xy(XY, 10, 1e6, tolerance_um=1, timeout_s=1).result()
    assert rig.core.xy_position(XY) == (0, 0)
    assert not rig.is_busy(XY)


@pytest.mark.parametrize("verb", ["home", "setOrigin"])
@pytest.mark.parametrize("label", [XY, FOCUS, PIEZO])
def test_coordinates_cannot_be_shifted(rig: Rig, label: str, verb: str) -> None:
    name = "setOriginXY" if (label, verb) == (XY, "setOrigin") else verb
    with pytest.raises(CoreError, match="Move it to a position instead"):
        rig.core.ask(label, lambda mmc: getattr(mmc, name)(label))


@pytest.mark.parametrize("direction", [0, -1, 1])
def test_a_stage_keeps_the_focus_direction_that_a_saved_configuration_states(
    rig: Rig, direction: int
) -> None:
    rig.core.ask(FOCUS, lambda mmc: mmc.setFocusDirection(FOCUS, direction))
    found = rig.core.ask(FOCUS, lambda mmc: mmc.getFocusDirection(FOCUS))
    assert found is FocusDirection(direction)


# ---------------------------------------------------------------------- light


def test_without_light_there_is_only_offset_and_read_noise(rig: Rig) -> None:
    dark = rig.frames(1, 5)[0]
    assert dark.mean() == pytest.approx(OFFSET, abs=0.2)
    assert dark[dark < OFFSET + 80].std() == pytest.approx(READ_NOISE, rel=0.05), "but hot pixels"
    rig.light(on=True)
    assert rig.frames(1, 5)[0].max() > OFFSET + 500
    rig.light(on=False)
    assert np.array_equal(rig.frames(1, 5)[0], dark)


def test_the_gate_counts_its_open_time_and_the_count_is_read_only(rig: Rig) -> None:
    assert rig.get(GATE, "OpenTimeMs") == 0
    rig.light(on=True)
    rig.frames(3, 5)
    rig.light(on=False)
    counted = rig.get(GATE, "OpenTimeMs")
    assert counted >= 15
    assert rig.get(GATE, "OpenTimeMs") == counted
    with pytest.raises(CoreError, match="read-only"):
        rig.set(GATE, "OpenTimeMs", 0)


# ---------------------------------------------------------------------- camera


def test_moving_the_stage_moves_the_picture_by_the_pixel_size(rig: Rig) -> None:
    assert rig.get(CAMERA, "PixelSizeUm") == PIXEL_UM
    rig.light(on=True)
    column, row = centroid(rig.frames(1, 5)[0], EDGE)
    rig.go(10, -6)
    shifted = centroid(rig.frames(1, 5)[0], EDGE)
    assert shifted == pytest.approx((column - 10 / PIXEL_UM, row - 6 / PIXEL_UM), abs=1)


def test_focus_and_head_and_piezo_with_its_sheet_look_at_the_same_plane(rig: Rig) -> None:
    rig.light(on=True)
    middle = rig.frames(1, 5)[0].astype(int)
    rig.lift(FOCUS, 154.5)
    by_focus = rig.frames(1, 5)[0].astype(int)
    rig.lift(FOCUS, 150)
    rig.lift(HEAD, 104.5)
    by_head = rig.frames(1, 5)[0].astype(int)
    rig.lift(HEAD, 100)
    rig.lift(PIEZO, 4.5)
    rig.aim("Scanner:AB:33", "A", 4.5)
    by_piezo = rig.frames(1, 5)[0].astype(int)
    assert not np.array_equal(by_focus, middle)
    assert np.array_equal(by_focus, by_head)
    # The mirror comes as near as its controller can count, and the noise is another.
    assert np.corrcoef(by_focus.ravel(), by_piezo.ravel())[0, 1] > 0.97
    assert np.corrcoef(by_focus.ravel(), middle.ravel())[0, 1] < 0.9


def test_frames_are_stamped_only_when_asked_for(rig: Rig) -> None:
    assert rig.get(CAMERA, "FrameStamp") == "Off"
    with pytest.raises(ValueError, match="no stamp"):
        FrameStamp.read(rig.frames(1)[0])
    with pytest.raises(CoreError, match="not allowed"):
        rig.set(CAMERA, "FrameStamp", "Maybe")


def test_a_stop_interrupts_an_exposure_and_its_frame_is_not_delivered(rig: Rig) -> None:
    # Were the exposure of ten seconds not interrupted, its thread would outlive this test.
    rig.expose(10_000)
    cancelled = threading.Event()
    frames = rig.core.frames(CAMERA, 3, exposure_ms=10_000, cancelled=cancelled)
    threading.Timer(0.05, cancelled.set).start()
    with pytest.raises(StoppedError, match="after 0 of 3 frames"):
        next(frames)
    assert not rig.core.ask(CAMERA, lambda mmc: mmc.isSequenceRunning(CAMERA))
    assert len(rig.frames(2)) == 2, "and the next sequence is whole"


def test_a_part_of_the_sensor_is_read_in_less_time(rig: Rig) -> None:
    whole_ms = rig.get(CAMERA, "ReadoutTime")
    rig.core.ask(CAMERA, lambda mmc: mmc.setROI(CAMERA, 1024, 1088, 256, 64))
    assert rig.core.frame_format(CAMERA) == (64, 256, np.dtype("uint16"))
    assert rig.get(CAMERA, "ReadoutTime") == pytest.approx(whole_ms / 8)
    assert rig.frames(2)[1].shape == (64, 256)
    rig.core.ask(CAMERA, lambda mmc: mmc.clearROI())
    assert rig.frames(1)[0].shape == (2304, 2304)


@pytest.mark.parametrize("roi", [(2100, 0, 256, 64), (-1, 0, 64, 64), (0, 0, 8, 8)])
def test_a_roi_off_the_sensor_or_too_small_for_a_stamp_is_refused(
    rig: Rig, roi: tuple[int, int, int, int]
) -> None:
    with pytest.raises(CoreError, match="ROI"):
        rig.core.ask(CAMERA, lambda mmc: mmc.setROI(CAMERA, *roi))


@pytest.mark.parametrize("exposure_ms", [0, -1, 20_000, float("nan")])
def test_an_exposure_that_cannot_be_is_refused(rig: Rig, exposure_ms: float) -> None:
    with pytest.raises(CoreError, match=r"not between 0\.01 and 10000 ms"):
        rig.expose(exposure_ms)
    assert rig.core.exposure_ms(CAMERA) == 10


def test_a_snap_is_a_sequence_of_one(rig: Rig) -> None:
    rig.light(on=True)
    snapped = rig.core.ask(CAMERA, lambda mmc: mmc.snap())
    assert np.array_equal(snapped, rig.frames(1, 10)[0])
