"""What goes into the detectors' process and what it writes: UIDs, names and small numbers."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue

from gently.analysis import Measure
from gently.detection import FoundObject

__all__ = [
    "Answer",
    "Finding",
    "Handover",
    "Look",
    "LookOrder",
    "NamedObject",
    "Order",
    "Sharpest",
    "SweepOrder",
    "View",
]

Uid = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Place = tuple[FiniteFloat, FiniteFloat]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class View(_Value):
    """Which picture of a volume is worked on.

    Parameters
    ----------
    plane
        The slice, from 0; None takes the projection.
    projection
        Over all slices.
    """

    plane: Annotated[int, Field(ge=0)] | None = None
    projection: Literal["max", "mean"] = "max"


class Order(_Value):
    """What is to be found, and where.

    Parameters
    ----------
    uid
        Of the label image that is to be written.
    source_uid
        Of the volume.
    known
        Stage (x, y) in µm of the objects that the session knows, by name.
    session_id, item_uid
        What the label image is to say that it belongs to.
    """

    uid: Uid
    source_uid: Uid
    detector: str
    view: View = View()
    settings: Mapping[str, JsonValue] = {}
    known: Mapping[str, Place] = {}
    session_id: str = ""
    item_uid: str = ""


class SweepOrder(_Value):
    """A volume that is a sweep through the focus, of which the sharpest place is to be found.

    Parameters
    ----------
    uid
        Names it, for whoever gives it up.
    source_uid
        Of the volume.
    measure
        Of each slice.
    """

    uid: Uid
    source_uid: Uid
    measure: Measure = "vollath_f4"


class Sharpest(_Value):
    """How sharp each slice of a sweep is, and where the sharpest lies.

    Attributes
    ----------
    places_um, scores
        Of each slice: where it is on its drive, and how sharp, compared with the others.
    quality, best_um, r2, width_um, reason
        As of `gently.analysis.FocusFit`.
    """

    places_um: tuple[float, ...]
    scores: tuple[float, ...]
    quality: Literal["good", "moderate", "refused"]
    best_um: float | None
    r2: float
    width_um: float | None
    reason: str


class LookOrder(_Value):
    """A volume of which it is to be said how the embryo in it is doing.

    Parameters
    ----------
    uid
        Names it, for whoever gives it up.
    source_uid
        Of the volume.
    """

    uid: Uid
    source_uid: Uid


class Look(_Value):
    """What a volume shows, in numbers; None where it does not tell.

    Attributes
    ----------
    sharpness
        Of its sharpest slice, by Vollath's F4; comparable between volumes of one embryo only.
    off_z_um
        How far that slice is from the middle of the sweep; None if it is none, or if no bell fits.
    off_xy_um
        How far the nearest object is from the middle of the picture; None if there is none.
    num_objects
        How many objects of an embryo's size there are.
    """

    sharpness: float
    off_z_um: float | None
    off_xy_um: float | None
    num_objects: int


class NamedObject(FoundObject):
    """An object, and who it is.

    Attributes
    ----------
    name
        The same for the same object as long as the session lasts.
    """

    name: str


class Finding(_Value):
    """What was found: kept in the label image's own metadata, so that the file says all of it.

    Attributes
    ----------
    source_uid, view, settings
        Of what, and how.
    asked, detector
        The detector that was asked for, and the one whose result this is.
    fallback_reason
        Why they differ.
    about
        What else it depends on: model, hash of the weights, versions.
    slices
        What each slice of the file is: the label image, then each outline there is by who drew it.
    on_stage
        Whether the volume says where it was taken; otherwise coordinates are from its middle, and
        nothing is named after what the session knows.
    objects
        In the order of their labels.
    absent
        Who should have been in the picture, and was not found.
    seconds
        How long it took, without the loading of the detector.
    """

    source_uid: Uid
    view: View
    settings: Mapping[str, JsonValue]
    asked: str
    detector: str
    fallback_reason: str
    about: Mapping[str, JsonValue]
    slices: tuple[str, ...]
    on_stage: bool
    objects: tuple[NamedObject, ...]
    absent: tuple[str, ...]
    seconds: float


class Handover(_Value):
    """What the process is told at its start, through its standard input and nowhere else.

    Parameters
    ----------
    secret
        What a client has to send first.
    root
        The storage folder.
    kinds
        ``module:NAME`` of the detectors that there are.
    setups
        What the one who runs the microscope says, by the detector's name.
    memory_bytes
        What it may take in all.
    """

    secret: str
    root: str
    kinds: str
    setups: Mapping[str, dict[str, Any]]
    memory_bytes: int


class Answer(_Value):
    """What became of an order; what was found is in the store.

    Attributes
    ----------
    error
        Why nothing was found; empty if the label image is in the store.
    about
        Which detector with which weights did it.
    sharpest
        What came of a sweep.
    look
        What came of a look.
    """

    error: str = ""
    about: Mapping[str, JsonValue] = {}
    sharpest: Sharpest | None = None
    look: Look | None = None
