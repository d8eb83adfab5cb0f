"""Objects in pictures: where they are on the stage, how large, how sure.

Works on arrays, without files, processes or hardware. Importing this loads no detector.
"""

from gently.detection.kinds import KINDS, DetectorKind, NoSetup, OvalSettings, SamSetup
from gently.detection.matching import GATE_UM, Matches, match
from gently.detection.picture import Picture
from gently.detection.registry import Detectors
from gently.detection.values import (
    Detection,
    DetectionError,
    Detector,
    DetectorUnavailableError,
    FoundObject,
    Labels,
)

__all__ = [
    "GATE_UM",
    "KINDS",
    "Detection",
    "DetectionError",
    "Detector",
    "DetectorKind",
    "DetectorUnavailableError",
    "Detectors",
    "FoundObject",
    "Labels",
    "Matches",
    "NoSetup",
    "OvalSettings",
    "Picture",
    "SamSetup",
    "match",
]
