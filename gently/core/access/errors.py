"""Why somebody may not; none of these ever says a key."""

from gently.core.errors import GentlyError, WrongStateError

__all__ = [
    "AccessError",
    "AccessStoreError",
    "KeyNotFoundError",
    "LeaseError",
    "NotAuthenticatedError",
    "ProposalError",
    "ProposalNotFoundError",
    "ScopeError",
    "TokenExpiredError",
]


class AccessError(GentlyError):
    """Who asks may not do what they ask for."""


class NotAuthenticatedError(AccessError):
    """Nobody knows who asks: there is no key, or it is not known here."""


class TokenExpiredError(NotAuthenticatedError):
    """The token was good. Bluesky's clients refresh theirs when they read these words."""

    def __init__(self) -> None:
        super().__init__("Access token has expired. Refresh token.")


class ScopeError(AccessError):
    """The key is known, and not good for this."""


class LeaseError(WrongStateError):
    """Somebody else has the microscope; says who, since when, until when and how to go on."""


class KeyNotFoundError(GentlyError):
    """There is no such key, session or principal, or it is none of the caller's."""


class ProposalNotFoundError(GentlyError):
    """There is no such proposal."""


class ProposalError(WrongStateError):
    """The proposal cannot be decided so; says how it stands."""


class AccessStoreError(GentlyError):
    """The file of keys cannot be read or written; says which and why."""
