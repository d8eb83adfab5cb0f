"""What the data store is made of: its values, its database, and its dealings with files.

The one that uses them is `gently.core.data_store`, and others use that.
"""

from gently.core.lineage.adoption import copied, discard, publish
from gently.core.lineage.database import Database
from gently.core.lineage.files import SCHEME, Content, examine, measure, vouched
from gently.core.lineage.graph import Graph
from gently.core.lineage.trace import Step, Trace
from gently.core.lineage.values import (
    DataStoreError,
    FileChangedError,
    FileGoneError,
    LineageError,
    Record,
    RegistrationError,
    Session,
    UnknownRecordError,
    as_utc,
)

__all__ = [
    "SCHEME",
    "Content",
    "DataStoreError",
    "Database",
    "FileChangedError",
    "FileGoneError",
    "Graph",
    "LineageError",
    "Record",
    "RegistrationError",
    "Session",
    "Step",
    "Trace",
    "UnknownRecordError",
    "as_utc",
    "copied",
    "discard",
    "examine",
    "measure",
    "publish",
    "vouched",
]
