"""What a plan can ask besides Bluesky's own messages.

The device layer's RunEngine answers (`gently.core.answers`), and so does a preflight, in the time
of its models. Messages of other commands touch devices; these only find out.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from bluesky.utils import Msg, MsgGenerator

from devices import Dose, LightSheet, ViewName

__all__ = [
    "Acquisition",
    "Seen",
    "TakenPoint",
    "UnansweredError",
    "acquisition",
    "alike",
    "calibrate",
    "clock",
    "dose",
    "look",
    "seen",
    "sharpest",
    "wait_until",
]

T = TypeVar("T")


class UnansweredError(Exception):
    """What a plan has asked could not be answered; says why."""


@dataclass(frozen=True)
class TakenPoint:
    """A volume of an acquisition that is in the store, whole.

    Parameters
    ----------
    embryo, time_point, channel
        Its place in the acquisition.
    begun_s
        When its first frame was taken, in s since 1970.
    uid
        Its own.
    """

    embryo: str
    time_point: int
    channel: str
    begun_s: float
    uid: str = ""


@dataclass(frozen=True)
class Seen:
    """What a volume shows, in numbers; None where that is not known.

    Parameters
    ----------
    sharpness
        Of its sharpest slice; comparable between volumes of one embryo only.
    off_z_um, off_xy_um
        How far the embryo is from the middle of the volume: along the sweep, and in the picture.
    num_objects
        How many objects of an embryo's size there are.
    error
        Why it was not looked at; empty if it was.
    """

    sharpness: float | None = None
    off_z_um: float | None = None
    off_xy_um: float | None = None
    num_objects: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Acquisition:
    """An acquisition, new or to be gone on with.

    Parameters
    ----------
    uid
        What its volumes have in common.
    points
        What was taken already.
    """

    uid: str
    points: tuple[TakenPoint, ...] = ()


def acquisition(uid: str) -> MsgGenerator[Acquisition]:
    """Return an acquisition and what there is of it; without a uid, that of this very item."""
    found: Acquisition = yield Msg("acquisition", None, uid)
    return found


def dose(embryo: str) -> MsgGenerator[Dose]:
    """Return the light that an embryo was given in all, by any plan."""
    found: Dose = yield Msg("dose", None, embryo)
    return found


def look(uid: str) -> MsgGenerator[Any]:
    """Have a volume looked at while the plan goes on; what is returned is asked by `seen`."""
    return (yield Msg("look", None, uid))


def seen(looking: Any) -> MsgGenerator[Seen]:
    """Return what was seen, once it is; of what could not be looked at, why. Never fails."""
    found: Seen = yield Msg("seen", None, looking)
    return found


def sharpest(uid: str, measure: str) -> MsgGenerator[Any]:
    """Return where the sharpest slice of a sweep lies; None in a preflight, which took none.

    By the measure ``extent``, where the middle of what is in the middle of the pictures lies.
    ``places_um`` and ``scores`` of the slices; ``quality``, ``best_um``, ``r2``, ``width_um`` and
    ``reason`` of the bell that was fitted.
    """
    return (yield Msg("sharpest", None, uid, measure))


def calibrate(
    light_sheet: LightSheet, view: ViewName, told: Mapping[str, Any], valid_s: float | None
) -> MsgGenerator[str]:
    """Let a side of a light sheet use a calibration, keep it, and return its uid.

    Parameters
    ----------
    light_sheet, view
        Which.
    told
        ``slope_um_per_deg``, ``offset_um``, ``residual_um``, ``drift_um`` and ``quality``.
    valid_s
        For how long it may be used; None for one of which only the offset was measured, and which
        may be used for as long as the one whose slope it has.
    """
    uid: str = yield Msg("calibrate", None, light_sheet, view, told, valid_s)
    return uid


def clock() -> MsgGenerator[float]:
    """Return the time, in s since 1970."""
    now_s: float = yield Msg("clock")
    return now_s


def wait_until(time_s: float) -> MsgGenerator[float]:
    """Wait for a time of the clock, and return what it is then, in s since 1970.

    One message, however long it takes; a pause brings it back before its time.
    """
    while (now_s := (yield Msg("wait_until", None, time_s))) is None:
        yield Msg("checkpoint")
    return float(now_s)


def alike(key: Hashable, part: Callable[[], MsgGenerator[T]]) -> MsgGenerator[T | None]:
    """Carry out a part of a plan that is as the others of this key: same light, frames and ways.

    A preflight follows the first two of them, takes the others to come to the same and does not
    follow them: so a plan of ten thousand volumes is checked in no time.

    Returns
    -------
    T or None
        What the part returns; None in a preflight that did not follow it.
    """
    if not (yield Msg("begin_alike", None, key)):
        return None
    found = yield from part()
    yield Msg("end_alike", None, key)
    return found
