"""Preflight: what a plan would do, found out before anything moves."""

from gently.core.preflight.check import WHOLE, Budget, Preflight, Room
from gently.core.preflight.report import Complaint, Objection, PreflightReport, PreflightSummary

__all__ = [
    "WHOLE",
    "Budget",
    "Complaint",
    "Objection",
    "Preflight",
    "PreflightReport",
    "PreflightSummary",
    "Room",
]
