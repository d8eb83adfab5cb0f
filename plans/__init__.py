"""Bluesky plans: typed generator functions whose signatures are their schemas."""

from plans.acquisition import acquire_volume, snap, snap_bottom
from plans.motion import move_focus, move_stage, read_position, sleep
from plans.parameters import AllDevices, AxisOf

__all__ = [
    "ALL_PLANS",
    "AllDevices",
    "AxisOf",
    "acquire_volume",
    "move_focus",
    "move_stage",
    "read_position",
    "sleep",
    "snap",
    "snap_bottom",
]

ALL_PLANS = (acquire_volume, snap, snap_bottom, move_stage, move_focus, read_position, sleep)
"""What the catalogue offers."""
