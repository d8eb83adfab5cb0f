"""Preflight: what a plan would do is found out before anything moves, without the hardware."""

import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import bluesky.plan_stubs as bps
import psutil
import pytest
from bluesky.utils import Msg, MsgGenerator

from devices import (
    Camera,
    DoseBudget,
    FocusDrive,
    HardwareDevice,
    LightSheet,
    LimitError,
    Shutter,
    VolumeRequest,
    XYStage,
)
from gently.core.catalogue import BoundPlan, Catalogue
from gently.core.errors import FieldError, PlanRefusedError
from gently.core.preflight import WHOLE, Budget, Preflight, PreflightReport
from plans import ALL_PLANS
from tests.core.bench import bench
from tests.core.lab import Nothing


class NoCore:
    """A core on which every call is a failure: a preflight never touches the hardware."""

    def __getattr__(self, name: str) -> NoReturn:
        raise AssertionError(f"the preflight has asked the core for {name}")


@pytest.fixture
def devices() -> dict[str, HardwareDevice]:
    found = bench()
    for device in found.values():
        device._core = NoCore()  # type: ignore[assignment]
    return found


@dataclass(frozen=True)
class Disk:
    free: int
    volumes: Path = Path("data/volumes")

    def free_bytes(self) -> int:
        return self.free


ROOMY = Disk(1 << 40)
SMALL = VolumeRequest(num_slices=2, exposure_ms=5, step_um=1)
LONG = VolumeRequest(num_slices=100, exposure_ms=500, step_um=0)


def report(plan: BoundPlan, disk: Disk = ROOMY, budget: Budget = WHOLE) -> PreflightReport:
    return Preflight(disk, Nothing(), DoseBudget()).check(plan, budget)


def preflight(plan: BoundPlan, disk: Disk = ROOMY) -> None:
    report(plan, disk).raise_refusals()


def bound(plan: Callable[..., MsgGenerator[Any]], **kwargs: Any) -> BoundPlan:
    return BoundPlan(plan.__name__, kwargs, plan)


def refusal(plan: BoundPlan, disk: Disk = ROOMY) -> FieldError:
    with pytest.raises(PlanRefusedError) as refused:
        preflight(plan, disk)
    (error,) = refused.value.errors
    return error


def test_every_plan_in_the_box_passes_with_its_defaults(
    devices: Mapping[str, HardwareDevice],
) -> None:
    catalogue = Catalogue(ALL_PLANS, devices)
    needed: dict[str, dict[str, Any]] = {
        "move_stage": {"x_um": 1, "y_um": 2},
        "move_focus": {"z_um": 3},
        "sleep": {"duration_s": 2},
        "acquire_embryo": {"embryo": {"name": "one", "x_um": 1, "y_um": 2}},
        "tile_scan": {"width_um": 90, "height_um": 30, "x_um": 1, "y_um": 2},
        "run_mda": {"sequence": {"z_plan": {"range": 4, "step": 1}}},
        "time_lapse": {
            "embryos": [{"name": "one", "x_um": 1, "y_um": 2}],
            "num_points": 2,
            "interval_s": 1,
        },
    }

    for name in catalogue.keys() - {"calibrate_piezo_galvo"}:
        preflight(catalogue.bind(name, [], needed.get(name, {})))
    # On the bench there is no sheet.
    assert "no scanner" in refusal(catalogue.bind("calibrate_piezo_galvo", [], {})).message


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
    assert "focus.z at 30 µm asked for 51 µm; limits -50 to 50 µm" in error.message
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
    assert "KeyError: 'no such well' (step 1)" in error.message


def test_a_plan_that_refuses_what_it_was_asked_for_names_the_parameter() -> None:
    def picky(powers_percent: list[float]) -> MsgGenerator[None]:
        yield Msg("null")
        raise LimitError("asked for 7 percent; limits 2 to 6 percent", field="power_percent")

    error = refusal(bound(picky, powers_percent=[7.0]))

    assert error.field == "powers_percent"  # the plan's own word for it
    assert error.message == "asked for 7 percent; limits 2 to 6 percent (step 1)"


def endless() -> MsgGenerator[None]:
    while True:
        yield Msg("null")


