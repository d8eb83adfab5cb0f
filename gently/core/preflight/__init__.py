"""Preflight: what a plan would do, found out before anything moves."""

from gently.core.preflight.check import QUICK, WHOLE, Budget, Preflight, Room
from gently.core.preflight.report import Complaint, Objection, PlannedDose, PreflightReport

__all__ = [
    "QUICK",
    "WHOLE",
    "Budget",
    "Complaint",
    "Objection",
    "PlannedDose",
    "Preflight",
    "PreflightReport",
    "Room",
]
