"""Volumes in a row, taken without a pause: how many at a time, and in what order they are given."""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator

from devices.slicing import Slice

__all__ = ["one_after_another", "rounds"]

_LEASH_S = 10.0
"""What the controller is told to take by itself at most, unless a single volume takes longer.

If this process dies, the light goes on for no longer than that.
"""


def rounds(volumes: int, volume_s: float) -> list[int]:
    """Return how many volumes the controller is told to take by itself, each time it is told."""
    most = max(1, min(volumes, int(_LEASH_S / volume_s)))
    whole, rest = divmod(volumes, most)
    return [most] * whole + [rest] * (rest > 0)


def one_after_another(numbered: Iterable[tuple[int, Slice]], per_volume: int) -> Iterator[Slice]:
    """Yield all slices of a volume before the first of the next, which another camera may give."""
    waiting: defaultdict[int, deque[Slice]] = defaultdict(deque)
    given = 0
    for volume, one in numbered:
        waiting[volume].append(one)
        while waiting[given // per_volume]:
            yield waiting[given // per_volume].popleft()
            given += 1
