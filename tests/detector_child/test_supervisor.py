"""The detectors' process does its work, or dies, and nobody waits longer than they wanted to."""

import pickle
from pathlib import Path

import numpy as np
import psutil
import pytest
from rpyc.core.stream import SocketStream

from benchmarks.detection import overlaps
from gently.detector_child import (
    Finding,
    Outcome,
    Supervisor,
    SupervisorError,
)
from gently.detector_child import child as child_module
from storage import LABELS, VolumeRecord, labels_tag
from tests.detection.sam.test_models import Evil
from tests.detector_child.conftest import PHANTOM, Bench, bench_in
from tests.waiting import until


def finding_of(record: VolumeRecord) -> Finding:
    return Finding.model_validate(record.spec.metadata[LABELS])


def test_no_process_is_started_before_it_is_needed(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, {})
    status = supervisor.status()
    supervisor.close()
    assert (status["state"], status["pid"], status["starts"]) == ("not started", None, 0)


def test_what_is_found_lies_in_the_store_and_says_where_it_is_from(bench: Bench) -> None:
    record = bench.detect(session_id="monday", item_uid="i1", settings={"length_um": 51})
    assert (record.shape, record.dtype) == ((1, *bench.source.shape[1:]), "uint16")
    assert record.spec.tags == (LABELS, labels_tag(bench.source.uid))
    assert (record.spec.session_id, record.spec.item_uid) == ("monday", "i1")
    finding = finding_of(record)
    assert (finding.source_uid, finding.detector) == (bench.source.uid, "classical")
    assert finding.settings["length_um"] == 51
    with bench.store.open(record.uid) as volume:
        labels = np.array(volume.array[0])
    assert {each.label for each in finding.objects} == set(np.unique(labels)) - {0}
    ious = overlaps(PHANTOM.truth, labels)
    assert len(ious) == len(PHANTOM.ovals)
    assert min(ious) >= 0.85


def test_the_outlines_of_the_tiny_sam_are_right_through_the_process(bench: Bench) -> None:
    record = bench.detect("sam")
    finding = finding_of(record)
    assert (finding.slices, finding.detector) == ((LABELS, "classical", "sam"), "sam")
    with bench.store.open(record.uid) as volume:
        assert np.mean(overlaps(PHANTOM.truth, np.array(volume.array[2]))) >= 0.8
    about = bench.supervisor.status()["about"]
    assert about["model"] == "tiny"
    assert len(about["sha256"]) == 64
    assert about["load_s"] > 0
    assert bench.supervisor.status()["memory_bytes"] > 50e6


def test_embryo_3_stays_embryo_3(bench: Bench) -> None:
    first = {each.name: each for each in finding_of(bench.detect()).objects}
    assert set(first) == {f"embryo {n}" for n in range(1, len(first) + 1)}
    moved = {name: (each.x_um + 8, each.y_um - 5) for name, each in first.items()}
    lost = moved.pop("embryo 2")
    elsewhere = {"embryo 40": (9000.0, 9000.0), "embryo 41": (first["embryo 1"].x_um, lost[1] + 90)}
    again = finding_of(bench.detect(known={**moved, **elsewhere}))
    for each in again.objects:
        if each.name in moved:
            was = first[each.name]
            assert (each.x_um, each.y_um) == pytest.approx((was.x_um, was.y_um))
    # Whom nobody knows gets a name that nobody had; who is out of sight is not missed.
    assert {each.name for each in again.objects} - set(moved) == {"embryo 42"}
    assert "embryo 40" not in again.absent


def test_no_pixel_goes_between_the_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossed: list[int] = []

    class Counted(SocketStream):  # type: ignore[misc]
        def read(self, count: int) -> bytes:
            crossed.append(count)
            return bytes(super().read(count))

        def write(self, data: bytes) -> None:
            crossed.append(len(data))
            super().write(data)

    monkeypatch.setattr(child_module, "SocketStream", Counted)
    with bench_in(tmp_path) as bench:
        record = bench.detect()
        assert record.spec.volume_bytes + bench.source.spec.volume_bytes > 4_000_000
    assert 500 < sum(crossed) < 5_000


def test_an_order_that_cannot_be_carried_out_harms_nobody(bench: Bench) -> None:
    pid = bench.detect() and bench.supervisor.status()["pid"]
    outcome = bench.begin(view={"plane": 7}).outcome()
    assert outcome.error == "the volume has the planes 0 to 0, not 7"
    assert bench.supervisor.status()["last_error"] == outcome.error
    bench.detect()
    assert bench.supervisor.status()["pid"] == pid


