"""What a camera makes of the light: offset, photon and read noise, hot pixels, in counts."""

import numpy as np
from numpy.typing import NDArray

from devices.twin.chance import Chance, mix, normal_bank

__all__ = ["OFFSET", "READ_NOISE", "HotPixels", "Sensor"]

OFFSET = 100
# An ORCA-Flash4.0: 0.46 electrons a count, 1.6 electrons of read noise.
COUNTS_PER_ELECTRON = 1 / 0.46
READ_NOISE = 1.6 * COUNTS_PER_ELECTRON

_BANK = 1 << 20
# Pixels that share one cut from it.
_BLOCK = 1 << 18
_FULL_WELL = 65535
_PIXELS_A_HOT_ONE = 50_000
_HOT_COUNTS = (100, 1000)


class HotPixels:
    """Pixels of one sensor that are always too bright.

    Parameters
    ----------
    seed
        Of the sensor.
    size_px
        Its rows and columns.
    """

    def __init__(self, seed: int, size_px: int) -> None:
        chance = Chance(seed)
        count = size_px * size_px // _PIXELS_A_HOT_ONE
        self._rows = np.array([chance.integer(0, size_px - 1) for _ in range(count)])
        self._columns = np.array([chance.integer(0, size_px - 1) for _ in range(count)])
        self._counts = np.array([chance.integer(*_HOT_COUNTS) for _ in range(count)], np.uint16)

    def show(self, frame: NDArray[np.uint16], left: int, top: int) -> None:
        """Show them on a frame (y, x) whose corner is so far from the sensor's."""
        height, width = frame.shape
        rows, columns = self._rows - top, self._columns - left
        seen = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        at = rows[seen], columns[seen]
        counts = self._counts[seen]
        frame[at] = np.minimum(frame[at], _FULL_WELL - counts) + counts


class Sensor:
    """Turns expected counts into those that are read.

    Noise is cut from a bank made once: the same `key` gives the same noise.

    Parameters
    ----------
    seed
        Of the noise.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._bank = normal_bank(mix(seed, 2), _BANK)

    def read(
        self, expected: NDArray[np.float32], key: tuple[int, ...], out: NDArray[np.uint16]
    ) -> None:
        """Write the frame into `out`; `expected` (y, x) is used up.

        Parameters
        ----------
        expected
            Counts without offset and noise.
        key
            What tells this frame from others.
        out
            The frame, of the shape of `expected`; contiguous.
        """
        flat, flat_out = expected.reshape(-1), out.reshape(-1)
        for block, begin in enumerate(range(0, flat.size, _BLOCK)):
            part = flat[begin : begin + _BLOCK]
            start = mix(self._seed, *key, block) % (_BANK - part.size + 1)
            noise = part * np.float32(COUNTS_PER_ELECTRON)
            noise += np.float32(READ_NOISE * READ_NOISE)
            np.sqrt(noise, out=noise)
            noise *= self._bank[start : start + part.size]
            part += noise
            part += np.float32(OFFSET + 0.5)
            np.clip(part, 0, _FULL_WELL, out=part)
            np.copyto(flat_out[begin : begin + _BLOCK], part, casting="unsafe")
