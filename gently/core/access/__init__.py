"""Who may do what: scopes, and the principals that have them."""

from gently.core.access.scope import Principal, PrincipalKind, Scope

__all__ = ["Principal", "PrincipalKind", "Scope"]