def test_a_process_that_fails_is_replaced_and_its_caller_told(doomed: Bench) -> None:
    failures = {
        "hang": "not done within 2 s",
        "die": "its process",
        "eat slowly": "more than its 734 MB of memory",
        "ask for too much": "more than its 734 MB of memory",
    }
    pids = []
    for does, why in failures.items():
        assert doomed.bad("nothing").outcome() == Outcome()
        process = psutil.Process(doomed.supervisor.status()["pid"])
        pids.append(process.pid)
        outcome = doomed.bad(does, 2 if does == "hang" else 240).outcome()
        assert why in outcome.error
        assert not outcome.is_cancelled
        assert not process.is_running()
        assert why in doomed.supervisor.status()["last_error"]
    assert len(set(pids)) == len(pids)


def test_a_process_that_is_killed_at_its_work_or_at_its_rest_is_replaced(doomed: Bench) -> None:
    pending = doomed.bad("hang")
    psutil.Process(doomed.pid_at_work()).kill()
    assert "its process" in pending.outcome().error
    assert doomed.bad("nothing").outcome() == Outcome()
    psutil.Process(doomed.pid_at_work()).kill()
    until(lambda: doomed.supervisor.status()["state"] == "ended")
    assert doomed.bad("nothing").outcome() == Outcome()


def test_in_a_flood_of_orders_some_wait_the_others_are_refused_and_all_are_told(
    doomed: Bench,
) -> None:
    at_work = doomed.bad("hang", timeout_s=100)
    doomed.pid_at_work()
    impatient = [doomed.begin(timeout_s=0.3), doomed.begin(timeout_s=0.3)]
    patient = doomed.bad("nothing")
    for _ in range(50):
        with pytest.raises(SupervisorError, match="3 detections wait already"):
            doomed.begin()
    # Those that wait are told in time, though one is at work that hangs.
    assert all("not done within 0.3 s" in each.outcome().error for each in impatient)
    assert doomed.supervisor.status()["working_on"] == at_work.uid
    doomed.supervisor.cancel(at_work.uid)
    assert at_work.outcome() == Outcome(error="it was cancelled", is_cancelled=True)
    assert patient.outcome() == Outcome()
    assert doomed.supervisor.status()["last_error"] == ""


def test_a_process_that_stands_still_before_its_work_is_replaced(doomed: Bench) -> None:
    assert doomed.bad("nothing").outcome() == Outcome()
    psutil.Process(doomed.pid_at_work()).suspend()
    assert "not done within 0.5 s" in doomed.bad("nothing", 0.5).outcome().error
    assert doomed.bad("nothing").outcome() == Outcome()


def test_what_waits_can_be_cancelled(doomed: Bench) -> None:
    at_work, waiting = doomed.bad("hang"), doomed.bad("nothing")
    doomed.supervisor.cancel(waiting.uid)
    assert waiting.outcome().is_cancelled
    assert doomed.supervisor.status()["working_on"] == at_work.uid


def test_one_that_keeps_dying_is_started_more_and_more_seldom(tmp_path: Path) -> None:
    with bench_in(tmp_path, first_pause_s=30.0) as bench:
        assert "ended" in bench.bad("die").outcome().error
        outcome = bench.begin(timeout_s=0.2).outcome()
        assert "waited for the detector, which had died (its process" in outcome.error
        assert bench.supervisor.status()["starts"] == 1


def test_a_malicious_checkpoint_is_not_run_and_the_classical_result_is_delivered_and_marked(
    tmp_path: Path,
) -> None:
    evil, victim = tmp_path / "evil.pth", tmp_path / "victim.txt"
    evil.write_bytes(pickle.dumps(Evil(victim), protocol=2))
    with bench_in(tmp_path, {"sam": {"model": "tiny", "checkpoint": str(evil)}}) as bench:
        finding = finding_of(bench.detect("sam"))
        assert (finding.asked, finding.detector) == ("sam", "classical")
        assert "more than weights" in finding.fallback_reason
        assert len(finding.objects) == len(PHANTOM.ovals)
    assert not victim.exists()


def test_closing_ends_what_is_at_work_and_what_waits(tmp_path: Path) -> None:
    with bench_in(tmp_path) as bench:
        pendings = [bench.bad("hang"), bench.begin()]
    assert all(pending.outcome().is_cancelled for pending in pendings)
    with pytest.raises(SupervisorError, match="the device layer ends"):
        bench.begin()
