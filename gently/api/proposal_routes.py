"""Routes of our own about proposals: what a person is asked to approve."""

from functools import partial
from typing import Annotated, Any

from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gently.api.models import Answer, IdempotencyKey, ItemBody, Json, OwnBody
from gently.api.queue_routes import requested_item
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import ProposalState, Scope
from gently.core.preflight import PreflightReport

__all__ = ["PROPOSAL_ROUTES"]

_DAYS_S = 7 * 24 * 3600


class ProposeBody(OwnBody):
    """What is to be done, and until when it makes sense."""

    item: ItemBody
    note: Annotated[str, Field(max_length=1000)] | None = Field(
        None, description="Why, for the person who decides."
    )
    ttl_s: Annotated[float, Field(ge=1, le=_DAYS_S, allow_inf_nan=False)] = Field(
        3600.0, description="After so many seconds it cannot be approved any more."
    )
    idempotency_key: IdempotencyKey = None


class ProposalsBody(OwnBody):
    """Which of them."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    state: ProposalState | None = Field(None, description="Only those that are so.")


class ProposalPath(OwnBody):
    """Which one."""

    proposal_uid: str


class DecisionBody(ProposalPath):
    """Which one, decided once however often the request comes."""

    idempotency_key: IdempotencyKey = None


class ApproveBody(DecisionBody):
    """What was seen, and how it is to be done."""

    digest: str = Field(description="Of the content that was looked at.")
    execute: bool = Field(default=False, description="Run it now, past those that wait.")


class RejectBody(DecisionBody):
    """Why not."""

    reason: Annotated[str, Field(max_length=1000)] = Field("", description="For who proposed it.")


class ProposedItem(Answer):
    """What is to be done."""

    item_type: str
    name: str
    args: list[Json]
    kwargs: dict[str, Json]
    meta: dict[str, Json]


class ProposalAnswer(Answer):
    """A proposal, and what became of it; times are seconds since 1970."""

    proposal_uid: str
    digest: str = Field(description="SHA-256 of the item's canonical JSON.")
    item: ProposedItem
    item_uid: str = Field(description="Of the item that it becomes when it is approved.")
    preflight: PreflightReport = Field(description="What was found out when it was proposed.")
    state: ProposalState
    by: str = Field(description="Who has proposed it.")
    note: str | None
    made: float
    expires: float
    decided_by: str | None
    decided: float | None
    reason: str | None = Field(description="Why it was rejected.")


class ProposalsAnswer(Answer):
    """Proposals, the newest first."""

    proposals: list[ProposalAnswer]


async def _propose(call: Call[ProposeBody]) -> Given:
    layer, body = call.layer, call.body
    item = requested_item(body.item, call.principal)

    def propose() -> Given:
        key = body.idempotency_key
        made = layer.propose(call.principal, item, ttl_s=body.ttl_s, note=body.note, key=key)
        return made.message()

    return await run_in_threadpool(propose)


async def _proposals(call: Call[ProposalsBody]) -> Given:
    newest = call.layer.access.proposals.newest
    found = await run_in_threadpool(newest, call.body.limit, call.body.state)
    return {"proposals": [proposal.message() for proposal in found]}


async def _proposal(call: Call[ProposalPath]) -> Given:
    found = await run_in_threadpool(call.layer.access.proposals.get, call.body.proposal_uid)
    return found.message()


async def _approve(call: Call[ApproveBody]) -> Given:
    layer, body = call.layer, call.body
    queue = layer.execute if body.execute else partial(layer.add, place=len)
    approve = partial(layer.access.proposals.approve, key=body.idempotency_key)
    approved = await run_in_threadpool(
        approve, call.principal, body.proposal_uid, body.digest, queue
    )
    return approved.message()


async def _reject(call: Call[RejectBody]) -> Given:
    body = call.body
    reject = partial(call.layer.access.proposals.reject, key=body.idempotency_key)
    rejected = await run_in_threadpool(reject, call.principal, body.proposal_uid, body.reason)
    return rejected.message()


def _route(method: str, path: str, **what: Any) -> ApiRoute:
    return ApiRoute(method=method, path=f"/api/proposals{path}", **what)


PROPOSAL_ROUTES = (
    _route(
        "POST",
        "",
        handler=_propose,
        summary="Ask a person to approve an item",
        scope=Scope.PROPOSE,
        body=ProposeBody,
        headers=("Idempotency-Key",),
        answer=ProposalAnswer,
        errors=(409,),
        changes=True,
    ),
    _route(
        "GET",
        "",
        handler=_proposals,
        summary="What was proposed",
        scope=Scope.VIEW,
        body=ProposalsBody,
        answer=ProposalsAnswer,
    ),
    _route(
        "GET",
        "/{proposal_uid}",
        handler=_proposal,
        summary="A proposal, and what became of it",
        scope=Scope.VIEW,
        body=ProposalPath,
        answer=ProposalAnswer,
        errors=(404,),
    ),
    _route(
        "POST",
        "/{proposal_uid}/approve",
        handler=_approve,
        summary="Have exactly what was proposed queued, or run now",
        scope=Scope.OPERATE,
        body=ApproveBody,
        headers=("Idempotency-Key",),
        answer=ProposalAnswer,
        errors=(404, 409),
        commands=True,
    ),
    _route(
        "POST",
        "/{proposal_uid}/reject",
        handler=_reject,
        summary="Say no to a proposal",
        scope=Scope.OPERATE,
        body=RejectBody,
        headers=("Idempotency-Key",),
        answer=ProposalAnswer,
        errors=(404, 409),
        changes=True,
    ),
)