def test_a_plan_that_never_ends_is_not_followed_for_ever() -> None:
    found = report(bound(endless), budget=Budget(steps=1000, seconds=60, has_to_end=True))

    assert not found.ok
    assert not found.is_whole
    assert found.steps == 1000
    assert "does not end within 1000 steps or 60 s" in found.refusals[0].message


def test_a_plan_is_not_followed_for_longer_than_there_is_time() -> None:
    found = report(bound(endless), budget=Budget(steps=1 << 60, seconds=0.01, has_to_end=True))

    assert "does not end within" in found.refusals[0].message


def test_a_quick_look_accepts_a_plan_whose_end_it_has_not_seen() -> None:
    assert not Preflight(ROOMY, Nothing(), DoseBudget()).glance(bound(endless)).is_whole


def test_a_quick_look_refuses_what_it_sees(devices: Mapping[str, HardwareDevice]) -> None:
    def leap(drive: FocusDrive) -> MsgGenerator[None]:
        yield Msg("set", drive, 999)
        yield from endless()

    camera = devices["camera"]
    assert isinstance(camera, Camera)
    camera.last_frame_bytes = 1000
    volume = Catalogue(ALL_PLANS, devices).bind("acquire_volume", [], {"num_slices": 4})

    Preflight(Disk(4000), Nothing(), DoseBudget()).glance(volume)
    for plan, why in (
        (bound(leap, drive=devices["focus"]), r"limits -50 to 50 µm .*\(step 1\)"),
        (volume, "needs 4000 bytes"),
    ):
        with pytest.raises(PlanRefusedError, match=why):
            Preflight(Disk(3999), Nothing(), DoseBudget()).glance(plan)


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


def test_readings_begin_with_what_was_read_last(devices: Mapping[str, HardwareDevice]) -> None:
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


# ---------------------------------------------------------------- the models follow the plan


def test_what_was_set_is_read_so_that_a_plan_may_decide_by_it(
    devices: Mapping[str, HardwareDevice],
) -> None:
    def climb(drive: FocusDrive) -> MsgGenerator[None]:
        while True:
            reading = yield Msg("read", drive)
            if reading["focus"]["value"] >= 40:
                return
            yield Msg("set", drive, reading["focus"]["value"] + 10)

    found = report(bound(climb, drive=devices["focus"]))

    assert found.ok
    assert found.travel_um == {"focus.z": 40}


def test_relative_motions_add_up(devices: Mapping[str, HardwareDevice]) -> None:
    def climb(drive: FocusDrive) -> MsgGenerator[None]:
        for _ in range(3):
            yield from bps.mvr(drive, 20)

    error = refusal(bound(climb, drive=devices["focus"]))

    assert "focus.z at 40 µm asked for 60 µm" in error.message


def test_a_sweep_without_a_centre_goes_around_where_the_plan_has_left_the_drive(
    devices: Mapping[str, HardwareDevice],
) -> None:
    sweep = Catalogue(ALL_PLANS, devices).bind(
        "acquire_volume", [], {"num_slices": 11, "step_um": 1.0}
    )

    def go_and_sweep(drive: FocusDrive) -> MsgGenerator[None]:
        yield from sweep.generate()
        yield from bps.mv(drive, 46)
        yield from sweep.generate()

    error = refusal(bound(go_and_sweep, drive=devices["focus"]))

    assert "around 46 µm does not fit" in error.message


def test_a_volume_has_a_uid_that_is_no_volumes(devices: Mapping[str, HardwareDevice]) -> None:
    uids = []

    def twice(light_sheet: LightSheet) -> MsgGenerator[None]:
        uids.append((yield from bps.read(light_sheet))["light_sheet_uid"]["value"])
        yield from bps.prepare(light_sheet, SMALL, wait=True)
        yield from bps.trigger(light_sheet, wait=True)
        uids.append((yield from bps.read(light_sheet))["light_sheet_uid"]["value"])

    preflight(bound(twice, light_sheet=devices["light_sheet"]))

    assert uids == ["", "0" * 32]


def test_the_models_of_one_preflight_are_unknown_to_the_next(
    devices: Mapping[str, HardwareDevice],
) -> None:
    def climb(drive: FocusDrive) -> MsgGenerator[None]:
        yield from bps.mvr(drive, 40)

    plan = bound(climb, drive=devices["focus"])
    follow = Preflight(ROOMY, Nothing(), DoseBudget())

    assert [follow.check(plan).ok for _ in range(3)] == [True] * 3


