"""The sink: it introduces the devices' frames to the store's writer."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from devices import AcquiredVolume
from gently.core.operations import Metrics
from storage import FrameInfo, VolumeRecord, VolumeWriter

__all__ = ["Sink"]


class Sink:
    """Passes frames on, and tells of the volume that they become.

    Parameters
    ----------
    writer
        Of the store.
    published
        Told of the volume once its file has its name.
    metrics
        Counts the frames.
    """

    def __init__(
        self, writer: VolumeWriter, published: Callable[[VolumeRecord], None], metrics: Metrics
    ) -> None:
        self._writer = writer
        self._published = published
        self._metrics = metrics

    def write(self, frame: NDArray[Any], *, index: int, delta_t_s: float, z_um: float) -> None:
        """Write a frame, and count it."""
        self._writer.write(frame, FrameInfo(index=index, delta_t_s=delta_t_s, z_um=z_um))
        self._metrics.frame_written(frame.nbytes)

    @property
    def back_pressure_s(self) -> float:
        """How long the camera has waited for the disk."""
        return self._writer.back_pressure_s

    def finish(self) -> AcquiredVolume:
        """Publish the volume, and tell of it."""
        return self._told(self._writer.finish())

    def keep(self, reason: str) -> AcquiredVolume:
        """Publish what came of it, and tell of that."""
        return self._told(self._writer.keep(reason))

    def _told(self, record: VolumeRecord) -> VolumeRecord:
        self._published(record)
        return record

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, traceback)
        self._metrics.back_pressure.inc(self._writer.back_pressure_s)
