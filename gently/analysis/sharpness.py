"""How sharp a picture is: each metric is largest where it is in focus.

Sources: Vollath (1987), "Automatic focusing by correlative methods", for F4; Krotkov (1987) for
Tenengrad; the band of the spectrum is that in which a cell's structure lies at 40×.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Metric", "sharpness"]

Metric = Literal["vollath_f4", "tenengrad", "variance", "band_pass"]
_BAND: Final = (0.025, 0.14)
"""Of the highest frequency that the pixels can show."""

Picture = NDArray[np.float64]


def sharpness(picture: NDArray[Any], metric: Metric = "vollath_f4") -> float:
    """Return how sharp a picture (y, x) is; comparable between pictures of one place only."""
    return _METRICS[metric](np.asarray(picture, np.float64))


def _vollath_f4(picture: Picture) -> float:
    """Return the autocorrelation at one pixel less that at two; noise adds nothing to either."""
    flat = picture - picture.mean()
    near = float(np.mean(flat[:, :-1] * flat[:, 1:]))
    return near - float(np.mean(flat[:, :-2] * flat[:, 2:]))


def _tenengrad(picture: Picture) -> float:
    across, down = ndimage.sobel(picture, axis=1), ndimage.sobel(picture, axis=0)
    return float(np.mean(across * across + down * down))


def _variance(picture: Picture) -> float:
    return float(picture.var())


def _band_pass(picture: Picture) -> float:
    """Return the power in the band, per pixel."""
    spectrum = np.abs(np.fft.rfft2(picture - picture.mean())) ** 2
    rows = np.fft.fftfreq(picture.shape[0])[:, None]
    columns = np.fft.rfftfreq(picture.shape[1])[None, :]
    frequency = np.hypot(rows, columns) / 0.5
    is_in = (frequency >= _BAND[0]) & (frequency <= _BAND[1])
    return float(spectrum[is_in].sum() / picture.size**2)


_METRICS: Final[Mapping[str, Callable[[Picture], float]]] = {
    "vollath_f4": _vollath_f4,
    "tenengrad": _tenengrad,
    "variance": _variance,
    "band_pass": _band_pass,
}
