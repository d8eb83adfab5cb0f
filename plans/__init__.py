"""Bluesky plans: typed generator functions whose signatures are their schemas."""

from plans.acquisition import acquire_volume, snap
from plans.burst import burst
from plans.calibration import calibrate_piezo_galvo
from plans.detection import detect, find_embryos
from plans.embryo import acquire_embryo
from plans.focus import focus
from plans.mda import run_mda
from plans.messages import Acquisition, Seen, TakenPoint, UnansweredError
from plans.motion import move_focus, move_stage, read_position, sleep
from plans.parameters import AllDevices, AxisOf
from plans.tiles import tile_scan
from plans.time_lapse import time_lapse
from plans.values import Embryo, Rule

__all__ = [
    "ALL_PLANS",
    "Acquisition",
    "AllDevices",
    "AxisOf",
    "Embryo",
    "Rule",
    "Seen",
    "TakenPoint",
    "UnansweredError",
    "acquire_embryo",
    "acquire_volume",
    "burst",
    "calibrate_piezo_galvo",
    "detect",
    "find_embryos",
    "focus",
    "move_focus",
    "move_stage",
    "read_position",
    "run_mda",
    "sleep",
    "snap",
    "tile_scan",
    "time_lapse",
]

ALL_PLANS = (
    acquire_volume,
    snap,
    find_embryos,
    move_stage,
    move_focus,
    read_position,
    sleep,
    focus,
    calibrate_piezo_galvo,
    acquire_embryo,
    time_lapse,
    burst,
    tile_scan,
    run_mda,
)
"""What the catalogue offers."""
