"""Preflight: what a plan would do, found out before anything moves."""

from gently.core.preflight.check import WHOLE, Budget, Preflight, Room
from gently.core.preflight.report import (
    Complaint,
    Objection,
    PlannedDose,
    PreflightReport,
    PreflightSummary,
)

__all__ = [
    "WHOLE",
    "Budget",
    "Complaint",
    "Objection",
    "PlannedDose",
    "Preflight",
    "PreflightReport",
    "PreflightSummary",
    "Room",
]
