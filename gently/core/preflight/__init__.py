"""Preflight: what a plan would do, found out before anything moves."""

from gently.core.preflight.check import QUICK, WHOLE, Budget, Preflight, Room
from gently.core.preflight.report import Complaint, Objection, PreflightReport

__all__ = [
    "QUICK",
    "WHOLE",
    "Budget",
    "Complaint",
    "Objection",
    "Preflight",
    "PreflightReport",
    "Room",
]
