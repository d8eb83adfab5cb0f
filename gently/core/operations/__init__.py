"""What keeps a microscope accountable: the audit log, the log files, health and metrics."""

from gently.core.operations.audit import Action, AuditError, AuditLog, digest_of
from gently.core.operations.chain import Head, Verdict
from gently.core.operations.logs import ItemStamp, LogFile, about_item

__all__ = [
    "Action",
    "AuditError",
    "AuditLog",
    "Head",
    "ItemStamp",
    "LogFile",
    "Verdict",
    "about_item",
    "digest_of",
]
