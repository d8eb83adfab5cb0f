"""The stamp in a corner of a frame that says which frame it is and where it was taken.

Written by the twin's camera when its property ``FrameStamp`` is On, into the first 16
pixels of the first row, so that a test can prove order and positions from pixels alone.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from devices.twin.world import Pose

__all__ = ["STAMP_PIXELS", "FrameStamp"]

STAMP_PIXELS = 16
_MAGIC = 0xA5A5
_ZERO_NM = 1 << 31


@dataclass(frozen=True)
class FrameStamp:
    """What a frame says of itself.

    Parameters
    ----------
    index
        Frames since the start of the sequence.
    piezo_um, focus_um, x_um, y_um
        Where the stages were, to the nanometre.
    exposure_ms
        To 0.01 ms; at most 655.35.
    """

    index: int
    piezo_um: float
    focus_um: float
    x_um: float
    y_um: float
    exposure_ms: float

    @classmethod
    def of(cls, index: int, pose: Pose, exposure_ms: float) -> Self:
        """Return the stamp of a frame taken at `pose`."""
        return cls(index, pose.piezo_um, pose.focus_um, pose.x_um, pose.y_um, exposure_ms)

    def write(self, frame: NDArray[np.uint16]) -> None:
        """Put the stamp on a frame (y, x) of at least 16 columns."""
        lengths = (self.piezo_um, self.focus_um, self.x_um, self.y_um)
        words = [self.index, *(round(1000 * length) + _ZERO_NM for length in lengths)]
        halves = [half for word in words for half in (word & 0xFFFF, word >> 16)]
        exposure = min(round(100 * self.exposure_ms), 0xFFFF)
        frame[0, :STAMP_PIXELS] = [_MAGIC, *halves, exposure, 0, 0, 0, 0]

    @classmethod
    def read(cls, frame: NDArray[Any]) -> Self:
        """Return the stamp on a frame (y, x).

        Raises
        ------
        ValueError
            If the frame carries none.
        """
        pixels = [int(pixel) for pixel in frame[0, :STAMP_PIXELS]]
        if len(pixels) < STAMP_PIXELS or pixels[0] != _MAGIC:
            raise ValueError("the frame carries no stamp; set the camera's FrameStamp to On")
        index, *lengths = (pixels[at] + (pixels[at + 1] << 16) for at in range(1, 11, 2))
        piezo, focus, x, y = ((length - _ZERO_NM) / 1000 for length in lengths)
        return cls(index, piezo, focus, x, y, pixels[11] / 100)
