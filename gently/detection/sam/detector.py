"""The detector that asks SAM for outlines, and uses them only where they are better."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from gently.detection.blocks import block_means, repeated
from gently.detection.classical import ClassicalDetector
from gently.detection.kinds import NoSetup, OvalSettings, SamSetup
from gently.detection.measure import describe, outline_scores
from gently.detection.picture import Picture
from gently.detection.sam.models import SamPredictor, load
from gently.detection.values import Detection, FoundObject, Labels

__all__ = ["SamDetector", "as_photo"]

Numbers = NDArray[np.uint16]

# SAM sees pictures of at most so many rows and columns, whatever it is given.
_MOST_PX: Final = 1024
# The darkest and brightest of a picture, in per cent of its pixels: what becomes black and white.
_RANGE: Final = (1.0, 99.8)
# SAM may draw this far beyond the box that it was prompted with, as a share of the box.
_BEYOND: Final = 0.25


@dataclass(frozen=True, eq=False)
class _Drawn:
    """SAM's outlines of objects, and what it thinks of them, by number."""

    labels: Numbers
    model_scores: Mapping[int, float]


class SamDetector:
    """Prompts SAM with the box of everything that the classical detector finds.

    Both outlines of an object are kept. The one that tells it better from its surroundings is used;
    where they are equally good that is the classical one.

    Parameters
    ----------
    setup
        Which SAM.

    Raises
    ------
    DetectorUnavailableError
        If it cannot be loaded.
    """

    def __init__(self, setup: SamSetup) -> None:
        self._classical = ClassicalDetector(NoSetup())
        loaded = load(setup)
        self._predictor = SamPredictor(loaded.model)
        self._about: dict[str, JsonValue] = {
            **self._classical.about,
            "torch": version("torch"),
            "model": setup.model,
            "device": setup.device,
            "checkpoint": loaded.checkpoint.name,
            "sha256": loaded.sha256,
            "load_s": round(loaded.load_s, 3),
        }

    @property
    def about(self) -> Mapping[str, JsonValue]:
        """Which model with which weights, and how long it took to load."""
        return self._about

    def detect(self, picture: Picture, settings: OvalSettings) -> Detection:
        """Return the objects that the classical detector finds, with the better outlines."""
        classical = self._classical.detect(picture, settings)
        if settings.contrast == "dark":
            picture = picture.inverted()
        drawn = self._draw(picture, classical)
        masks: dict[str, Labels] = {"classical": classical.labels, "sam": drawn.labels}
        scores = outline_scores(picture, masks)
        used = {number: _better(of) for number, of in scores.items()}
        labels = _joined(masks, used)
        return Detection(
            detector="sam",
            about=self.about,
            settings=classical.settings,
            labels=labels,
            objects=describe(picture, labels, used, scores, drawn.model_scores),
            masks=masks,
        )

    def _draw(self, picture: Picture, classical: Detection) -> _Drawn:
        """Return SAM's outlines; where two overlap, a pixel is of the one that is surer of it."""
        factor = -(-max(picture.shape) // _MOST_PX)
        image = as_photo(block_means(picture.pixels, factor))
        labels = np.zeros(image.shape[:2], np.uint16)
        surest = np.zeros(image.shape[:2], np.float32)
        model_scores: dict[int, float] = {}
        if classical.objects:
            self._predictor.set_image(image)
        for found in classical.objects:
            logits, model_scores[found.label] = self._outline(found, factor)
            better = logits > surest
            labels[better] = found.label
            surest[better] = logits[better]
        self._predictor.reset_image()
        return _Drawn(repeated(labels, factor, picture.shape), model_scores)

    def _outline(self, found: FoundObject, factor: int) -> tuple[NDArray[np.float32], float]:
        """Return how sure SAM is of each pixel, above 0 where the object is, and of the whole."""
        top, left, bottom, right = (side / factor for side in found.box_px)
        logits, scores, _ = self._predictor.predict(
            box=np.array([left, top, right, bottom]), multimask_output=False, return_logits=True
        )
        rows, columns = (
            slice(max(round(low - _BEYOND * (high - low)), 0), round(high + _BEYOND * (high - low)))
            for low, high in ((top, bottom), (left, right))
        )
        near = np.zeros(logits.shape[1:], np.float32)
        near[rows, columns] = logits[0, rows, columns]
        return near, float(scores[0])


def as_photo(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a picture as SAM knows them: 8 bits, three colours."""
    low, high = np.percentile(image, _RANGE)
    grey = np.clip((image - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    colours: NDArray[np.uint8] = grey[..., None].repeat(3, axis=2)
    return colours


def _better(scores: Mapping[str, float]) -> str:
    return max(scores, key=lambda name: (scores[name], name == "classical"))


def _joined(masks: Mapping[str, Labels], used: Mapping[int, str]) -> Numbers:
    """Put together a label image from the masks that are used; what is there first stays."""
    joined = np.zeros(masks["classical"].shape, np.uint16)
    for name, labels in masks.items():
        numbers = [number for number, of in used.items() if of == name]
        chosen = np.isin(labels, numbers) & (joined == 0)
        joined[chosen] = labels[chosen]
    return joined
