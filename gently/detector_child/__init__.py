"""The detectors' own process: it may hang, swallow memory or die, and is then started again.

The device layer hands UIDs in and reads what was found from the store; no pixel goes between the
two. Importing this loads no detector.
"""

from gently.detector_child.child import ChildDiedError
from gently.detector_child.supervisor import Limits, Outcome, Supervisor, SupervisorError
from gently.detector_child.values import (
    Finding,
    Look,
    LookOrder,
    NamedObject,
    Order,
    Sharpest,
    SweepOrder,
    View,
)

__all__ = [
    "ChildDiedError",
    "Finding",
    "Limits",
    "Look",
    "LookOrder",
    "NamedObject",
    "Order",
    "Outcome",
    "Sharpest",
    "Supervisor",
    "SupervisorError",
    "SweepOrder",
    "View",
]
