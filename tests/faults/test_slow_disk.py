"""A disk that takes half as many frames as the camera makes: waited for, counted, or told."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storage import disk
from tests.faults.bench import Bench, booted

FRAMES_IN_BUFFER = 32
FAST = {"exposure_ms": 0.25}  # 8 ms to read a frame: 111 frames/s
CAMERA_FRAME_S = 0.009


class SlowFile:
    """Slots on a disk that takes one frame at a time, each for twice as long as the camera."""

    def __init__(self, path: Path) -> None:
        self._file = disk.PlainFile(path)

    def write(self, offset: int, data: memoryview) -> None:
        time.sleep(4 * CAMERA_FRAME_S)  # two threads write at once
        self._file.write(offset, data)

    def close(self) -> None:
        self._file.close()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(disk, "open_slots", lambda path, *_: SlowFile(path))
    with booted(tmp_path, tmp_path / "data", buffer_mb=16) as bench:
        yield bench


def taken(bench: Bench, **kwargs: Any) -> Any:
    ended = bench.acquire(**FAST, **kwargs)
    assert ended.state == "completed", ended.why
    return bench.layer.store.verify(ended.result.return_value["uid"])


def test_what_the_buffers_hold_is_taken_whole_and_the_waiting_is_counted(bench: Bench) -> None:
    record = taken(bench, num_slices=FRAMES_IN_BUFFER, step_um=0.25)
    assert record.waits > 0
    assert record.back_pressure_s > 0
    assert record.metadata()["back_pressure_s"] == record.back_pressure_s
    assert (record.status, record.metadata()["dropped"]) == ("complete", 0)


def test_a_sweep_that_is_longer_than_the_buffers_overflows_and_says_that_the_disk_was_slow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = bench.acquire(**FAST, num_slices=8 * FRAMES_IN_BUFFER, step_um=0.25)
    assert ended.state == "failed"
    assert "the image buffer overflowed" in ended.why
    assert "had waited" in ended.why
    assert "s for the disk" in ended.why
    bench.assert_nothing_is_left()
    monkeypatch.undo()
    bench.assert_the_next_works()


def test_what_came_before_an_overflow_is_kept_if_that_is_asked_for(bench: Bench) -> None:
    ended = bench.acquire(**FAST, num_slices=8 * FRAMES_IN_BUFFER, step_um=0.25, on_short="keep")
    assert ended.state == "failed"
    (uid,) = bench.announced("volume.incomplete")
    record = bench.layer.store.verify(uid)
    came = 8 * FRAMES_IN_BUFFER - len(record.missing)
    assert came > 0
    assert record.missing == tuple(range(came, 8 * FRAMES_IN_BUFFER))
    assert "overflowed" in record.reason
