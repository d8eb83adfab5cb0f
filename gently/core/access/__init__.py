"""Who may do what: scopes, keys and sessions, the control lease, and proposals.

Knows nothing of HTTP.
"""

from gently.core.access.access import Access
from gently.core.access.database import AccessDatabase
from gently.core.access.errors import (
    AccessError,
    AccessStoreError,
    KeyNotFoundError,
    LeaseError,
    NotAuthenticatedError,
    ProposalError,
    ProposalNotFoundError,
    ScopeError,
    TokenExpiredError,
)
from gently.core.access.keys import ApiKey, KeyStore
from gently.core.access.lease import HEADER, ControlLease, Lease
from gently.core.access.patience import Patience
from gently.core.access.proposals import Proposal, Proposals, ProposalState, digest
from gently.core.access.scope import Principal, PrincipalKind, Scope
from gently.core.access.sessions import Session, Sessions, Tokens

__all__ = [
    "HEADER",
    "Access",
    "AccessDatabase",
    "AccessError",
    "AccessStoreError",
    "ApiKey",
    "ControlLease",
    "KeyNotFoundError",
    "KeyStore",
    "Lease",
    "LeaseError",
    "NotAuthenticatedError",
    "Patience",
    "Principal",
    "PrincipalKind",
    "Proposal",
    "ProposalError",
    "ProposalNotFoundError",
    "ProposalState",
    "Proposals",
    "Scope",
    "ScopeError",
    "Session",
    "Sessions",
    "TokenExpiredError",
    "Tokens",
    "digest",
]
