"""Bluesky plans: typed generator functions whose signatures are their schemas."""

from plans.acquisition import acquire_volume, snap
from plans.messages import Acquisition, TakenPoint
from plans.motion import move_focus, move_stage, read_position, sleep
from plans.parameters import AllDevices, AxisOf
from plans.time_lapse import time_lapse
from plans.values import Embryo, Rule

__all__ = [
    "ALL_PLANS",
    "Acquisition",
    "AllDevices",
    "AxisOf",
    "Embryo",
    "Rule",
    "TakenPoint",
    "acquire_volume",
    "move_focus",
    "move_stage",
    "read_position",
    "sleep",
    "snap",
    "time_lapse",
]

ALL_PLANS = (acquire_volume, snap, move_stage, move_focus, read_position, sleep, time_lapse)
"""What the catalogue offers."""
