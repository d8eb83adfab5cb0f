"""Proposals: what somebody who may not command asks a person to approve.

What is approved is the exact content that was proposed, by its digest, once, and before it
expires. The approval goes with the item, whose content is compared with it again before it
runs. A table says which state follows which; nothing is approved that is not on the disk.
"""

import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final
from uuid import uuid4

from pydantic_core import from_json

from gently.core.access.database import AccessDatabase
from gently.core.access.errors import ProposalError, ProposalNotFoundError, ScopeError
from gently.core.access.scope import Principal, Scope
from gently.core.encoding import encoded
from gently.core.errors import FieldError, PlanRefusedError
from gently.core.items import Item

__all__ = ["Proposal", "ProposalState", "Proposals", "digest"]

MOST_OPEN: Final = 100
"""How many can wait at a time: an agent that proposes without end fills neither disk nor page."""


class ProposalState(StrEnum):
    """How a proposal stands."""

    PROPOSED = "proposed"
    APPROVING = "approving"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"


_NEXT: Final = {
    ProposalState.PROPOSED: {
        ProposalState.APPROVING,
        ProposalState.REJECTED,
        ProposalState.EXPIRED,
    },
    # Back, if the queue does not take it: it may have become too late, or the disk full.
    ProposalState.APPROVING: {ProposalState.APPROVED, ProposalState.PROPOSED},
}
_UNDECIDED: Final = {"decided_by": None, "decided": None, "key": None}


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What was proposed, by whom, and what became of it; times in seconds since the epoch.

    Parameters
    ----------
    item
        The content: item_type, name, args, kwargs and meta.
    digest
        Of the content; whoever approves repeats it.
    preflight
        What was found out about the content when it was proposed.
    item_uid
        Of the item that it becomes when it is approved.
    decided_by, decided, reason
        Who decided, when, and why.
    proposed_key, key
        The idempotency keys of the requests that proposed and decided it, if they came with any.
    """

    item: Mapping[str, Any]
    digest: str
    preflight: Mapping[str, Any]
    by: str
    key_id: str
    made: float
    expires: float
    note: str | None = None
    proposal_uid: str = field(default_factory=lambda: uuid4().hex)
    item_uid: str = field(default_factory=lambda: uuid4().hex)
    state: ProposalState = ProposalState.PROPOSED
    decided_by: str | None = None
    decided: float | None = None
    reason: str | None = None
    proposed_key: str | None = None
    key: str | None = None

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        found = asdict(self)
        del found["key_id"], found["key"], found["proposed_key"]
        return found

    def is_answer_to(self, key: str | None, state: ProposalState) -> bool:
        """Whether the request with this key has decided it, and so."""
        return key is not None and (self.key, self.state) == (key, state)

    def approved_item(self) -> Item:
        """Return the item that it becomes, with the approval."""
        return Item(
            **{**self.item, "args": tuple(self.item["args"])},
            user=self.by,
            item_uid=self.item_uid,
            key=self.key,
            approval={
                "proposal_uid": self.proposal_uid,
                "digest": self.digest,
                "by": self.decided_by,
                "time": self.decided,
            },
        )


def digest(item: Item) -> str:
    """Return the hash of what an item asks for: of its canonical JSON, as hexadecimal digits."""
    text = json.dumps(_content(item), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()


class Proposals:
    """The proposals of one device layer; safe from any thread.

    Parameters
    ----------
    database
        Where they are kept.
    announce
        Called with each proposal that is new or has changed.
    is_queued
        Whether the queue has, or had, the item with a uid: asked at the start, of those whose
        approval the end of the process has interrupted.
    clock
        Returns the seconds since the epoch.
    """

    def __init__(
        self,
        database: AccessDatabase,
        announce: Callable[[Proposal], object] = lambda _: None,
        *,
        is_queued: Callable[[str], bool] = lambda _: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._announce = announce
        self._clock = clock
        self._lock = threading.Lock()
        self._approving = threading.Lock()
        for proposal in self._in_state(ProposalState.APPROVING):
            if is_queued(proposal.item_uid):
                self._become(proposal, ProposalState.APPROVED)
            else:
                self._become(proposal, ProposalState.PROPOSED, **_UNDECIDED)

    def propose(
        self,
        by: Principal,
        item: Item,
        preflight: Mapping[str, Any],
        *,
        ttl_s: float,
        note: str | None = None,
        key: str | None = None,
    ) -> Proposal:
        """Ask for the approval of an item that has been found good; raises `ProposalError`.

        With the `key` of a request that has proposed it before, that proposal is the answer.
        """
        now = self._clock()
        proposal = Proposal(
            item=_content(item),
            digest=digest(item),
            preflight=from_json(encoded(dict(preflight))),
            by=by.name,
            key_id=by.key_id,
            made=now,
            expires=now + ttl_s,
            note=note,
            proposed_key=key,
        )
        with self._lock:
            if (before := self.proposed(by, item, key)) is not None:
                return before
            waiting = [one for one in self._in_state(ProposalState.PROPOSED) if not self._late(one)]
            if len(waiting) >= MOST_OPEN:
                raise ProposalError(
                    f"{MOST_OPEN} proposals wait already: have them approved or rejected first."
                )
            self._write(proposal)
        self._announce(proposal)
        return proposal

    def proposed(self, by: Principal, item: Item, key: str | None) -> Proposal | None:
        """Return what the same request of the same client has proposed before, if it has.

        Raises
        ------
        ProposalError
            If it has proposed something else.
        """
        if key is None:
            return None
        rows = self._database.rows(
            "SELECT body FROM proposal WHERE json_extract(body, '$.proposed_key') = ? "
            "AND json_extract(body, '$.key_id') = ?",
            *(key, by.key_id),
        )
        if not rows:
            return None
        before = _decoded(rows[0][0])
        if before.digest != digest(item):
            raise ProposalError(
                f"The idempotency key of {item.name} was used for another proposal before, "
                f"{before.proposal_uid}; take a new one for each."
            )
        return self._as_it_is(before)

    def get(self, proposal_uid: str) -> Proposal:
        """Return a proposal; raises `ProposalNotFoundError`."""
        rows = self._database.rows("SELECT body FROM proposal WHERE proposal_uid = ?", proposal_uid)
        if not rows:
            raise ProposalNotFoundError(f"there is no proposal {proposal_uid!r}")
        return self._as_it_is(_decoded(rows[0][0]))

    def newest(self, limit: int, state: ProposalState | None = None) -> list[Proposal]:
        """Return proposals, the newest first."""
        rows = self._database.rows("SELECT body FROM proposal ORDER BY made DESC")
        found = (self._as_it_is(_decoded(body)) for (body,) in rows)
        return [proposal for proposal in found if state in (None, proposal.state)][:limit]

    def approve(
        self,
        by: Principal,
        proposal_uid: str,
        approved: str,
        queue: Callable[[Item], object],
        *,
        key: str | None = None,
    ) -> Proposal:
        """Approve the content with this digest, and have it queued.

        Parameters
        ----------
        by
            A person who may command.
        approved
            The digest of what they have seen.
        queue
            Called with the item; if it raises, nothing is approved, and it is raised on.
        key
            The idempotency key of the request: repeated, it answers what it has done.

        Raises
        ------
        ProposalError
            If it has been decided or has expired, or the digest is another one.
        ScopeError
            If only a person can, or one who may command.
        """
        _refuse_unless_person(by)
        with self._approving:  # a repeated request waits for what becomes of the first
            with self._lock:
                proposal = self.get(proposal_uid)
                is_same = hmac.compare_digest(proposal.digest, approved)
                if is_same and proposal.is_answer_to(key, ProposalState.APPROVED):
                    return proposal
                _refuse_unless_open(proposal)
                if not is_same:
                    raise ProposalError(
                        f"What was approved is not what was proposed: the digest of {proposal_uid} "
                        f"is {proposal.digest}. Look at it once more with GET /api/proposals/"
                        f"{proposal_uid}."
                    )
                decision = {"decided_by": by.name, "decided": self._clock(), "key": key}
                deciding = self._become(proposal, ProposalState.APPROVING, **decision)
            try:
                queue(deciding.approved_item())
            except BaseException:
                self._become(deciding, ProposalState.PROPOSED, **_UNDECIDED)
                raise
            return self._become(deciding, ProposalState.APPROVED)

    def reject(
        self, by: Principal, proposal_uid: str, reason: str, *, key: str | None = None
    ) -> Proposal:
        """Reject what was proposed; raises `ProposalError`, `ScopeError`."""
        _refuse_unless_person(by)
        with self._lock:
            proposal = self.get(proposal_uid)
            if proposal.is_answer_to(key, ProposalState.REJECTED):
                return proposal
            _refuse_unless_open(proposal)
            decision = {"decided_by": by.name, "decided": self._clock(), "key": key}
            return self._become(proposal, ProposalState.REJECTED, reason=reason or None, **decision)

    def check(self, item: Item) -> None:
        """Raise `PlanRefusedError` if this was approved, and is not what was approved."""
        if item.approval is None:
            return
        try:
            proposal = self.get(item.approval["proposal_uid"])
        except ProposalNotFoundError as error:
            raise _changed(item, f"{error}, by which this was approved") from None
        known = (proposal.digest, proposal.item_uid)
        if known != (item.approval["digest"], item.item_uid) or known[0] != digest(item):
            raise _changed(item, "is not what was approved; propose it anew")
        if proposal.state not in (ProposalState.APPROVING, ProposalState.APPROVED):
            raise _changed(item, f"is {proposal.state}, not approved")

    # ------------------------------------------------------------------ states

    def _become(self, proposal: Proposal, state: ProposalState, **decision: Any) -> Proposal:
        """Write another state down, and what is to be said of the decision."""
        if state not in _NEXT.get(proposal.state, ()):
            raise ProposalError(f"a proposal that is {proposal.state} cannot become {state}")
        after = replace(proposal, state=state, **decision)
        self._write(after)
        self._announce(after)
        return after

    def _as_it_is(self, proposal: Proposal) -> Proposal:
        return replace(proposal, state=ProposalState.EXPIRED) if self._late(proposal) else proposal

    def _late(self, proposal: Proposal) -> bool:
        return proposal.state is ProposalState.PROPOSED and proposal.expires <= self._clock()

    def _in_state(self, state: ProposalState) -> list[Proposal]:
        rows = self._database.rows("SELECT body FROM proposal WHERE state = ?", str(state))
        return [_decoded(body) for (body,) in rows]

    def _write(self, proposal: Proposal) -> None:
        self._database.write(
            "INSERT OR REPLACE INTO proposal (proposal_uid, state, made, body) VALUES (?, ?, ?, ?)",
            *(proposal.proposal_uid, str(proposal.state), proposal.made),
            encoded(asdict(proposal)).decode(),
        )


def _refuse_unless_open(proposal: Proposal) -> None:
    if proposal.state is not ProposalState.PROPOSED:
        who = f" by {proposal.decided_by}" if proposal.decided_by else ""
        raise ProposalError(
            f"The proposal {proposal.proposal_uid} is {proposal.state}{who} already, and is "
            "decided once; propose it anew to have it done again."
        )


def _refuse_unless_person(by: Principal) -> None:
    if by.kind != "person" or by.scope < Scope.OPERATE:
        raise ScopeError(
            "A proposal is decided by a person who may command; this key is "
            f"{'an agent' if by.kind == 'agent' else 'a person'}'s, with the scope {by.scope}."
        )


def _content(item: Item) -> dict[str, Any]:
    """Return what an item asks for as it is after having been kept and read again."""
    request = item.request()
    content = {key: request[key] for key in ("item_type", "name", "args", "kwargs", "meta")}
    found: dict[str, Any] = from_json(encoded(content))
    return found


def _changed(item: Item, problem: str) -> PlanRefusedError:
    return PlanRefusedError(item.name, (FieldError("approval", problem),))


def _decoded(body: str) -> Proposal:
    found = json.loads(body)
    return Proposal(**{**found, "state": ProposalState(found["state"])})
