"""A camera that drops, repeats, reorders or ends: never completed, always the cause."""

import pytest

from tests.faults.bench import SWEEP, Bench
from tests.faults.camera import (
    Fault,
    counts_wrongly,
    dies,
    drops,
    repeats,
    stalls,
    swaps,
)

FAULTS: dict[str, tuple[Fault, str]] = {
    "drops a frame": (drops(4), "delivered frame 5 where frame 4 was due: 1 lost"),
    "drops many frames": (drops(2, 3, 4), "delivered frame 5 where frame 2 was due: 3 lost"),
    "drops the last frame": (drops(11), "ended its sequence after 11 of 12 frames"),
    "drops all frames": (drops(*range(12)), "ended its sequence after 0 of 12 frames"),
    "repeats a frame": (repeats(6), "delivered frame 6 where frame 7 was due: one came again"),
    "reorders frames": (swaps(3), "delivered frame 4 where frame 3 was due: 1 lost"),
    "counts a gap": (counts_wrongly(5, 2), "delivered frame 7 where frame 5 was due: 2 lost"),
    "counts backwards": (counts_wrongly(5, -2), "delivered frame 3 where frame 5 was due: one"),
}


@pytest.mark.parametrize(("fault", "cause"), FAULTS.values(), ids=FAULTS)
def test_a_camera_that(fault: Fault, cause: str, bench: Bench) -> None:
    bench.camera.fault = fault
    ended = bench.acquire(**SWEEP)
    assert ended.state == "failed"
    assert cause in ended.why
    assert "Nothing of the volume is kept" in ended.why
    bench.assert_nothing_is_left()
    bench.assert_the_next_works()


def test_a_repeated_frame_is_known_by_its_pixels_where_the_camera_does_not_count(
    uncounted: Bench,
) -> None:
    uncounted.camera.fault = repeats(6)
    ended = uncounted.acquire(**SWEEP)
    assert ended.state == "failed"
    assert "slices 7 have exactly the pixels of the slice before" in ended.why
    uncounted.assert_nothing_is_left()
    uncounted.assert_the_next_works()


def test_a_drop_shows_as_a_short_stack_where_nothing_is_counted(uncounted: Bench) -> None:
    uncounted.camera.fault = drops(4)
    ended = uncounted.acquire(**SWEEP)
    assert ended.state == "failed"
    assert "ended its sequence after 11 of 12 frames" in ended.why
    uncounted.assert_nothing_is_left()


# UniMMCore lets the error of a Python camera end its thread, and tells nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_camera_whose_driver_dies(bench: Bench) -> None:
    bench.camera.fault = dies(after=5)
    ended = bench.acquire(**SWEEP)
    assert ended.state == "failed"
    assert "ended its sequence after 5 of 12 frames" in ended.why
    bench.assert_nothing_is_left()
    bench.assert_the_next_works()


def test_a_camera_that_stalls_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.layer.instrument.core._sequences, "_late_s", 0.3)
    bench.camera.fault, bench.camera.extra_frames = stalls(after=5), 100_000
    ended = bench.acquire(**SWEEP)
    assert ended.state == "failed"
    assert "delivered 5 of 12 frames, then none for 0.3" in ended.why
    bench.assert_nothing_is_left()
    bench.assert_the_next_works()


def test_an_instrument_file_that_names_no_tag_of_the_camera_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = bench.layer.instrument.devices["camera_a"]
    monkeypatch.setattr(camera, "frame_counter", "Nr")
    ended = bench.acquire(**SWEEP)
    assert ended.state == "failed"
    assert "does not count its frames in the tag 'Nr'; they have:" in ended.why
    assert "FrameNumber" in ended.why
    bench.assert_nothing_is_left()


class TestAShortStackThatIsToBeKept:
    """Kept as incomplete, and failed all the same."""

    def test_is_published_as_incomplete_with_its_gaps_and_named_by_the_failure(
        self, bench: Bench
    ) -> None:
        bench.camera.fault = drops(4)
        ended = bench.acquire(**SWEEP, on_short="keep")
        assert ended.state == "failed"
        (uid,) = bench.announced("volume.incomplete")
        assert f"kept as the incomplete volume {uid}" in ended.why
        assert bench.announced() == []
        record = bench.layer.store.verify(uid)
        assert record.status == "incomplete"
        assert record.missing == tuple(range(4, 12))
        assert "delivered frame 5 where frame 4 was due" in record.reason
        assert bench.layer.store.list() == []
        bench.assert_the_next_works()

    def test_is_kept_in_ome_zarr_as_well(self, bench: Bench) -> None:
        bench.camera.fault = drops(4)
        ended = bench.acquire(**SWEEP, on_short="keep", file_format="ome-zarr")
        assert ended.state == "failed"
        (uid,) = bench.announced("volume.incomplete")
        record = bench.layer.store.verify(uid)
        assert (record.status, record.missing) == ("incomplete", tuple(range(4, 12)))

    def test_is_not_kept_if_nothing_came(self, bench: Bench) -> None:
        bench.camera.fault = drops(*range(12))
        ended = bench.acquire(**SWEEP, on_short="keep")
        assert ended.state == "failed"
        assert "Nothing of the volume is kept" in ended.why
        bench.assert_nothing_is_left()
        bench.assert_the_next_works()

    def test_is_complete_if_nothing_went_wrong(self, bench: Bench) -> None:
        assert bench.acquire(**SWEEP, on_short="keep").state == "completed"
        assert bench.announced("volume.incomplete") == []
        (record,) = bench.layer.store.list()
        assert (record.status, record.missing, record.repeated) == ("complete", (), 0)
