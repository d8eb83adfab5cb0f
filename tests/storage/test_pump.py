"""The buffers between the camera and the disk."""

import mmap
from types import SimpleNamespace

import numpy as np
import pytest

from storage import disk, pump


def test_every_buffer_begins_on_a_page_and_none_overlaps() -> None:
    buffers = pump._buffers((33, 65), np.dtype("<u2"))
    starts = sorted(buffer.ctypes.data for buffer in buffers)
    assert len(starts) == pump.DEPTH
    assert all(start % disk.ALIGNMENT == 0 for start in starts)
    assert min(np.diff(starts)) >= 33 * 65 * 2


class Refusing(mmap.mmap):
    """Memory of a kernel that was built without huge pages."""

    def madvise(self, *_: int) -> None:
        raise OSError(22, "Invalid argument")


@pytest.mark.parametrize(
    "platform",
    [SimpleNamespace(mmap=Refusing, MADV_HUGEPAGE=14), SimpleNamespace(mmap=mmap.mmap)],
    ids=["refused", "unknown"],
)
def test_huge_pages_are_wished_for_and_not_needed(
    platform: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "mmap", platform)
    for buffer in pump._buffers((32, 64), np.dtype("<u2")):
        buffer[:] = 7
        assert buffer.sum() == 7 * 32 * 64
