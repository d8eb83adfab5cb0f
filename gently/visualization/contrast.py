"""From camera counts to what an eye can see: statistics, the contrast window, the PNG.

Pure array work: no files, no HTTP.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from storage import Voxels

HISTOGRAM_BINS = 256

_SAMPLED_SLICES = 16
_SAMPLED_PIXELS_PER_SLICE = 1 << 16

# The darkest and the brightest pixels of a sample that the automatic window gives up: the camera's
# offset noise below, a few hot pixels and the very brightest nuclei above.
_AUTO_PERCENTILES = (2.0, 99.95)


@dataclass(frozen=True)
class Window:
    """The counts that are drawn black and white; what lies between is linear."""

    low: float
    high: float


@dataclass(frozen=True)
class Statistics:
    """What an even sample of a volume's pixels says about their distribution.

    Attributes
    ----------
    minimum, maximum : float
        The extremes of the sample, in counts; the volume's own may lie a little further out.
    window : Window
        The automatic contrast.
    counts : tuple of int
        Histogram of the sample over ``minimum`` to ``maximum``, in at most `HISTOGRAM_BINS` bins.
    sampled : int
        How many pixels were looked at.
    """

    minimum: float
    maximum: float
    window: Window
    counts: tuple[int, ...]
    sampled: int


def statistics(volume: Voxels) -> Statistics:
    """Sample a volume of shape (z, y, x) evenly and describe its counts.

    Some rows of at most 16 slices are read, so that time and memory do not grow with the volume.
    Blocks while they are.
    """
    slices, rows, columns = volume.shape
    chosen = np.unique(np.linspace(0, slices - 1, min(slices, _SAMPLED_SLICES)).round().astype(int))
    # Whole rows, because a file is read in pages: leaving columns out would not save any.
    stride = max(1, rows * columns // _SAMPLED_PIXELS_PER_SLICE)
    sample = np.concatenate([volume[z, stride // 2 :: stride].ravel() for z in chosen])
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return Statistics(0.0, 1.0, Window(0.0, 1.0), (0,) * HISTOGRAM_BINS, 0)
    minimum, maximum = float(sample.min()), float(sample.max())
    low, high = (float(value) for value in np.percentile(sample, _AUTO_PERCENTILES))
    # An even volume has no contrast to show: one count is the least that a window can span.
    window = Window(low, max(high, low + 1.0))
    span = max(maximum - minimum, 1.0)
    # Bins narrower than one count would leave every other one empty.
    bins = HISTOGRAM_BINS if sample.dtype.kind == "f" else min(HISTOGRAM_BINS, int(span))
    counts, _ = np.histogram(sample, bins, (minimum, minimum + span))
    return Statistics(minimum, maximum, window, tuple(counts.tolist()), int(sample.size))


def to_8bit(image: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    """Draw counts at or below ``window.low`` as 0, at or above ``window.high`` as 255.

    Between them the grey value is linear. Pixels that are not a number are drawn black.
    """
    if image.dtype in (np.uint8, np.uint16):
        # A table of all possible counts costs less than arithmetic on every pixel.
        levels = np.arange(np.iinfo(image.dtype).max + 1)
        return _stretch(levels, window).take(image)
    return _stretch(image, window)


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode an 8-bit image of shape (y, x) as a greyscale PNG."""
    file = io.BytesIO()
    # Level 1: the reader sits on the same machine, so time matters and size hardly does.
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _stretch(values: NDArray[Any], window: Window) -> NDArray[np.uint8]:
    scaled = (values.astype(np.float32) - window.low) * (255.0 / (window.high - window.low))
    grey: NDArray[np.uint8] = np.nan_to_num(scaled, nan=0.0).clip(0, 255).round().astype(np.uint8)
    return grey
