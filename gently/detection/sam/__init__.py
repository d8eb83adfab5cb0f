"""Segment Anything, prompted with the boxes of the classical detector.

The only room with torch in it, and loaded in the detector's own process alone: nothing else imports
it, and the list of detectors names it by a string.
"""

from gently.detection.sam.detector import SamDetector

__all__ = ["SamDetector"]
