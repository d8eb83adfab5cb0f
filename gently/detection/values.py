"""What a detector takes, what it gives, and what it refuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue

from gently.detection.picture import Picture

__all__ = [
    "Detection",
    "DetectionError",
    "Detector",
    "DetectorUnavailableError",
    "FoundObject",
    "Labels",
]

Labels = NDArray[np.uint16] | NDArray[np.uint32]
Share = Annotated[float, Field(ge=0, le=1)]
Length = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Pixels = Annotated[int, Field(ge=0)]


class DetectionError(Exception):
    """Anything a detector refuses or fails to do."""


class DetectorUnavailableError(DetectionError):
    """The detector cannot be had here; says what is missing and how to get it."""


class FoundObject(BaseModel):
    """One object of a label image. Plain values: it goes to other processes as JSON.

    Attributes
    ----------
    label
        Its number in the label image, from 1.
    x_um, y_um
        Its centroid in stage coordinates.
    row_px, column_px
        Its centroid in the picture; 0, 0 is the middle of the first pixel.
    box_px
        (top, left, bottom, right) in pixels; bottom and right are the first beyond it.
    area_um2
        Of its pixels.
    length_um, width_um
        Axes of the ellipse with the same second moments.
    solidity
        Share of its convex hull that it fills; 1 has no dents.
    mask
        Whose outline this is: the name of one of `Detection.masks`.
    scores
        For each mask there is of it, how surely a pixel inside is brighter than one around:
        0 is chance, 1 is always. Measured on the picture in the same way for all masks, so they
        can be compared, between detectors too.
    model_score
        What the model itself thinks of its mask, if it has an opinion.
    certain
        Whether outline and place can be relied on: its score is high, and the border of the
        picture does not cut it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: Annotated[int, Field(ge=1)]
    x_um: FiniteFloat
    y_um: FiniteFloat
    row_px: FiniteFloat
    column_px: FiniteFloat
    box_px: tuple[Pixels, Pixels, Pixels, Pixels]
    area_um2: Length
    length_um: Length
    width_um: Length
    solidity: Share
    mask: str
    scores: Mapping[str, Share]
    model_score: FiniteFloat | None = None
    certain: bool

    @property
    def score(self) -> float:
        """The score of the mask that is used."""
        return self.scores[self.mask]


@dataclass(frozen=True, kw_only=True, eq=False)
class Detection:
    """What was found in one picture.

    Attributes
    ----------
    detector
        The name of the one who found it.
    about
        What else it depends on: the detector's own `about`.
    settings
        With which settings, as JSON values.
    labels
        (y, x) as the picture: 0 is background, n is the object with label n.
    objects
        In the order of their labels.
    masks
        Every outline there is, by who drew it, as label images with the same numbers; `labels` is
        put together from them.
    fallback_reason
        Why this is not from the detector that was asked for; empty if it is.
    """

    detector: str
    about: Mapping[str, JsonValue]
    settings: Mapping[str, JsonValue]
    labels: Labels
    objects: tuple[FoundObject, ...]
    masks: Mapping[str, Labels]
    fallback_reason: str = ""


S_contra = TypeVar("S_contra", bound=BaseModel, contravariant=True)


class Detector(Protocol, Generic[S_contra]):
    """Finds objects in pictures. Made once, for one thread at a time; `detect` may take long."""

    @property
    def about(self) -> Mapping[str, JsonValue]:
        """What its results depend on besides the settings: model, hash of the weights, versions."""
        ...

    def detect(self, picture: Picture, settings: S_contra, /) -> Detection:
        """Return what there is; nothing is a good answer.

        Raises
        ------
        DetectionError
            If this picture cannot be worked on.
        """
        ...
