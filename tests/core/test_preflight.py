"""Preflight: what a plan would do is checked before anything moves, without the hardware."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import pytest
from bluesky.utils import Msg, MsgGenerator

from devices import Camera, FocusDrive, HardwareDevice, LightSheet, XYStage
from gently.core import preflight as preflight_module
from gently.core.catalogue import BoundPlan, Catalogue
from gently.core.errors import FieldError, PlanRefusedError
from gently.core.preflight import preflight as preflight_with
from plans import ALL_PLANS
from tests.core.bench import bench


@pytest.fixture
def devices() -> dict[str, HardwareDevice]:
    return bench()


@dataclass(frozen=True)
class Disk:
    free: int
    volumes: Path = Path("data/volumes")

    def free_bytes(self) -> int:
        return self.free


def preflight(plan: BoundPlan, disk: Disk = Disk(1 << 40)) -> None:
    preflight_with(plan, disk)


def bound(plan: Callable[..., MsgGenerator[Any]], **kwargs: Any) -> BoundPlan:
    return BoundPlan(plan.__name__, kwargs, plan)


def refusal(plan: BoundPlan, disk: Disk = Disk(1 << 40)) -> FieldError:
    with pytest.raises(PlanRefusedError) as refused:
        preflight(plan, disk)
    (error,) = refused.value.errors
    return error


def test_every_plan_in_the_box_passes_with_its_defaults(
    devices: Mapping[str, HardwareDevice],
) -> None:
    catalogue = Catalogue(ALL_PLANS, devices)
    needed = {
        "move_stage": {"x_um": 1, "y_um": 2},
        "move_focus": {"z_um": 3},
        "sleep": {"duration_s": 2},
    }

    for name in catalogue:
        preflight(catalogue.bind(name, [], needed.get(name, {})))


@pytest.mark.parametrize("center_um", [None, 0.0])
def test_a_sweep_that_does_not_fit_is_refused_with_the_limit_and_the_remedy(
    devices: Mapping[str, HardwareDevice], center_um: float | None
) -> None:
    catalogue = Catalogue(ALL_PLANS, devices)
    sweep = {"num_slices": 102, "step_um": 1.0, "center_um": center_um}

    error = refusal(catalogue.bind("acquire_volume", [], sweep))

    assert error.field == "step_um"
    assert "102 slices by 1 µm around 0 µm does not fit" in error.message
    assert "limits -50 to 50 µm (bench.yml)" in error.message
    assert "Lower num_slices or step_um" in error.message


def test_a_compressed_volume_needs_the_room_of_one_that_cannot_be_packed(
    devices: Mapping[str, HardwareDevice],
) -> None:
    camera = devices["camera"]
    assert isinstance(camera, Camera)
    camera.last_frame_bytes = 1000
    catalogue = Catalogue(ALL_PLANS, devices)
    packed = {"num_slices": 4, "file_format": "ome-zarr", "compression": "blosc-zstd"}
    plan = catalogue.bind("acquire_volume", [], packed)

    preflight(plan, Disk(4000))
    assert "needs 4000 bytes" in refusal(plan, Disk(3999)).message


def test_compression_that_the_format_does_not_know_is_refused_by_its_name(
    devices: Mapping[str, HardwareDevice],
) -> None:
    plan = Catalogue(ALL_PLANS, devices).bind("acquire_volume", [], {"compression": "blosc-lz4"})

    error = refusal(plan)

    assert error.field == "compression"
    assert "ask for ome-zarr" in error.message


def test_a_sweep_that_just_fits_passes(devices: Mapping[str, HardwareDevice]) -> None:
    catalogue = Catalogue(ALL_PLANS, devices)

    preflight(catalogue.bind("acquire_volume", [], {"num_slices": 101, "step_um": 1.0}))


def test_a_centre_that_is_near_the_edge_makes_the_same_sweep_not_fit(
    devices: Mapping[str, HardwareDevice],
) -> None:
    catalogue = Catalogue(ALL_PLANS, devices)
    sweep = {"num_slices": 11, "step_um": 1.0}
    drive = devices["focus"]
    preflight(catalogue.bind("acquire_volume", [], sweep))

    drive.last_reading()["focus"] = {"value": 49.0, "timestamp": 2.0}

    assert "around 49 µm" in refusal(catalogue.bind("acquire_volume", [], sweep)).message


def test_a_motion_deep_in_a_plan_is_checked_and_its_step_is_named(
    devices: Mapping[str, HardwareDevice],
) -> None:
    def climb(drive: FocusDrive) -> MsgGenerator[None]:
        for z_um in (10, 30, 51):
            yield from bps.checkpoint()
            yield Msg("set", drive, z_um)

    error = refusal(bound(climb, drive=devices["focus"]))

    assert error.field == "z"
    assert "focus.z at 0 µm asked for 51 µm; limits -50 to 50 µm" in error.message
    assert "(step 6)" in error.message


def test_the_refusal_names_the_plans_own_parameter_where_it_has_one(
    devices: Mapping[str, HardwareDevice],
) -> None:
    def climb(z_um: float, drive: FocusDrive) -> MsgGenerator[None]:
        yield Msg("set", drive, 2 * z_um)

    assert refusal(bound(climb, z_um=40.0, drive=devices["focus"])).field == "z_um"


def test_a_device_that_cannot_be_checked_is_not_moved() -> None:
    class Unknown:
        name = "galvo"

        def __repr__(self) -> str:
            return "galvo"

    def wave(galvo: object) -> MsgGenerator[None]:
        yield Msg("set", galvo, 1)

    error = refusal(bound(wave, galvo=Unknown()))

    assert "galvo cannot be checked, so it is not moved (step 1)" in error.message


def test_only_a_light_sheet_can_be_prepared(devices: Mapping[str, HardwareDevice]) -> None:
    def prepare(stage: XYStage) -> MsgGenerator[None]:
        yield Msg("prepare", stage, 1)

    error = refusal(bound(prepare, stage=devices["xy_stage"]))

    assert "xy_stage cannot be prepared" in error.message


def test_a_motion_without_a_target_is_refused(devices: Mapping[str, HardwareDevice]) -> None:
    def nowhere(stage: XYStage) -> MsgGenerator[None]:
        yield Msg("set", stage)

    assert "step 1" in refusal(bound(nowhere, stage=devices["xy_stage"])).message


def test_a_plan_that_raises_is_refused_with_its_own_words() -> None:
    def broken() -> MsgGenerator[None]:
        yield Msg("null")
        raise KeyError("no such well")

    error = refusal(bound(broken))

    assert error.field == "plan"
    assert "KeyError: 'no such well' (after step 1)" in error.message


def test_a_plan_that_never_ends_is_not_checked_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def endless() -> MsgGenerator[None]:
        while True:
            yield Msg("null")

    monkeypatch.setattr(preflight_module, "_MOST_STEPS", 100)

    assert "does not end within 100 steps" in refusal(bound(endless)).message


def test_a_day_of_sleep_can_be_checked(devices: Mapping[str, HardwareDevice]) -> None:
    preflight(Catalogue(ALL_PLANS, devices).bind("sleep", [86_400], {}))


def test_a_refused_plan_may_want_to_clean_up_by_messages(
    devices: Mapping[str, HardwareDevice],
) -> None:
    def stubborn(drive: FocusDrive) -> MsgGenerator[None]:
        try:
            yield Msg("set", drive, 999)
        finally:
            yield Msg("null")

    assert refusal(bound(stubborn, drive=devices["focus"])).field == "z"


def test_a_refused_plan_is_closed_so_that_it_cleans_up(
    devices: Mapping[str, HardwareDevice],
) -> None:
    left = []

    def tidy(drive: FocusDrive) -> MsgGenerator[None]:
        try:
            yield Msg("set", drive, 999)
        finally:
            left.append("tidy")

    refusal(bound(tidy, drive=devices["focus"]))

    assert left == ["tidy"]


def test_readings_are_answered_with_what_was_read_last_and_the_hardware_is_not_asked(
    devices: Mapping[str, HardwareDevice],
) -> None:
    seen = {}

    def look(drive: FocusDrive, stage: XYStage) -> MsgGenerator[None]:
        seen["focus"] = yield Msg("read", drive)
        seen["stage"] = yield Msg("read", stage)

    preflight(bound(look, drive=devices["focus"], stage=devices["xy_stage"]))

    assert seen["focus"]["focus"]["value"] == 0.0
    assert set(seen["stage"]) == {"xy_stage_x", "xy_stage_y"}  # never read: not a number
    assert seen["stage"]["xy_stage_x"]["value"] != seen["stage"]["xy_stage_x"]["value"]


def with_frames_of(devices: Mapping[str, HardwareDevice], frame_bytes: int) -> Catalogue:
    camera = devices["camera"]
    assert isinstance(camera, Camera)
    camera.last_frame_bytes = frame_bytes
    return Catalogue(ALL_PLANS, devices)


def test_a_volume_that_does_not_fit_on_the_disk_is_refused_with_both_sizes(
    devices: Mapping[str, HardwareDevice],
) -> None:
    plan = with_frames_of(devices, 8000).bind("acquire_volume", [], {"num_slices": 20})
    preflight(plan, Disk(160_000))

    error = refusal(plan, Disk(159_999))

    assert error.field == "num_slices"
    assert f"needs 160000 bytes and {Path('data/volumes')} has 159999 bytes free" in error.message
    assert "Free space there" in error.message


def test_all_volumes_of_a_plan_have_to_fit_together(devices: Mapping[str, HardwareDevice]) -> None:
    snap = with_frames_of(devices, 1000).bind("snap", [], {})

    def thrice(light_sheet: LightSheet) -> MsgGenerator[None]:
        for _ in range(3):
            yield from snap.generate()

    plan = bound(thrice, light_sheet=devices["light_sheet"])
    preflight(plan, Disk(3000))

    assert "needs 3000 bytes" in refusal(plan, Disk(2999)).message


def test_a_plan_that_acquires_nothing_needs_no_room(devices: Mapping[str, HardwareDevice]) -> None:
    plan = with_frames_of(devices, 1000).bind("move_stage", [], {"x_um": 1, "y_um": 2})

    preflight(plan, Disk(0))
