"""The detector that needs no weights: thresholds, distances, watersheds, and blobs.

It looks for ovals of about a known size that are brighter than what is around them.
"""

import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import threshold_otsu
from skimage.measure import regionprops
from skimage.morphology import local_maxima, reconstruction
from skimage.segmentation import watershed

from gently.detection.background import background_of
from gently.detection.blocks import block_means, repeated
from gently.detection.kinds import NoSetup, OvalSettings
from gently.detection.measure import describe, neighbourhood, outline_scores, score
from gently.detection.picture import Picture
from gently.detection.values import Detection, DetectionError

__all__ = ["ClassicalDetector"]

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Numbers = NDArray[np.uint16]

# Pictures are worked on at about so many rows or columns, but an object keeps its pixels.
_WORK_PX: Final = 512
_WIDTH_PX: Final = 16
# In standard deviations of what has no object: below it nothing is seen.
_FLOOR: Final = 4.0
_BLOB_FLOOR: Final = 7.0
_FAINT: Final = 3.0
# Of the numbers, where a picture has no noise.
_PRECISION: Final = 1e-6
_LEAST_MAGNITUDE: Final = math.asinh(1)
# Blobs are looked for in a picture where they have this radius.
_BLOB_PX: Final = 8
# As shares of an object's width.
_SMOOTHING: Final = 1 / 24
_OPENING: Final = 1 / 12
_NECK: Final = 1 / 15
_RIM: Final = 1 / 4
# As shares of the area of an oval of the expected size.
_AREAS: Final = (0.3, 2.5)
_LEAST_SOLIDITY: Final = 0.85
# Brightness falls by this share of it within the rim.
_STEP: Final = 0.6
_LEAST_SCORE: Final = 0.05
# What is so faint and has an outline all the same is a hill of background.
_LEAST_OUTLINE_SCORE: Final = 0.15


class ClassicalDetector:
    """Finds bright ovals; what it only suspects is marked as uncertain."""

    def __init__(self, _setup: NoSetup) -> None:
        """Make one; there is nothing to set up."""

    @property
    def about(self) -> Mapping[str, JsonValue]:
        """Which libraries draw the outlines."""
        return {name: version(name) for name in ("scikit-image", "scipy")}

    def detect(self, picture: Picture, settings: OvalSettings) -> Detection:
        """Return the objects of a picture."""
        if settings.contrast == "dark":
            picture = picture.inverted()
        factor = _bin_factor(picture, settings)
        image = block_means(picture.pixels, factor)
        if not np.isfinite(image).all():
            raise DetectionError("the picture has pixels that are not finite; replace them first")
        sample = picture.pixels[::factor, ::factor]
        labels = _find(image, sample, settings, picture.pixel_size_um * factor)
        full = repeated(labels, factor, picture.shape)
        masks = {"classical": full}
        scores = outline_scores(picture, masks)
        used = dict.fromkeys(scores, "classical")
        return Detection(
            detector="classical",
            about=self.about,
            settings=settings.model_dump(mode="json"),
            labels=full,
            objects=describe(picture, full, used, scores),
            masks=masks,
        )


def _bin_factor(picture: Picture, settings: OvalSettings) -> int:
    coarsest = settings.width_um / picture.pixel_size_um / _WIDTH_PX
    return max(1, int(min(max(picture.shape) / _WORK_PX, coarsest)))


def _find(image: Image, sample: NDArray[Any], settings: OvalSettings, pixel_um: float) -> Numbers:
    """Return the labels of the objects in a binned picture, of which `sample` has single pixels."""
    length, width = settings.length_um / pixel_um, settings.width_um / pixel_um
    background = background_of(image, length)
    signal = image - background.surface
    smooth = ndimage.gaussian_filter(signal, width * _SMOOTHING)
    noise = max(_spread(smooth[background.bare]), _PRECISION * (1 + float(np.abs(image).max())))
    floor = _FLOOR * noise
    labels = _split(_outlined(smooth, floor, width), width)
    labels = _plausible(labels, smooth, (length, width))
    labels = _distinct(labels, sample, _LEAST_OUTLINE_SCORE)
    _add_blobs(labels, signal, (length, width))
    return _distinct(labels, sample, _LEAST_SCORE)