@pytest.mark.parametrize(
    ("messages", "says"),
    {
        "triggered unprepared": (["trigger"], "was triggered before it was prepared"),
        "triggered twice": (["prepare", "trigger", "trigger"], "is still taking a volume"),
        "triggered after unstage": (["prepare", "unstage", "trigger"], "before it was prepared"),
    }.values(),
)
def test_what_a_light_sheet_would_refuse_is_refused(
    devices: Mapping[str, HardwareDevice], messages: list[str], says: str
) -> None:
    def take(light_sheet: LightSheet) -> MsgGenerator[None]:
        for command in messages:
            args = (
                [VolumeRequest(num_slices=2, exposure_ms=5, step_um=1)]
                if command == "prepare"
                else []
            )
            yield Msg(command, light_sheet, *args, group="it")

    assert says in refusal(bound(take, light_sheet=devices["light_sheet"])).message


# ---------------------------------------------------------------- all that there is to say


def test_every_breach_is_told_with_its_step_and_the_plan_is_followed_to_its_end(
    devices: Mapping[str, HardwareDevice],
) -> None:
    def wild(drive: FocusDrive, stage: XYStage) -> MsgGenerator[None]:
        yield Msg("set", drive, 51)
        yield Msg("set", stage, (0, 500))
        yield Msg("dance", stage)
        yield Msg("set", drive, 10)
        yield Msg("set", drive, -51)

    found = report(bound(wild, drive=devices["focus"], stage=devices["xy_stage"]))

    assert [(refused.field, refused.step) for refused in found.refusals] == [
        ("z", 1),
        ("y", 2),
        ("plan", 3),
        ("z", 5),
    ]
    assert "'dance' cannot be checked" in found.refusals[2].message
    assert "focus.z at 10 µm asked for -51 µm" in found.refusals[3].message
    assert found.is_whole


def test_a_plan_that_is_wrong_all_over_is_given_up(devices: Mapping[str, HardwareDevice]) -> None:
    def wild(drive: FocusDrive) -> MsgGenerator[None]:
        for z_um in range(100, 1_000_000):
            yield Msg("set", drive, z_um)

    found = report(bound(wild, drive=devices["focus"]))

    assert len(found.refusals) == 50
    assert found.steps == 50


def test_the_same_is_told_once(devices: Mapping[str, HardwareDevice]) -> None:
    def stubborn(drive: FocusDrive) -> MsgGenerator[None]:
        for _ in range(100):
            yield Msg("set", drive, 51)

    assert len(report(bound(stubborn, drive=devices["focus"])).refusals) == 1


@pytest.mark.parametrize("command", ["input", "configure", "kickoff", "wait_for", "monitor", "???"])
def test_a_message_that_cannot_be_played_is_refused(
    devices: Mapping[str, HardwareDevice], command: str
) -> None:
    def strange(stage: XYStage) -> MsgGenerator[None]:
        yield Msg(command, stage)

    assert (
        f"{command!r} cannot be checked"
        in refusal(bound(strange, stage=devices["xy_stage"])).message
    )


def test_a_plan_is_heard_when_it_warns_once_for_each_warning() -> None:
    def worried() -> MsgGenerator[None]:
        for _ in range(3):
            yield Msg("null")
            warnings.warn("the embryo is old", stacklevel=1)
        warnings.warn("nothing that an operator has to know", DeprecationWarning, stacklevel=1)

    for _ in range(2):  # Python itself would tell it once in a process
        found = report(bound(worried))
        assert found.ok
        assert [(said.message, said.step) for said in found.warnings] == [("the embryo is old", 1)]


def test_warnings_of_another_thread_are_not_the_plans() -> None:
    def beside() -> None:
        with pytest.warns(UserWarning, match="somebody else's"):
            warnings.warn("somebody else's", stacklevel=1)

    def quiet() -> MsgGenerator[None]:
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
        yield Msg("null")

    assert report(bound(quiet)).warnings == ()


def test_a_light_that_a_plan_leaves_on_is_told(devices: Mapping[str, HardwareDevice]) -> None:
    def forget(shutter: Shutter) -> MsgGenerator[None]:
        yield from bps.mv(shutter, "open")
        yield from bps.sleep(2)

    found = report(bound(forget, shutter=devices["shutter"]))

    assert "leaves shutter open" in found.warnings[0].message
    assert found.light_ms == 2000


