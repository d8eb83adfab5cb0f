"""What the system does at each fault of the hardware: never completed without true data.

Each row of the table runs a plan on hardware with a fault. The plan fails and names what is at
fault; in truth no light falls on the sample any more; nothing of it is published or left; and once
the fault is gone the same plan completes, without a restart. The table for people is in
docs/explanation/faults.md.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from devices import Instrument, InstrumentError, load_instrument_file
from devices.twin.faults import AxisFault, CameraFault, Faults
from devices.twin.hub import TwinHub
from tests.faults.twin import SWEEP, Plan, TwinBench, booted_twin
from tests.waiting import until

# UniMMCore lets the error of a Python camera end its thread, and tells nobody.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")

Cause = Callable[[Faults], Any]
A, B, DUAL = (Plan("acquire_volume", {**SWEEP, "view": view}) for view in ("a", "b", "dual"))
LONG = Plan("acquire_volume", {**SWEEP, "num_slices": 60, "step_um": 1})
BOTTOM = Plan("snap", {"light_sheet": "bottom", "exposure_ms": 5})
EMBRYO = {"name": "e1", "x_um": 20, "y_um": 0}
LAPSE = Plan(
    "time_lapse",
    {**SWEEP, "embryos": [EMBRYO], "num_points": 1, "interval_s": 0.1, "num_failures": 0},
)
FOCUS = Plan("focus", {})
STAGE = Plan("move_stage", {"x_um": 30, "y_um": 20})
FAR = Plan("move_stage", {"x_um": 900, "y_um": 0})
SHORT = "4 of 12 frames"
POWER = ("Coherent-Scientific Remote", "Laser 488-150C - PowerSetpoint (%)")


@dataclass(frozen=True)
class Row:
    """A fault, the plan that meets it, and what it says.

    Parameters
    ----------
    plan
        Which fails, and completes once the fault is gone.
    cause
        Lets the fault be there.
    says
        A pattern of what the failure says: what is at fault.
    """

    plan: Plan
    cause: Cause
    says: str


def axis(letter: str, **fault: Any) -> Cause:
    return lambda faults: faults.axes.update({letter: AxisFault(**fault)})


def camera(label: str, **fault: Any) -> Cause:
    return lambda faults: faults.cameras.update({label: CameraFault(**fault)})


def reads(label: str, name: str, value: object) -> Cause:
    return lambda faults: faults.read_backs.update({(label, name): value})


def axes() -> Iterator[tuple[str, Row]]:
    stage = {"X": "XY:31 came to rest at x", "Y": "XY:31 came to rest at y"}
    drives = {"Z": ("focus", 160), "V": ("f_drive", 110), "P": ("piezo_a", 9), "Q": ("piezo_b", 9)}
    plans = {letter: (STAGE, "xy_stage", says) for letter, says in stage.items()}
    for letter, (drive, z_um) in drives.items():
        plan = Plan("move_focus", {"z_um": z_um, "drive": drive})
        plans[letter] = (plan, drive, rf"{letter}:\d+ came to rest at z")
    for letter, (plan, device, rests) in plans.items():
        sticks_at_um = {"Z": 153, "V": 103}.get(letter, 3)
        stuck = Row(plan, axis(letter, sticks_at_um=sticks_at_um), f"{device}: .*{rests}")
        yield f"{letter} sticks", stuck
        if letter in "XVP":  # one of each kind
            yield f"{letter} overshoots", Row(plan, axis(letter, overshoots_um=4), stuck.says)
            said = f"{device}: .*:N-21. It was told to go to .*refused"
            yield f"{letter} refuses", Row(plan, axis(letter, refuses=":N-21"), said)


def cameras() -> Iterator[tuple[str, Row]]:
    views = {
        "a": (A, "HamCam1", 5),
        "b": (B, "HamCam2", 5),
        "dual, the first": (DUAL, "HamCam1", 5),
        "dual, the second": (DUAL, "HamCam2", 5),
        "bottom": (BOTTOM, "Bottom PCO", 0),
    }
    for view, (plan, label, frame) in views.items():
        came = rf"{label}.* {frame} of"
        dropped = rf"{label} (delivered|ended)"
        yield f"{view} dies", Row(plan, camera(label, dies_after=frame), came)
        if view == "b":
            continue  # alone it is as the other
        yield f"{view} drops", Row(plan, camera(label, drops=frozenset({frame})), dropped)
        yield f"{view} stalls", Row(plan, camera(label, stalls_after=frame), came)


TABLE: dict[str, Row] = {
    **dict(axes()),
    "a piezo that sticks in a sweep": Row(A, axis("P", sticks_at_um=0), "piezo_a .*not follow"),
    "that of side b": Row(B, axis("Q", sticks_at_um=0), "piezo_b .*not follow"),
    "one of two": Row(DUAL, axis("Q", sticks_at_um=0), "piezo_b .*not follow"),
    "in a focus": Row(FOCUS, axis("P", sticks_at_um=0), "piezo_a .*not follow"),
    "a stage in a time-lapse": Row(LAPSE, axis("X", refuses=":N-21"), "xy_stage: .*:N-21"),
    **dict(cameras()),
    "a camera that stalls and is well again": Row(
        A, camera("HamCam1", stalls_after=5, stalls_for_s=0.9), "HamCam1 delivered 5 of 12"
    ),
    "a camera in a time-lapse": Row(
        LAPSE, camera("HamCam1", dies_after=5), "of e1: HamCam1 ended .* 5 of 12"
    ),
    "an exposure read back wrongly": Row(
        A, camera("HamCam1", reads_exposure_ms=7), "camera_a was asked .*1 ms and takes 7 ms"
    ),
    "that of the camera below": Row(
        BOTTOM, camera("Bottom PCO", reads_exposure_ms=7), "bottom_camera was asked .*takes 7 ms"
    ),
    "a scanner read back wrongly": Row(
        Plan("acquire_volume", {**SWEEP, "center_um": 3}),
        reads("Scanner:AB:33", "SingleAxisYOffset(deg)", 1.5),
        r"Scanner:AB:33 was told SingleAxisYOffset\(deg\) = .* reads back 1.5",
    ),
    "a piezo read back wrongly": Row(
        Plan("move_focus", {"z_um": 9, "drive": "piezo_a"}),
        axis("P", reads_off_um=-2),
        "piezo_a: .*came to rest at z 7 µm, asked for 9 µm",
    ),
    "a piezo read back wrongly in a sweep": Row(A, axis("P", reads_off_um=9), "piezo_a .*follow"),
    "a laser power read back wrongly": Row(
        Plan("acquire_volume", {**SWEEP, "powers_percent": [3]}),
        reads(*POWER, 5.0),
        "PowerSetpoint .* = 3.* reads back 5",
    ),
    "a laser power that does not go down": Row(
        Plan("acquire_volume", {**SWEEP, "powers_percent": [2.5]}),
        lambda faults: faults.keeps.add(POWER),
        "PowerSetpoint .* = 2.5 and reads back",
    ),
    "a gate that stays closed": Row(
        A, lambda faults: setattr(faults, "gate_sticks", True), "Laser .*reads back 'ALL OFF'"
    ),
    "an answer that takes too long": Row(
        A, lambda faults: faults.answer_late(0.9), "did not answer within 0.6 s"
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwinBench]:
    with booted_twin(tmp_path_factory.mktemp("twin")) as bench:
        assert bench.run(FOCUS).state == "completed"  # which leaves the detectors' process
        yield bench


@pytest.fixture
def bench(shared: TwinBench) -> Iterator[TwinBench]:
    yield shared
    shared.put_back()


def assert_it_went_well(bench: TwinBench, plan: Plan) -> None:
    """The plan completes, and each volume that it tells of is there and whole."""
    ended = bench.run(plan)
    assert ended.state == "completed", ended.why
    found = ended.result.return_value or {}
    for one in [*found.get("volumes", []), found]:
        if "uid" in one:
            assert bench.layer.store.verify(one["uid"]).status == "complete"
    assert not bench.shines


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_a_fault_is_told_and_gone_when_it_is_gone(bench: TwinBench, row: Row) -> None:
    before = bench.volumes()
    row.cause(bench.faults)
    ended = bench.run(row.plan)

    assert ended.state == "failed"
    assert re.search(row.says, ended.why), ended.why
    assert not bench.shines
    assert bench.volumes() == before

    bench.faults.mend()
    assert_it_went_well(bench, row.plan)
    assert bench.value("lasers") == "off"


def test_of_a_row_of_volumes_those_before_the_fault_are_there_and_whole(bench: TwinBench) -> None:
    row = Plan("burst", {**SWEEP, "num_volumes": 3})
    before = set(bench.volumes())
    bench.faults.cameras["HamCam1"] = CameraFault(dies_after=18)  # in the second
    ended = bench.run(row)
    assert ended.state == "failed"
    assert "HamCam1 ended its sequence" in ended.why
    assert not bench.shines
    (uid,) = (name for name in set(bench.volumes()) - before if "." not in name)
    assert bench.layer.store.verify(uid).status == "complete"
    bench.faults.mend()
    assert_it_went_well(bench, row)


def test_a_time_lapse_takes_again_what_a_fault_has_spoilt(bench: TwinBench) -> None:
    patient = Plan("time_lapse", {**LAPSE.kwargs, "num_points": 2, "num_failures": 100})
    bench.faults.cameras["HamCam1"] = CameraFault(dies_after=5)
    item = bench.begin(patient)
    until(lambda: "fail" in bench.run_ends(item))
    bench.faults.mend()
    ended = bench.ended(item)
    assert ended.state == "completed", ended.why
    embryo = ended.result.return_value["embryos"]["e1"]
    assert embryo["num_taken"] == 2
    assert embryo["num_failures"] >= 1


class TestAControllerThatStopsAnswering:
    """Nothing waits for it for ever, and the lasers are put out without it."""

    def test_before_anything_is_armed(self, bench: TwinBench) -> None:
        with bench.faults.controller_silent():
            ended = bench.run(A)
            assert (ended.state, bench.shines) == ("failed", False)
            assert "XYStage:XY:31 did not answer within 0.6 s" in ended.why
        assert_it_went_well(bench, A)

    def test_during_a_volume(self, bench: TwinBench) -> None:
        before = bench.volumes()
        item = bench.begin(LONG)
        until(lambda: bench.is_lit)
        with bench.faults.controller_silent():
            ended = bench.ended(item)
            assert (ended.state, bench.shines) == ("failed", False)
            assert not any(bench.world.light.passage.powers_mw), "the lasers themselves are off"
            assert bench.volumes() == before
            assert "light" in " ".join(bench.layer.oversight.health().reasons)
        assert_it_went_well(bench, LONG)
        assert bench.value("lasers") == "off"
        assert "light" not in " ".join(bench.layer.oversight.health().reasons)

    def test_in_the_light_of_the_lamp(self, bench: TwinBench) -> None:
        item = bench.begin(Plan("snap", {"light_sheet": "bottom", "exposure_ms": 200}))
        until(lambda: bench.is_lit)
        with bench.faults.controller_silent():
            ended = bench.ended(item)
            assert ended.state == "failed"
            assert "led (LED:X:31) does not answer" in ended.why
            assert "Switch the light off by hand" in ended.why
            assert "led" in " ".join(bench.layer.oversight.health().reasons)
        assert_it_went_well(bench, BOTTOM)

    def test_in_a_move(self, bench: TwinBench) -> None:
        item = bench.begin(FAR)
        until(lambda: bench.world.x.is_moving)
        with bench.faults.controller_silent():
            ended = bench.ended(item)
            assert ended.state == "failed"
            assert "xy_stage (XYStage:XY:31) does not answer" in ended.why
        assert_it_went_well(bench, FAR)
        assert bench.world.x.position_um() == 900

    def test_and_a_stop_that_says_what_it_does_not_know(
        self, bench: TwinBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("gently.core.stop._DEVICE_S", 1.0)
        item = bench.begin(LONG)
        until(lambda: bench.is_lit)
        with bench.faults.controller_silent():
            report = bench.layer.stop("the controller is silent")
            assert not report.success
            assert not bench.shines
            silent = {name for name, found in report.devices.items() if not found.stopped}
            assert {"xy_stage", "piezo_a", "lasers"} <= silent
            assert "camera_a" not in silent
        assert bench.ended(item).state in ("aborted", "failed")
        until(lambda: not bench.layer.instrument.core._stops.is_latched)
        assert_it_went_well(bench, LONG)


class TestALightThatStaysOn:
    """It is told as on; what needs light does not run, until the light is out."""

    def test_a_gate_that_sticks_keeps_the_queue_from_going_on(self, bench: TwinBench) -> None:
        items = [plan.item() for plan in (LONG, A)]
        for item in items:
            bench.layer.add(item, len)
        bench.layer.queue.start()
        until(lambda: bench.is_lit)
        bench.faults.gate_sticks = True
        ended = bench.ended(items[0])
        assert ended.state == "failed"
        assert "PLogic:E:36 reads back '488 only'. The lasers themselves were" in ended.why
        assert not bench.shines
        again, waiting = bench.layer.queue.snapshot().waiting  # the one that failed is put back
        assert (bench.layer.queue.running, waiting) == (None, items[1])
        assert bench.value("lasers") == "488 only", "never told as off"

        bench.layer.queue.start()  # by hand, although it is not mended
        lit_ms = bench.world.light.count().lit_ms
        assert bench.ended(again).state == "failed"
        assert bench.world.light.count().lit_ms == lit_ms, "nothing was lit"
        assert bench.run(STAGE).state == "completed", "what needs no light runs"

        bench.faults.mend()
        bench.layer.queue.start()
        until(lambda: bench.layer.queue.running is None)
        queue = bench.layer.queue.snapshot()
        assert not queue.waiting
        assert [item.state for item in queue.history[-2:]] == ["completed"] * 2
        assert bench.value("lasers") == "off"

    def test_lasers_that_cannot_be_switched_off_either_are_for_the_emergency_switch(
        self, bench: TwinBench
    ) -> None:
        item = bench.begin(LONG)
        until(lambda: bench.is_lit)
        bench.faults.keeps.add((POWER[0], "Laser 488-150C - State"))
        bench.faults.gate_sticks = True
        ended = bench.ended(item)
        assert ended.state == "failed"
        assert "could not be switched off either" in ended.why
        assert "emergency switch now" in ended.why
        bench.faults.mend()
        assert_it_went_well(bench, A)

    def test_a_lamp_that_stays_on_is_told_as_open(self, bench: TwinBench) -> None:
        item = bench.begin(Plan("snap", {"light_sheet": "bottom", "exposure_ms": 200}))
        until(lambda: bench.is_lit)
        bench.faults.lamp_sticks = True
        ended = bench.ended(item)
        assert ended.state == "failed"
        assert "led is still open" in ended.why
        assert "by hand" in ended.why
        assert (bench.value("led"), bench.shines) == ("open", True)
        assert "led" in " ".join(bench.layer.oversight.health().reasons)
        bench.faults.mend()
        assert_it_went_well(bench, BOTTOM)
        assert bench.value("led") == "closed"


class TestWhatADeviceWasToldIsNoLongerTrue:
    """The cache of what was written is wrong: that plan fails, the next writes all again."""

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda hub: _put(hub.world.scan.settings, "SPIMNumSlices", 4), SHORT),
            (lambda hub: _put(hub.cameras["HamCam1"].settings, "SENSOR MODE", "AREA"), "0 of 12"),
            (
                lambda hub: _put(
                    hub.world.scan.piezos["A"].settings, "SingleAxisAmplitude(um)", 0.0
                ),
                "piezo_a .*not follow",
            ),
        ],
        ids=["the scan card's", "the camera's", "the piezo's"],
    )
    def test_behind_the_device_layers_back(
        self, bench: TwinBench, change: Callable[[TwinHub], None], says: str
    ) -> None:
        assert_it_went_well(bench, A)
        change(bench.hub)
        ended = bench.run(A)
        assert ended.state == "failed"
        assert re.search(says, ended.why), ended.why
        assert_it_went_well(bench, A)


class TestASlowSerialLine:
    """It takes its time, and changes nothing."""

    def test_of_an_eighth_of_a_second_an_exchange(self, bench: TwinBench) -> None:
        assert_it_went_well(bench, LONG)  # what it writes needs not be written again
        bench.hub.set_latency_ms(125)
        assert_it_went_well(bench, LONG)

    def test_in_which_a_piezo_that_sticks_is_seen_all_the_same(self, bench: TwinBench) -> None:
        assert_it_went_well(bench, LONG)
        bench.hub.set_latency_ms(60)
        bench.faults.axes["P"] = AxisFault(sticks_at_um=0)
        ended = bench.run(LONG)
        assert ended.state == "failed"
        assert "piezo_a" in ended.why

    def test_one_answer_that_comes_late_but_in_time(self, bench: TwinBench) -> None:
        bench.faults.answer_late(0.3)
        assert_it_went_well(bench, A)


def test_a_fence_that_is_read_back_wrongly_is_refused_at_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {("XYStage:XY:31", "UpperLimX(mm)"): 5.0}
    monkeypatch.setattr("devices.twin.world.Faults", lambda: Faults(read_backs=wrong))
    with pytest.raises(InstrumentError, match=r"xy_stage: .*UpperLimX.* = 0.983 and reads back 5"):
        Instrument(load_instrument_file("twin"), open_sink=lambda _: pytest.fail("no volume"))


def _put(settings: Any, name: str, value: object) -> None:
    settings[name] = value
