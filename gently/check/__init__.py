"""``gently-check``: what an operator runs first on a rig, and after every repair.

It owns the microscope while it runs, as a device layer does, reads everything, and with leave
moves, lights and pictures a little of everything. What it finds is a `Report`, as JSON and as a
page.
"""

from gently.check.bench import Bench, Shelf, Step
from gently.check.checkup import Checkup
from gently.check.cli import main
from gently.check.page import page
from gently.check.report import Finding, Group, LightUsed, Measured, Report, Status
from gently.check.session import Talk, check_microscope

__all__ = [
    "Bench",
    "Checkup",
    "Finding",
    "Group",
    "LightUsed",
    "Measured",
    "Report",
    "Shelf",
    "Status",
    "Step",
    "Talk",
    "check_microscope",
    "main",
    "page",
]
