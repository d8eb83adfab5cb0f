"""What keeps a microscope accountable: the audit log, the log files, health and metrics."""

from gently.core.operations.audit import Action, AuditError, AuditLog, digest_of
from gently.core.operations.batches import BatchWriter
from gently.core.operations.chain import Head, Verdict
from gently.core.operations.health import (
    Check,
    Health,
    LoopLag,
    Probe,
    disk_space,
    examine,
    loop_lag,
    no_problem,
)
from gently.core.operations.logs import ItemStamp, LogFile, about_item
from gently.core.operations.metrics import Metrics
from gently.core.operations.ticker import Job, Ticker

__all__ = [
    "Action",
    "AuditError",
    "AuditLog",
    "BatchWriter",
    "Check",
    "Head",
    "Health",
    "ItemStamp",
    "Job",
    "LogFile",
    "LoopLag",
    "Metrics",
    "Probe",
    "Ticker",
    "Verdict",
    "about_item",
    "digest_of",
    "disk_space",
    "examine",
    "loop_lag",
    "no_problem",
]
