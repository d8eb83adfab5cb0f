"""Everything about who may do what in one device layer, built on one file."""

from collections.abc import Callable
from typing import Self

from gently.core.access.database import AccessDatabase
from gently.core.access.keys import KeyStore
from gently.core.access.lease import ControlLease, Lease
from gently.core.access.patience import Patience
from gently.core.access.proposals import Proposal, Proposals
from gently.core.access.sessions import Sessions

__all__ = ["Access"]


class Access:
    """The keys, the sessions, the lease and the proposals of one device layer.

    Parameters
    ----------
    database
        Where they are kept.
    local_key
        The key of this machine.
    owner
        The name of the person whose it is.
    is_queued
        Whether the queue has, or had, the item with a uid.
    on_lease, on_proposal
        Called with each that is new or has changed.
    """

    def __init__(
        self,
        database: AccessDatabase,
        local_key: str,
        owner: str,
        *,
        is_queued: Callable[[str], bool] = lambda _: False,
        on_lease: Callable[[Lease], object] = lambda _: None,
        on_proposal: Callable[[Proposal], object] = lambda _: None,
    ) -> None:
        self.keys = KeyStore(database, local_key, owner)
        self.sessions = Sessions(database, self.keys)
        self.lease = ControlLease(database, on_lease)
        self.proposals = Proposals(database, on_proposal, is_queued=is_queued)
        self.patience = Patience()

    def close(self) -> None:
        """Write down what is kept in memory; the file is closed by whoever has opened it."""
        self.keys.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
