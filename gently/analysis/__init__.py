"""Numbers from pictures, on arrays alone: how sharp each is, and where the sharpest lies."""

from typing import Literal

from gently.analysis.extent import extent
from gently.analysis.fit import MODERATE_R2, FocusFit, fit_focus
from gently.analysis.sharpness import Metric, sharpness

__all__ = ["MODERATE_R2", "FocusFit", "Measure", "Metric", "extent", "fit_focus", "sharpness"]

Measure = Metric | Literal["extent"]
"""What is measured of each picture of a sweep."""
