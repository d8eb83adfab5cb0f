"""Chance that is the same on every machine.

Only raw PCG64 words, integer arithmetic and IEEE operations that are exactly rounded
(+ − × ÷ √) are used: `exp`, `sin` and numpy's own distributions may differ in the last
bit between processors and versions, and one bit makes another hash of a volume.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chance", "mix", "normal_bank"]

_WORD = (1 << 64) - 1
# Four uniform 16-bit numbers: the standard deviation of their sum is √(4 · (65536² − 1) / 12).
_FOUR_MEAN = 2 * 65535
_FOUR_STD = 37837.2


class Chance:
    """A stream of uniform numbers.

    Parameters
    ----------
    seed
        Non-negative; the same seed gives the same stream.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def between(self, low: float, high: float) -> float:
        """Return a number of [low, high)."""
        word = int(self._bits.random_raw())
        return low + (high - low) * ((word >> 11) / (1 << 53))

    def point(self, reach: tuple[float, float, float]) -> tuple[float, float, float]:
        """Return a point of the box from −reach to +reach."""
        x, y, z = (self.between(-half, half) for half in reach)
        return x, y, z

    def integer(self, low: int, high: int) -> int:
        """Return an integer of low…high, both included."""
        return low + int(self._bits.random_raw()) % (high - low + 1)

    def lattice(self, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """Return an array of numbers of [0, 1)."""
        words: NDArray[np.uint64] = self._bits.random_raw(shape)
        return (words >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)


def normal_bank(seed: int, size: int) -> NDArray[np.float32]:
    """Return `size` numbers with mean 0, deviation 1 and nearly normal tails (to ±3.4)."""
    words: NDArray[np.uint64] = np.random.PCG64(seed).random_raw(size)
    sixteen = np.uint64(0xFFFF)
    total = sum((words >> np.uint64(shift)) & sixteen for shift in (0, 16, 32, 48))
    return (np.asarray(total).astype(np.float32) - np.float32(_FOUR_MEAN)) / np.float32(_FOUR_STD)


def mix(*numbers: int) -> int:
    """Return 64 well-mixed bits of some integers (splitmix64, chained)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _WORD
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _WORD
        state ^= state >> 31
    return state
