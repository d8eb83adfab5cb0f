"""A disk that is full, fails, or takes less than it was given: the same promises."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devices.triggered import TriggeredSlicer
from gently.core.errors import PlanRefusedError
from gently.core.queue import Item
from storage import VolumeStore, disk
from tests.faults.bench import SWEEP, Bench, booted

VOLUME_BYTES = 12 * 512 * 512 * 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for one volume, but not for two."""
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("mounting a small file system needs Linux and root")
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=10m", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def small(tmp_path: Path, small_disk: Path) -> Iterator[Bench]:
    with booted(tmp_path, small_disk) as bench:
        yield bench


@contextmanager
def filled(folder: Path, *, leaving: int) -> Iterator[None]:
    """Let another program take the disk's space."""
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(folder).free - leaving)
    try:
        yield
    finally:
        ballast.unlink()


def when_the_first_frame_comes(
    monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]
) -> None:
    """Do something once the space is reserved and the light is on."""
    lit = TriggeredSlicer._lit

    @contextmanager
    def disturbed(self: TriggeredSlicer, *args: Any) -> Iterator[None]:
        with lit(self, *args):
            happens()
            yield

    monkeypatch.setattr(TriggeredSlicer, "_lit", disturbed)


# ---------------------------------------------------------------- full


def test_a_disk_that_is_too_small_refuses_the_plan_with_both_sizes(small: Bench) -> None:
    slices = 40
    with pytest.raises(PlanRefusedError) as refused:
        small.layer.execute(Item(name="acquire_volume", kwargs={"num_slices": slices}))
    assert refused.value.errors[0].field == "num_slices"
    said = str(refused.value)
    assert f"needs {slices * 512 * 512 * 2} bytes" in said
    assert "bytes free" in said
    small.assert_nothing_is_left()
    small.assert_the_next_works()


def test_a_disk_that_fills_up_between_check_and_start_fails_before_the_light_goes_on(
    small: Bench, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VolumeStore, "free_bytes", lambda _: 1 << 40)
    monkeypatch.setattr(TriggeredSlicer, "_lit", lambda *_: pytest.fail("the light went on"))
    with filled(small_disk, leaving=VOLUME_BYTES // 2):
        ended = small.acquire(**SWEEP)
    assert ended.state == "failed"
    assert "the volume needs" in ended.why
    assert "Free space there" in ended.why
    small.assert_nothing_is_left()
    monkeypatch.undo()
    small.assert_the_next_works()


def test_a_disk_that_fills_up_in_mid_volume_takes_nothing_from_a_volume_that_owns_its_space(
    small: Bench, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free: list[int] = []

    def fill() -> None:
        ballast.__enter__()
        free.append(shutil.disk_usage(small_disk).free)

    ballast = filled(small_disk, leaving=0)
    when_the_first_frame_comes(monkeypatch, fill)
    ended = small.acquire(**SWEEP)
    ballast.__exit__(None, None, None)
    assert free == [0]
    assert ended.state == "completed", ended.why
    small.layer.store.verify(ended.result.return_value["uid"])


def test_a_disk_that_is_full_in_mid_volume_where_space_cannot_be_owned_fails_the_volume(
    small: Bench, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "reserve", lambda _: None)  # as on FAT, or over a network
    ballast = filled(small_disk, leaving=VOLUME_BYTES // 2)
    when_the_first_frame_comes(monkeypatch, ballast.__enter__)
    ended = small.acquire(**SWEEP)
    ballast.__exit__(None, None, None)
    assert ended.state == "failed"
    assert "could not be written (OSError(28, 'No space left on device'))" in ended.why
    small.assert_nothing_is_left()
    monkeypatch.undo()
    small.assert_the_next_works()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
def test_a_limit_on_the_size_of_files_that_comes_in_mid_volume_fails_the_volume(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = (VOLUME_BYTES // 2, before[1])
    when_the_first_frame_comes(
        monkeypatch, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    )
    try:
        ended = bench.acquire(**SWEEP)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ended.state == "failed"
    assert "could not be written (OSError(27, 'File too large'))" in ended.why
    bench.assert_nothing_is_left()
    monkeypatch.undo()
    bench.assert_the_next_works()


# ---------------------------------------------------------------- failing

pwrites = pytest.mark.skipif(not hasattr(os, "pwrite"), reason="no pwrite here")


def write_instead(monkeypatch: pytest.MonkeyPatch, write: Callable[..., int]) -> None:
    """Replace the system call by which frames are written."""
    real = os.pwrite
    monkeypatch.setattr(
        os, "pwrite", lambda fd, data, offset: write(real, fd, memoryview(data), offset)
    )


@pwrites
def test_writes_that_take_less_than_they_were_given_go_on_until_all_is_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def short(real: Any, fd: int, data: memoryview, offset: int) -> int:
        calls.append(offset)
        return int(real(fd, data[: 64 * disk.ALIGNMENT], offset))

    write_instead(monkeypatch, short)
    ended = bench.acquire(**SWEEP)
    assert ended.state == "completed", ended.why
    assert len(calls) == 12 * 2
    bench.layer.store.verify(ended.result.return_value["uid"])


@pwrites
def test_a_write_that_takes_nothing_fails_the_volume(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_instead(monkeypatch, lambda *_: 0)
    ended = bench.acquire(**SWEEP)
    assert ended.state == "failed"
    assert "could not be written" in ended.why
    assert "took no byte and gave no reason" in ended.why
    bench.assert_nothing_is_left()
    monkeypatch.undo()
    bench.assert_the_next_works()


@pwrites
@pytest.mark.parametrize("good_writes", [0, 5, 11])
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_an_error_of_the_disk_fails_the_volume_whenever_it_comes(
    good_writes: int, code: int, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter(range(good_writes))

    def fail(real: Any, fd: int, data: memoryview, offset: int) -> int:
        if next(left, None) is None:
            raise OSError(code, os.strerror(code))
        return int(real(fd, data, offset))

    write_instead(monkeypatch, fail)
    ended = bench.acquire(**SWEEP)
    assert ended.state == "failed"
    assert os.strerror(code) in ended.why
    assert "Look after the disk" in ended.why
    bench.assert_nothing_is_left()
    monkeypatch.undo()
    bench.assert_the_next_works()


def test_an_error_that_only_the_sync_meets_fails_the_volume(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    ended = bench.acquire(**SWEEP)
    assert ended.state == "failed"
    assert os.strerror(errno.EIO) in ended.why
    bench.assert_nothing_is_left()
    monkeypatch.undo()
    bench.assert_the_next_works()


# ---------------------------------------------------------------- the other format


@pytest.mark.parametrize("call", [pytest.param("pwrite", marks=pwrites), "fsync"])
def test_a_volume_in_ome_zarr_fails_by_the_same_errors_and_leaves_nothing(
    call: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, call, fail)
    ended = bench.acquire(**SWEEP, file_format="ome-zarr")
    assert ended.state == "failed"
    assert os.strerror(errno.EIO) in ended.why
    bench.assert_nothing_is_left()
    monkeypatch.undo()
    assert bench.acquire(**SWEEP, file_format="ome-zarr").state == "completed"
