"""What a volume has to prove before it is published, and what is counted in it on the way.

Pure functions over what was asked and what came; nothing here reads or writes a file.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xxhash

from storage.errors import ranges
from storage.values import FrameInfo, VolumeSpec

# What is hashed is still in the processor's cache when its maximum is sought.
_BLOCK_PIXELS: Final = 1 << 17


def full_scale(spec: VolumeSpec) -> int | None:
    """Return the count at which a pixel is saturated; None where none can be."""
    dtype = np.dtype(spec.dtype)
    if dtype.kind != "u":
        return None
    return int((1 << (spec.significant_bits or 8 * dtype.itemsize)) - 1)


def look(pixels: npt.NDArray[Any], top: int | None) -> tuple[bytes, int]:
    """Return the XXH3 of a frame, and how many of its pixels are at `top` or above.

    Both in one walk through the memory, which costs half of what two cost.

    Parameters
    ----------
    pixels
        Of a whole frame, flat and contiguous.
    top
        As of `full_scale`.
    """
    hashed, saturated = xxhash.xxh3_64(), 0
    for start in range(0, pixels.size, _BLOCK_PIXELS):
        block = pixels[start : start + _BLOCK_PIXELS]
        hashed.update(block.view(np.uint8).data)
        if top is not None and block.max() >= top:
            saturated += int(np.count_nonzero(block >= top))
    return hashed.digest(), saturated


def repeats(digests: Mapping[int, bytes], saturated: Mapping[int, int], pixels: int) -> list[int]:
    """Return the slices that have exactly the pixels of the slice before.

    Those of which all `pixels` are saturated are alike for another reason.
    """
    return [
        index
        for index in sorted(digests)
        if digests[index] == digests.get(index - 1) and saturated[index] < pixels
    ]


def flaw(spec: VolumeSpec, frames: Mapping[int, FrameInfo], repeated: list[int]) -> str | None:
    """Return in what the frames are not those that were asked for; None if they are.

    Parameters
    ----------
    spec
        What was asked for.
    frames
        Those that came, by slice.
    repeated
        As of `repeats`.
    """
    if spec.frames_differ and repeated:
        return (
            f"slices {ranges(repeated)} have exactly the pixels of the slice before, which the "
            "noise of a sensor rules out: frames were repeated. Look after the camera."
        )
    return None if spec.first_z_um is None else _misplaced(spec, spec.first_z_um, frames)


def _misplaced(spec: VolumeSpec, first_z_um: float, frames: Mapping[int, FrameInfo]) -> str | None:
    """Return which slice of a sweep lies elsewhere, or was taken before the one below it."""
    previous: FrameInfo | None = None
    for index in sorted(frames):
        frame = frames[index]
        asked_um = first_z_um + index * spec.step_um
        if abs(frame.z_um - asked_um) > spec.z_tolerance_um:
            return (
                f"slice {index} lies at {frame.z_um:g} µm, asked for {asked_um:g} µm "
                f"(tolerance {spec.z_tolerance_um:g} µm). Look after the drive."
            )
        if previous and frame.delta_t_s < previous.delta_t_s:
            return (
                f"slice {index} was taken at {frame.delta_t_s:g} s and slice {previous.index} "
                f"at {previous.delta_t_s:g} s: frames came out of order. Look after the camera."
            )
        previous = frame
    return None
