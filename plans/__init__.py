"""Bluesky plans: typed generator functions whose signatures are their schemas."""

from plans.acquisition import acquire_volume, snap
from plans.detection import detect, find_embryos
from plans.motion import move_focus, move_stage, read_position, sleep
from plans.parameters import AllDevices, AxisOf

__all__ = [
    "ALL_PLANS",
    "AllDevices",
    "AxisOf",
    "acquire_volume",
    "detect",
    "find_embryos",
    "move_focus",
    "move_stage",
    "read_position",
    "sleep",
    "snap",
]

ALL_PLANS = (acquire_volume, snap, find_embryos, move_stage, move_focus, read_position, sleep)
"""What the catalogue offers."""
