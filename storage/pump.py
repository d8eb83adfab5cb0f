"""Frames on their way from the camera's thread to the disk, in bounded memory."""

import contextlib
import mmap
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from storage.disk import ALIGNMENT
from storage.errors import WriteFailedError

Frame = npt.NDArray[np.generic]
DEPTH: Final = 4
# While one thread hashes its frame, the other keeps the disk busy.
_THREADS: Final = 2


def memory_bytes(frame_bytes: int) -> int:
    """Return how much memory frames of this size take on their way, compressed ones too."""
    return (DEPTH + _THREADS) * frame_bytes


class FramePump:
    """A few page-aligned buffers, and the threads that empty them into `sink`.

    Parameters
    ----------
    sink
        Takes ``(index, frame)`` on a thread of the pump. Its first exception ends the work: what
        follows is dropped, and `put` and `drain` raise WriteFailedError from it.
    shape, dtype
        Of every frame.
    """

    def __init__(
        self,
        sink: Callable[[int, Frame], None],
        shape: tuple[int, int],
        dtype: np.dtype[np.generic],
    ) -> None:
        self._sink = sink
        self._free = _buffers(shape, dtype)
        self._full: deque[tuple[int, Frame]] = deque()
        self._closed = False
        self._changed = threading.Condition()
        self._failed: tuple[int, BaseException] | None = None
        self.waits = 0
        self.back_pressure_s = 0.0
        self._threads = [
            threading.Thread(target=self._run, name=f"volume-writer-{n}", daemon=True)
            for n in range(_THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, index: int, frame: Frame) -> None:
        """Copy `frame` and return; blocks, and counts it, while no buffer is free.

        After `close` the frame is dropped.
        """
        with self._changed:
            if not self._free:
                self._wait_for_buffer()
            self._raise_failure()
            if self._closed:
                return
            buffer = self._free.pop()
        np.copyto(buffer, frame, casting="equiv")
        with self._changed:
            self._full.append((index, buffer))
            self._changed.notify_all()

    def drain(self) -> None:
        """Wait until every frame is written, and end the threads."""
        with self._changed:
            self._changed.wait_for(lambda: self._failed or self._closed or self._all_back())
        self.close()
        self._raise_failure()

    def close(self) -> None:
        """Drop what is not yet written and end the threads. Idempotent."""
        with self._changed:
            self._closed = True
            self._full.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._free.clear()

    def _all_back(self) -> bool:
        return len(self._free) == DEPTH

    def _wait_for_buffer(self) -> None:
        began = time.perf_counter()
        self._changed.wait_for(lambda: self._free or self._failed or self._closed)
        self.waits += 1
        self.back_pressure_s += time.perf_counter() - began

    def _raise_failure(self) -> None:
        if self._failed:
            index, cause = self._failed
            raise WriteFailedError(index, cause) from cause

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._full or self._closed or self._failed)
                if self._closed or self._failed:
                    return
                index, buffer = self._full.popleft()
            try:
                self._sink(index, buffer)
            except BaseException as error:  # noqa: BLE001 - top of a thread: told to the caller
                with self._changed:
                    self._failed = self._failed or (index, error)
            with self._changed:
                self._free.append(buffer)
                self._changed.notify_all()


def _buffers(shape: tuple[int, int], dtype: np.dtype[np.generic]) -> list[Frame]:
    """Return DEPTH frames of page-aligned memory, in one mapping."""
    frame_bytes = shape[0] * shape[1] * dtype.itemsize
    stride = -(-frame_bytes // ALIGNMENT) * ALIGNMENT
    arena = mmap.mmap(-1, DEPTH * stride)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # A tenth less time per volume: few large pages are quicker to fault in and to pin for
        # direct writes. A kernel built without them refuses, and nothing is lost.
        with contextlib.suppress(OSError):
            arena.madvise(mmap.MADV_HUGEPAGE)
    return [np.ndarray(shape, dtype, buffer=arena, offset=slot * stride) for slot in range(DEPTH)]
