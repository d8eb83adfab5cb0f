"""The twin's camera with what goes wrong between a sensor and the computer."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from devices.twin.camera import Buffer, SpimCamera

Picture = tuple[np.ndarray[Any, np.dtype[np.uint16]], Mapping[str, Any]]
Fault = Callable[[Iterator[Picture]], Iterator[Picture]]
"""Takes the frames as the sensor made them, and gives those that arrive."""


class FaultyCamera(SpimCamera):
    """Makes its frames as the twin does, then lets `fault` have them."""

    def __init__(self) -> None:
        super().__init__()
        self.extra_frames = 0
        """Exposed and asked for of the sensor, beyond what the computer asks for."""
        self.fault: Fault = iter

    def start_sequence(self, n: int | None, get_buffer: Buffer) -> Iterator[Mapping[str, Any]]:
        made: list[np.ndarray[Any, np.dtype[np.uint16]]] = []

        def sensor(shape: tuple[int, int], dtype: type[np.uint16]) -> Any:
            made.append(np.empty(shape, dtype))
            return made[-1]

        count = None if n is None else n + self.extra_frames
        # At once, so that it is ready for the first trigger.
        exposed = super().start_sequence(count, sensor)
        return self._arrived(((made.pop(), tags) for tags in exposed), get_buffer)

    def _arrived(
        self, pictures: Iterator[Picture], get_buffer: Buffer
    ) -> Iterator[Mapping[str, Any]]:
        for pixels, tags in self.fault(pictures):
            get_buffer(pixels.shape, np.uint16)[:] = pixels
            yield tags


def drops(*lost: int) -> Fault:
    """Lose some frames on the way."""

    def fault(pictures: Iterator[Picture]) -> Iterator[Picture]:
        return (picture for n, picture in enumerate(pictures) if n not in lost)

    return fault


def repeats(again: int) -> Fault:
    """Send one frame twice, and the next not at all."""

    def fault(pictures: Iterator[Picture]) -> Iterator[Picture]:
        kept: Picture | None = None
        for n, picture in enumerate(pictures):
            yield kept if kept and n == again + 1 else picture
            kept = picture

    return fault


def swaps(first: int) -> Fault:
    """Send one frame after the next."""

    def fault(pictures: Iterator[Picture]) -> Iterator[Picture]:
        for n, picture in enumerate(pictures):
            if n == first:
                yield next(pictures)
            yield picture

    return fault


def dies(after: int) -> Fault:
    """Raise, as a driver may."""

    def fault(pictures: Iterator[Picture]) -> Iterator[Picture]:
        for _ in range(after):
            yield next(pictures)
        raise RuntimeError("the camera link went down")

    return fault


def stalls(after: int) -> Fault:
    """Send nothing more, and never say so."""

    def fault(pictures: Iterator[Picture]) -> Iterator[Picture]:
        for n, picture in enumerate(pictures):
            if n < after:
                yield picture

    return fault


def counts_wrongly(at: int, by: int) -> Fault:
    """Deliver every frame, with a jump in the camera's own count."""

    def fault(pictures: Iterator[Picture]) -> Iterator[Picture]:
        for n, (pixels, tags) in enumerate(pictures):
            yield pixels, {**tags, "FrameNumber": n + (by if n >= at else 0)}

    return fault