def test_a_wait_that_is_too_short_is_told(devices: Mapping[str, HardwareDevice]) -> None:
    def impatient(light_sheet: LightSheet) -> MsgGenerator[None]:
        yield from bps.prepare(
            light_sheet, VolumeRequest(num_slices=100, exposure_ms=500, step_um=0), wait=True
        )
        yield Msg("trigger", light_sheet, group="it")
        yield from bps.wait("it", timeout=1)

    found = report(bound(impatient, light_sheet=devices["light_sheet"]))

    assert "gives up after 1 s what takes about 50" in found.warnings[0].message


def test_a_motion_that_takes_longer_than_its_device_is_given_is_told(
    devices: Mapping[str, HardwareDevice],
) -> None:
    stage = devices["xy_stage"]
    assert isinstance(stage, XYStage)
    stage.pace.learn(100, 40.0)

    def far(stage: XYStage) -> MsgGenerator[None]:
        yield from bps.mv(stage, (100, 0))

    found = report(bound(far, stage=stage))

    assert found.ok
    assert "needs about 40 s for a motion, and is given up after 1 s" in found.warnings[0].message


def test_a_plan_that_pauses_by_itself_says_so() -> None:
    def thoughtful() -> MsgGenerator[None]:
        yield from bps.pause()

    assert "until somebody resumes it" in report(bound(thoughtful)).warnings[0].message


# ---------------------------------------------------------------- how much of it


def test_what_is_started_together_takes_as_long_as_the_slowest(
    devices: Mapping[str, HardwareDevice],
) -> None:
    def both(drive: FocusDrive, light_sheet: LightSheet) -> MsgGenerator[None]:
        yield Msg("prepare", light_sheet, VolumeRequest(num_slices=10, exposure_ms=100, step_um=0))
        yield Msg("trigger", light_sheet, group="it")
        yield Msg("set", drive, 10, group="it")
        yield Msg("sleep", None, 0.4)
        yield Msg("wait", None, group="it")

    found = report(bound(both, drive=devices["focus"], light_sheet=devices["light_sheet"]))

    alone = devices["light_sheet"].paces["ome-tiff"].seconds(0)
    assert found.rehearsed_s == pytest.approx(1.0 + alone)


def test_the_report_says_what_a_volume_comes_to(devices: Mapping[str, HardwareDevice]) -> None:
    plan = with_frames_of(devices, 1000).bind(
        "acquire_volume", [], {"num_slices": 11, "exposure_ms": 20.0, "step_um": 2.0}
    )

    found = report(plan, Disk(50_000))

    assert (found.volumes, found.frames) == (1, 11)
    assert (found.bytes_needed, found.bytes_free) == (11_000, 50_000)
    assert 1000 < found.memory_bytes < found.memory_free_bytes
    assert found.travel_um == {"focus.z": 10 + 20 + 10}
    assert found.light_ms >= 11 * 20
    assert found.energy_mj is None
    assert found.seconds > found.rehearsed_s > 0.22
    assert "no speed is known" in found.sources["focus"]
    assert "assumed" in found.sources["light_sheet"]


def test_the_energy_is_told_where_the_power_is_known(
    devices: Mapping[str, HardwareDevice],
) -> None:
    shutter = devices["shutter"]
    assert isinstance(shutter, Shutter)
    shutter.power_mw = 1.5

    def shine(shutter: Shutter) -> MsgGenerator[None]:
        yield from bps.mv(shutter, "open")
        yield from bps.sleep(2)
        yield from bps.mv(shutter, "closed")
        yield from bps.sleep(7)

    found = report(bound(shine, shutter=shutter))

    assert (found.light_ms, found.energy_mj) == (2000, 3.0)
    assert found.warnings == ()


def test_a_frame_that_does_not_fit_into_the_memory_is_refused(
    devices: Mapping[str, HardwareDevice],
) -> None:
    frame_bytes = psutil.virtual_memory().total
    plan = with_frames_of(devices, frame_bytes).bind("snap", [], {})

    assert "of memory for frames on their way" in refusal(plan, Disk(1 << 60)).message
