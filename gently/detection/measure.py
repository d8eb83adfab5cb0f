"""How objects are measured and judged: alike for every detector."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from skimage.measure import regionprops

from gently.detection.picture import Picture
from gently.detection.values import FoundObject, Labels

__all__ = ["CERTAIN_SCORE", "describe", "neighbourhood", "outline_scores", "score"]

Box = tuple[int, int, int, int]

CERTAIN_SCORE: Final = 0.9
"""From this score on an object is certain: a pixel of it is brighter than one around it 19 times in
20."""

# An object is compared with what lies around it, as far as half its own size.
_MARGIN: Final = 0.5
# So many rows and columns of an object's neighbourhood are compared; more tell no more.
_SAMPLE_PX: Final = 128


def describe(
    picture: Picture,
    labels: Labels,
    used: Mapping[int, str],
    scores: Mapping[int, Mapping[str, float]],
    model_scores: Mapping[int, float] | None = None,
) -> tuple[FoundObject, ...]:
    """Measure the objects of a label image.

    Parameters
    ----------
    picture
        What the labels were made of.
    labels
        The objects, of the picture's shape.
    used
        Whose outline each object has.
    scores
        For each object, the score of each outline there is of it.
    model_scores
        The model's own opinion of its outlines, where it has one.
    """
    return tuple(
        _described(picture, region, used, scores, model_scores or {})
        for region in regionprops(labels)
    )


def _described(
    picture: Picture,
    region: Any,
    used: Mapping[int, str],
    scores: Mapping[int, Mapping[str, float]],
    model_scores: Mapping[int, float],
) -> FoundObject:
    number = region.label
    row, column = region.centroid
    x_um, y_um = picture.stage_um(row, column)
    is_clear = scores[number][used[number]] >= CERTAIN_SCORE
    return FoundObject(
        label=number,
        x_um=x_um,
        y_um=y_um,
        row_px=row,
        column_px=column,
        box_px=region.bbox,
        area_um2=region.area * picture.pixel_size_um**2,
        length_um=region.axis_major_length * picture.pixel_size_um,
        width_um=region.axis_minor_length * picture.pixel_size_um,
        solidity=min(region.solidity, 1.0),
        mask=used[number],
        scores=scores[number],
        model_score=model_scores.get(number),
        certain=is_clear and not _is_cut(region.bbox, picture.shape),
    )


def outline_scores(picture: Picture, masks: Mapping[str, Labels]) -> dict[int, dict[str, float]]:
    """Return for each object the score of each outline there is of it.

    Parameters
    ----------
    picture
        What the masks were made of.
    masks
        Label images of the picture's shape, by who drew them; the same number is the same object.
    """
    boxes: dict[int, dict[str, Box]] = {}
    for name, labels in masks.items():
        for region in regionprops(labels):
            boxes.setdefault(region.label, {})[name] = region.bbox
    scores: dict[int, dict[str, float]] = {}
    for number, by_name in sorted(boxes.items()):
        # The same surroundings for all, or they could not be compared.
        window = neighbourhood(list(by_name.values()), picture.shape)
        pixels = picture.pixels[window]
        scores[number] = {name: score(pixels, masks[name][window], number) for name in by_name}
    return scores


def score(pixels: NDArray[Any], labels: Labels, number: int) -> float:
    """Return how surely a pixel of an object is brighter than one of the background around it.

    Cliff's delta of the two: 0 is chance, 1 is always. It asks for the order of brightness only and
    so minds neither bright nuclei nor the camera's offset; a slope of the background is taken out.
    An outline that is too wide takes in background, one that is too narrow leaves a part of the
    object in the background; both cost.

    Parameters
    ----------
    pixels, labels
        (y, x), the object and what lies around it. Other objects count as neither.
    number
        The object's label.
    """
    step = tuple(slice(None, None, max(1, n // _SAMPLE_PX)) for n in pixels.shape)
    pixels, labels = pixels[step], labels[step]
    inside, outside = _level(pixels, labels == 0, [labels == number, labels == 0])
    if not (inside.size and outside.size):
        return 0.0
    ranks = stats.rankdata(np.concatenate([inside, outside]))
    above = ranks[: inside.size].sum() - inside.size * (inside.size + 1) / 2
    return float(np.clip(2 * above / (inside.size * outside.size) - 1, 0, 1))


def neighbourhood(boxes: list[Box], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the part of the picture that holds all boxes, and a margin."""
    tops, lefts, bottoms, rights = zip(*boxes, strict=True)
    sides = (min(tops), max(bottoms)), (min(lefts), max(rights))
    rows, columns = (
        slice(max(low - margin, 0), min(high + margin, size))
        for (low, high), size in zip(sides, shape, strict=True)
        for margin in [round(_MARGIN * (high - low))]
    )
    return rows, columns


def _level(
    pixels: NDArray[Any], bare: NDArray[np.bool_], parts: list[NDArray[np.bool_]]
) -> list[NDArray[np.float64]]:
    """Return the pixels of each part, above the plane that fits the bare ones best."""
    rows, columns = np.indices(pixels.shape)
    terms = np.stack([np.ones(pixels.shape), rows, columns], axis=-1)
    seen = terms[bare]
    plane = np.linalg.lstsq(seen.T @ seen, seen.T @ pixels[bare], rcond=None)[0]
    return [pixels[part] - terms[part] @ plane for part in parts]


def _is_cut(box: Box, shape: tuple[int, int]) -> bool:
    top, left, bottom, right = box
    return top == 0 or left == 0 or bottom == shape[0] or right == shape[1]
