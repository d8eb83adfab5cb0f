"""Numbers from pictures, on arrays alone: how sharp each is, and where the sharpest lies."""

from gently.analysis.fit import MODERATE_R2, FocusFit, fit_focus
from gently.analysis.sharpness import Metric, sharpness

__all__ = ["MODERATE_R2", "FocusFit", "Metric", "fit_focus", "sharpness"]
