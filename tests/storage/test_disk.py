"""Each way to the disk puts every byte in its place, or says why not."""

import errno
import mmap
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from storage import StorageFullError, disk

PAGE = disk.ALIGNMENT
SLOTS = 40
Opener = Callable[[Path], disk.SlotFile]

needs_direct = pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no O_DIRECT here")
needs_advice = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="no fadvise here")
needs_fallocate = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no fallocate here")
WAYS = [
    pytest.param(disk.PlainFile, id="plain"),
    pytest.param(disk.WriteBehindFile, id="write-behind", marks=needs_advice),
    pytest.param(lambda path: disk.DirectFile(path, PAGE), id="direct", marks=needs_direct),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "slots"
    path.write_bytes(bytes(PAGE * (SLOTS + 1)))
    return path


@pytest.fixture
def page() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, PAGE) as page:
        yield page


@pytest.mark.parametrize("open_file", WAYS)
def test_slots_written_in_any_order_by_several_threads_lie_in_their_places(
    open_file: Opener, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_BEHIND_BYTES", 4 * PAGE)
    order = random.Random(1).sample(range(SLOTS), SLOTS)
    file = open_file(path)

    def write(slots: list[int]) -> None:
        with mmap.mmap(-1, PAGE) as page:
            for slot in slots:
                page[:] = bytes([slot + 1]) * PAGE
                with memoryview(page) as data:
                    file.write(PAGE * (slot + 1), data)

    threads = [threading.Thread(target=write, args=(order[n::3],)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    assert path.read_bytes() == b"".join(bytes([slot]) * PAGE for slot in range(SLOTS + 1))


@pytest.mark.parametrize("open_file", WAYS)
def test_closing_twice_is_harmless(open_file: Opener, path: Path) -> None:
    file = open_file(path)
    file.close()
    file.close()


@pytest.mark.parametrize("open_file", WAYS[1:])
def test_a_short_write_is_continued(
    open_file: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slots"
    path.write_bytes(bytes(4 * PAGE))
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:PAGE], at))
    file = open_file(path)
    with mmap.mmap(-1, 3 * PAGE) as buffer:
        buffer[:] = os.urandom(3 * PAGE)
        with memoryview(buffer) as data:
            file.write(PAGE, data)
        file.close()
        assert path.read_bytes()[PAGE:] == buffer[:]


def test_a_short_plain_write_is_continued(path: Path) -> None:
    file = disk.PlainFile(path)
    real = file._file
    stub: Any = SimpleNamespace(
        seek=real.seek, write=lambda data: real.write(data[:100]), close=real.close
    )
    file._file = stub
    file.write(50, memoryview(b"abcd" * 100))
    file.close()
    assert path.read_bytes()[50:450] == b"abcd" * 100


@pytest.mark.parametrize("open_file", WAYS[1:])
def test_a_write_that_takes_nothing_is_an_error_and_no_endless_loop(
    open_file: Opener, path: Path, page: mmap.mmap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 0)
    file = open_file(path)
    with pytest.raises(OSError, match="took no byte"):
        file.write(PAGE, memoryview(page))
    file.close()


@needs_direct
@needs_advice
def test_aligned_frames_go_past_the_page_cache_and_others_through_it(path: Path) -> None:
    for first, size, way in [
        (PAGE, PAGE, (disk.DirectFile, disk.WriteBehindFile)),  # the latter on file systems without
        (PAGE, PAGE + 2, (disk.WriteBehindFile,)),
        (PAGE + 8, PAGE, (disk.WriteBehindFile,)),
    ]:
        file = disk.open_slots(path, first, size)
        assert isinstance(file, way)
        file.close()


@needs_direct
@needs_advice
@pytest.mark.parametrize("refuser", ["open", "preadv"])
def test_a_file_system_that_refuses_direct_access_is_written_behind(
    refuser: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(disk, "os", _like_os(**{refuser: refuse}))
    file = disk.open_slots(path, PAGE, PAGE)
    assert isinstance(file, disk.WriteBehindFile)
    file.close()


def test_a_platform_without_any_of_it_writes_plainly(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = _like_os("O_DIRECT", "preadv", "pwrite", "posix_fadvise", "posix_fallocate")
    monkeypatch.setattr(disk, "os", bare)
    disk.reserve(path)
    file = disk.open_slots(path, PAGE, PAGE)
    assert isinstance(file, disk.PlainFile)
    file.write(PAGE, memoryview(b"x"))
    file.close()
    assert path.stat().st_size == PAGE * (SLOTS + 1)


def test_an_error_of_the_device_is_no_reason_to_try_another_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(disk, "os", _like_os(O_DIRECT=0, preadv=fail, open=os.open, pwrite=None))
    with pytest.raises(OSError, match="Input/output error"):
        disk.open_slots(path, PAGE, PAGE)


@needs_fallocate
def test_a_reserved_file_owns_its_holes(tmp_path: Path) -> None:
    path = tmp_path / "holes"
    with path.open("wb") as file:
        file.truncate(1 << 20)
    assert path.stat().st_blocks * 512 < 1 << 20
    disk.reserve(path)
    assert path.stat().st_blocks * 512 >= 1 << 20


@needs_fallocate
def test_a_file_system_that_cannot_reserve_keeps_the_length(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    disk.reserve(path)
    assert path.stat().st_size == PAGE * (SLOTS + 1)


def test_too_little_room_names_what_is_needed_and_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with (
        pytest.raises(StorageFullError, match=r"needs 1001 bytes.*1000 bytes free") as full,
        disk.room_for(tmp_path, 1001),
    ):
        pytest.fail("the file was begun")
    assert (full.value.bytes_needed, full.value.bytes_free) == (1001, 1000)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_quota_or_limit_that_only_shows_when_the_file_is_made_is_a_full_disk(
    code: int, tmp_path: Path
) -> None:
    with pytest.raises(StorageFullError), disk.room_for(tmp_path, 1):
        raise OSError(code, os.strerror(code))


def test_any_other_error_while_the_file_is_made_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), disk.room_for(tmp_path, 1):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_syncing_a_folder_is_skipped_where_folders_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.sync_folder(tmp_path)
    monkeypatch.setattr(disk, "os", _like_os("O_DIRECTORY", open=None))
    disk.sync_folder(tmp_path)


def _like_os(*without: str, **changes: Any) -> SimpleNamespace:
    """Return the os module with some names gone or changed."""
    here = {name: value for name, value in vars(os).items() if name not in without}
    return SimpleNamespace(**(here | changes))
