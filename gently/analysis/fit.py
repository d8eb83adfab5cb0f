"""Where the sharpest picture of a sweep lies, and whether to believe it."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import scipy  # its first use loads scipy.optimize: a start is half a second sooner
from numpy.typing import NDArray

__all__ = ["GOOD_R2", "MODERATE_R2", "FocusFit", "fit_focus"]

GOOD_R2: Final = 0.75
MODERATE_R2: Final = 0.5
_LEAST_POINTS: Final = 5
_LEAST_AGREEMENT: Final = 0.7
"""How alike the curves of two halves of the pictures have to be: noise is not the same in both."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class FocusFit:
    """What came of a sweep.

    Attributes
    ----------
    quality
        Whether it may be believed: ``good`` (R² at least 0.75), ``moderate`` (0.5), ``refused``.
    best_um
        Where the sharpest picture lies; None if refused.
    r2
        How much of the curve the bell explains; 0 if none could be fitted.
    width_um
        Standard deviation of the bell; None if none could be fitted.
    reason
        Why it is refused; empty if it is not.
    """

    quality: Literal["good", "moderate", "refused"]
    best_um: float | None
    r2: float
    width_um: float | None
    reason: str = ""


def fit_focus(places_um: Sequence[float], halves: Sequence[tuple[float, float]]) -> FocusFit:
    """Fit a bell to the sharpness of a sweep.

    Parameters
    ----------
    places_um
        Where each picture was taken.
    halves
        How sharp each is, measured in two halves that share no pixel. Their mean is fitted; that
        they tell the same is what an empty field cannot pretend.
    """
    places, curves = np.array(places_um, np.float64), np.array(halves, np.float64)
    if len(places) < _LEAST_POINTS or curves.shape != (len(places), 2):
        return _refused(f"a sweep has {_LEAST_POINTS} places or more, not {len(places)}")
    scores = curves.mean(axis=1)
    if not np.isfinite(scores).all() or np.ptp(scores) <= 0:
        return _refused("all pictures are equally sharp: there is nothing in the field")
    agreement = _agreement(curves)
    if agreement < _LEAST_AGREEMENT:
        return _refused(
            f"two halves of the pictures do not tell the same (correlation {agreement:.2f}): there "
            "is nothing in the field but noise"
        )
    return _judged(places, scores)


def _judged(places: Numbers, scores: Numbers) -> FocusFit:
    found = _fitted(places, scores)
    if found is None:
        return _refused("no bell fits the curve")
    best_um, width_um, r2 = found
    if not places.min() <= best_um <= places.max():
        return _refused("the sharpest place lies outside of the sweep; widen it", r2, width_um)
    if r2 < MODERATE_R2:
        return _refused(f"the bell explains too little of the curve (R² {r2:.2f})", r2, width_um)
    quality: Literal["good", "moderate"] = "good" if r2 >= GOOD_R2 else "moderate"
    return FocusFit(quality=quality, best_um=best_um, r2=r2, width_um=width_um)


def _fitted(places: Numbers, scores: Numbers) -> tuple[float, float, float] | None:
    """Return the middle and width of the bell, and its R²; None if there is none."""
    low, span, reach = scores.min(), np.ptp(scores), float(np.ptp(places))
    normal = (scores - low) / span
    step = reach / (len(places) - 1)
    guess = (1.0, float(places[np.argmax(normal)]), reach / 4, 0.0)
    bounds = (
        (0.2, places.min() - reach, step / 4, -1.0),
        (5.0, places.max() + reach, 2 * reach, 0.8),
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy.optimize.OptimizeWarning)
            (height, middle, width, base), _ = scipy.optimize.curve_fit(
                _bell, places, normal, p0=guess, bounds=bounds, maxfev=5000
            )
    except RuntimeError:
        return None
    left = normal - _bell(places, height, middle, width, base)
    r2 = 1 - float(left @ left) / float(((normal - normal.mean()) ** 2).sum())
    return float(middle), float(width), r2


def _bell(at: Numbers, height: float, middle: float, width: float, base: float) -> Any:
    return base + height * np.exp(-((at - middle) ** 2) / (2 * width**2))


def _agreement(curves: Numbers) -> float:
    """Return the correlation of the two curves; 0 where one does not vary."""
    first, second = curves[:, 0], curves[:, 1]
    if np.ptp(first) <= 0 or np.ptp(second) <= 0:
        return 0.0
    found = float(np.corrcoef(first, second)[1][0])
    return found if math.isfinite(found) else 0.0


def _refused(reason: str, r2: float = 0.0, width_um: float | None = None) -> FocusFit:
    return FocusFit(quality="refused", best_um=None, r2=r2, width_um=width_um, reason=reason)
