"""The sink: it introduces the devices' frames to the store's writer."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from devices import AcquiredVolume, AcquisitionError, DeviceError, StoppedError
from gently.core.dose import DoseLedger
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
    doses
        Where the volume's light is noted already, and put right if it turns out to be less.
    """

    def __init__(
        self,
        writer: VolumeWriter,
        published: Callable[[VolumeRecord], None],
        metrics: Metrics,
        doses: DoseLedger,
    ) -> None:
        self._writer = writer
        self._published = published
        self._metrics = metrics
        self._doses = doses
        self._is_lit = False
        self._is_whole = False

    def lit(self) -> None:
        """Take note that the light is on, or is about to be."""
        self._is_lit = True
        self._doses.lit(self._writer.spec)

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
        self._is_whole = True
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
        if not self._is_lit:  # it was given up before
            self._doses.unlit(self._writer.spec)
        elif not self._is_whole and _is_dark_after(error):
            self._doses.dark(self._writer.spec)
        self._writer.__exit__(kind, error, traceback)
        self._metrics.back_pressure.inc(self._writer.back_pressure_s)


def _is_dark_after(error: BaseException | None) -> bool:
    """Whether the light was read back as off before an error came here.

    What devices raise otherwise may be just that it was not.
    """
    return isinstance(error, AcquisitionError | StoppedError) or not isinstance(error, DeviceError)
