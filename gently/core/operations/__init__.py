"""What keeps a microscope accountable: the audit log, the log files, health and metrics."""

from gently.core.operations.audit import Action, AuditError, AuditLog, digest_of
from gently.core.operations.chain import Head, Verdict

__all__ = ["Action", "AuditError", "AuditLog", "Head", "Verdict", "digest_of"]
