"""Writing one volume: frames in, a proven file under its final name out, or nothing at all.

What fell short is published only if that is asked for, and says so.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np
import xxhash

from storage import disk, formats, proof
from storage.errors import (
    FrameRefusedError,
    IncompleteVolumeError,
    UnprovenVolumeError,
    WriterClosedError,
)
from storage.ome_xml import Written
from storage.pump import Frame, FramePump
from storage.values import FrameInfo, VolumeRecord, VolumeSpec, as_reason, volume_checksum

PART: Final = ".part"
LOGGER = logging.getLogger(__name__)


class VolumeWriter:
    """One volume being written; made by `VolumeStore.create`.

    A context manager: leaving it without `finish` discards the volume. `write` may be called from
    several threads, `discard` from any thread at any time. Only `finish`, and `keep` for a volume
    that fell short, give the file its name.
    At the end `ended` is told once: the record, or None if the volume was discarded.
    """

    def __init__(
        self, spec: VolumeSpec, path: Path, *, ended: Callable[[VolumeRecord | None], None]
    ) -> None:
        self.spec: Final = spec
        self._path = path
        self._part = path.with_name(path.name + PART)
        self._tell_ended = ended
        self._created = datetime.now(UTC)
        self._frames: dict[int, FrameInfo] = {}
        self._digests: dict[int, bytes] = {}
        self._saturated: dict[int, int] = {}
        self._full_scale = proof.full_scale(spec)
        self._dtype: np.dtype[np.generic] = np.dtype(spec.dtype)
        self._taking = True
        self._ended = False
        self._claiming = threading.Lock()
        self._ending = threading.RLock()
        self._file = formats.of(spec).create(self._part, spec, self._created)
        try:
            little_endian = self._dtype.newbyteorder("<")
            self._pump = FramePump(self._store, spec.shape[1:], little_endian)
        except BaseException:
            self._file.close()
            raise

    def write(self, frame: Frame, info: FrameInfo) -> None:
        """Copy one frame on its way to its slot; the caller keeps its array.

        Blocks while the disk is behind by more than the buffers hold; the record counts it.

        Parameters
        ----------
        frame
            Shape (y, x) and dtype as the spec says.
        info
            Its slice, time and position.

        Raises
        ------
        FrameRefusedError
            Another shape or dtype, a slice outside the volume, or one that came already.
        WriteFailedError
            An earlier frame could not be written.
        WriterClosedError
            The volume was finished or discarded.
        """
        self._check(frame, info.index)
        with self._claiming:
            self._check_taking()
            if info.index in self._frames:
                raise FrameRefusedError(f"slice {info.index} of volume {self.spec.uid} came twice")
            self._frames[info.index] = info
        self._pump.put(info.index, frame)
        self._check_taking()

    @property
    def back_pressure_s(self) -> float:
        """How long `write` has waited for the disk so far, in all."""
        return self._pump.back_pressure_s

    def finish(self) -> VolumeRecord:
        """Wait for the disk, prove the volume and publish it under its final name.

        Whatever goes wrong here discards the volume.

        Raises
        ------
        IncompleteVolumeError
            Frames are missing.
        UnprovenVolumeError
            Frames are not what was asked for.
        WriteFailedError
            A frame could not be written.
        BrokenVolumeError
            The file does not read back as what was asked for.
        WriterClosedError
            The volume was finished or discarded.
        """
        return self._end("")

    def keep(self, reason: str) -> VolumeRecord:
        """Publish what came of a volume that fell short, as incomplete and with its gaps.

        Raises
        ------
        IncompleteVolumeError
            No frame came at all.
        WriteFailedError, UnprovenVolumeError, BrokenVolumeError, WriterClosedError
            As `finish`; the volume is then discarded.
        """
        return self._end(as_reason(reason) or "it was not said why")

    def _end(self, reason: str) -> VolumeRecord:
        with self._claiming:
            self._check_taking()
            self._taking = False
        try:
            with self._ending:
                record = self._publish(reason)
                self._ended = True
        except BaseException as error:
            self.discard(repr(error))
            raise
        self._tell_ended(record)
        return record

    def discard(self, reason: str) -> None:
        """Remove what was written and say why in the log. Idempotent; no-op after `finish`."""
        with self._claiming:
            self._taking = False
        self._pump.close()
        with self._ending:
            if self._ended:
                return
            self._ended = True
            self._file.close()
            disk.remove(self._part)
        LOGGER.warning("volume %s discarded: %s", self.spec.uid, reason)
        self._tell_ended(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.discard(repr(error) if error else "it was left without finish()")

    def _check(self, frame: Frame, index: int) -> None:
        slices, *rows_columns = self.spec.shape
        if frame.shape != tuple(rows_columns) or frame.dtype != self._dtype:
            raise FrameRefusedError(
                f"frame {index} is {frame.dtype} {frame.shape}, "
                f"volume {self.spec.uid} takes {self.spec.dtype} {tuple(rows_columns)}"
            )
        if not 0 <= index < slices:
            raise FrameRefusedError(
                f"slice {index} is outside of volume {self.spec.uid}: it has 0–{slices - 1}"
            )

    def _check_taking(self) -> None:
        if not self._taking:
            raise WriterClosedError(f"volume {self.spec.uid} is finished or discarded")

    def _store(self, index: int, frame: Frame) -> None:
        """Write, hash and look at one frame; on a thread of the pump."""
        data = frame.reshape(-1).view(np.uint8).data
        self._file.write(index, data)
        digest, self._saturated[index] = proof.look(frame.reshape(-1), self._full_scale)
        self._digests[index] = digest

    def _publish(self, reason: str) -> VolumeRecord:
        slices = range(self.spec.shape[0])
        missing = tuple(index for index in slices if index not in self._frames)
        if missing and (not reason or len(missing) == len(slices)):
            raise IncompleteVolumeError(self.spec.uid, missing, len(slices))
        self._pump.drain()
        if len(self._digests) + len(missing) < len(slices):
            raise WriterClosedError(f"volume {self.spec.uid} was discarded while it was finished")
        # What nobody wrote reads as zeros.
        gap = xxhash.xxh3_64_digest(bytes(self.spec.frame_bytes)) if missing else b""
        digests = [self._digests.get(index, gap) for index in slices]
        record = self._proven(missing, digests, reason)
        frames = [self._frames[index] for index in slices if index in self._frames]
        self._file.seal(Written(record=record, frames=frames, digests=digests))
        self._part.replace(self._path)
        try:
            disk.sync_folder(self._path.parent)
        except OSError:
            self._path.replace(self._part)  # what may not outlive a power cut is not published
            raise
        return record

    def _proven(
        self, missing: tuple[int, ...], digests: Sequence[bytes], reason: str
    ) -> VolumeRecord:
        """Match what came with what was asked for, and return what can be said of it."""
        pixels = self.spec.shape[1] * self.spec.shape[2]
        repeated = proof.repeats(self._digests, self._saturated, pixels)
        if flaw := proof.flaw(self.spec, self._frames, repeated):
            raise UnprovenVolumeError(self.spec.uid, flaw)
        return VolumeRecord(
            spec=self.spec,
            path=self._path,
            created=self._created,
            checksum=volume_checksum(digests),
            waits=self._pump.waits,
            back_pressure_s=round(self._pump.back_pressure_s, 6),
            saturated=sum(self._saturated.values()),
            repeated=len(repeated),
            missing=missing,
            reason=reason,
        )