def _spread(values: Image) -> float:
    """Return the standard deviation, whatever the outliers."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _outlined(smooth: Image, floor: float, width: float) -> Mask:
    """Return what is bright, each connected part up to half its own brightness.

    The threshold that finds a part compares orders of magnitude, so that bright nuclei do not hide
    the oval that they lie in; it would draw the outline too wide.
    """
    outlined = np.zeros(smooth.shape, bool)
    magnitude = np.arcsinh(smooth / floor)
    if np.ptp(magnitude) < _LEAST_MAGNITUDE:
        return outlined
    bright = magnitude > max(threshold_otsu(magnitude), _LEAST_MAGNITUDE)
    parts, _ = ndimage.label(bright)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[box] == number
        level = np.median(smooth[box][part]) / 2
        # Below the floor noise would draw the outline; a blob may do for what is so faint.
        if level >= floor:
            outlined[box] |= part & (smooth[box] > level)
    within = width * _OPENING
    opened = _within(~_within(~outlined, within), within)
    filled: Mask = ndimage.binary_fill_holes(opened)
    return filled


def _split(mask: Mask, width: float) -> Numbers:
    """Cut what touches where it is narrow."""
    depth = ndimage.distance_transform_edt(mask).astype(np.float32)
    filled = reconstruction(depth - width * _NECK, depth)
    peaks, _ = ndimage.label(local_maxima(filled), np.ones((3, 3)))
    labels: Numbers = watershed(-depth, peaks, mask=mask).astype(np.uint16)
    return labels


def _plausible(labels: Numbers, smooth: Image, oval: tuple[float, float]) -> Numbers:
    """Keep what can be an object, numbered from 1."""
    length, width = oval
    least, most = (share * length * width * np.pi / 4 for share in _AREAS)
    kept = np.zeros_like(labels)
    for region in regionprops(labels):
        if (
            least <= region.area <= most
            and region.solidity >= _LEAST_SOLIDITY
            and _stands_out(region, labels, smooth, width)
        ):
            kept[region.slice][region.image] = kept.max() + 1
    return kept


def _stands_out(region: Any, labels: Numbers, smooth: Image, width: float) -> bool:
    """Whether brightness falls off at the outline, unlike that of a gentle hill of background."""
    margin = max(2, round(width * _RIM))
    rows, columns = (slice(max(s.start - margin, 0), s.stop + margin) for s in region.slice)
    inside = labels[rows, columns] == region.label
    rim = _within(inside, margin) & (labels[rows, columns] == 0)
    level = np.median(smooth[rows, columns][inside])
    return rim.any() and bool(level - np.median(smooth[rows, columns][rim]) >= _STEP * level)


def _add_blobs(labels: Numbers, signal: Image, oval: tuple[float, float]) -> None:
    """Add a disc wherever there is a blob of the right size that no object explains.

    In a picture so faint that no outline can be drawn, the sum over a whole object still shows.
    What is brighter than faint counts as much as faint, or a grain of dust would weigh as much.
    """
    length, width = oval
    radius = math.sqrt(length * width) / 2
    step = max(1, int(radius / _BLOB_PX))
    known = _within(labels > 0, width * _RIM)
    most = _FAINT * _spread(signal)
    small = block_means(np.where(known, 0, np.clip(signal, -most, most)), step)
    # A Laplacian of a Gaussian answers most to a disc whose radius is sigma times the root of 2.
    response = -ndimage.gaussian_laplace(small, radius / step / math.sqrt(2))
    found = peak_local_max(
        response,
        min_distance=max(1, round(width / step / 2)),
        threshold_abs=_BLOB_FLOOR * _spread(response),
    )
    rows, columns = np.ogrid[: labels.shape[0], : labels.shape[1]]
    for number, middle in enumerate(found, start=int(labels.max()) + 1):
        row, column = (middle + 0.5) * step - 0.5
        inside = (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
        labels[inside & (labels == 0)] = number


def _distinct(labels: Numbers, pixels: NDArray[Any], least: float) -> Numbers:
    """Keep the objects that can be told from what is around them, numbered from 1."""
    kept = np.zeros_like(labels)
    for region in regionprops(labels):
        window = neighbourhood([region.bbox], labels.shape)
        if score(pixels[window], labels[window], region.label) >= least:
            kept[region.slice][region.image] = kept.max() + 1
    return kept


def _within(mask: Mask, distance: float) -> Mask:
    """Return what is at most so far from a mask, in pixels; nothing is near an empty one."""
    if not mask.any():
        return mask
    near: Mask = ndimage.distance_transform_edt(~mask) <= distance
    return near
