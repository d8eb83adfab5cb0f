"""Routes about the device layer itself: how it is, what it has said, and who made it do what."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from gently.api.models import Answer, Nothing, OwnBody
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope
from gently.core.operations import Head

__all__ = ["OPERATION_ROUTES"]


def _head(text: str) -> str:
    Head.parse(text)
    return text


class LogBody(OwnBody):
    """Of which item, and how much."""

    item_uid: str
    limit: Annotated[int, Field(ge=1, le=10_000)] = Field(
        1_000, description="Only the last so many lines."
    )


class AuditBody(OwnBody):
    """Which entries."""

    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = Field(
        None, description="The `next` of the page before."
    )


class VerifyBody(OwnBody):
    """What was noted elsewhere."""

    head: Annotated[str, AfterValidator(_head)] | None = Field(
        None,
        description="A head that was noted earlier, COUNT:HASH, which the log has to contain.",
    )


class CheckAnswer(Answer):
    """What was found of one thing."""

    ok: bool
    detail: str


class HealthAnswer(Answer):
    """How the device layer is."""

    status: Literal["ok", "degraded"]
    reasons: list[str] = Field(description="What is not well.")
    checks: dict[str, CheckAnswer] = Field(description="All that was looked at.")


class LogAnswer(Answer):
    """What was logged about an item."""

    item_uid: str
    lines: list[str] = Field(description="Oldest first: time, level, item, logger and text.")


class AuditEntry(Answer):
    """Something that somebody made the device layer do, or tried to."""

    n: int
    time: str = Field(description="ISO 8601, UTC.")
    what: str = Field(description="Method and path of a request.")
    name: str = Field(description="Of who asked.")
    kind: str = Field(description="`person`, `agent` or `process`.")
    key_id: str = Field(description="The first eight characters of the key.")
    origin: str = Field(description="Address and port.")
    item_name: str
    item_uid: str
    digest: str = Field(description="SHA-256 of the parameters, without secrets.")
    outcome: Literal["done", "refused", "failed"]
    status: int | None = Field(description="Of the answer.")
    detail: str = Field(description="Why, unless it was done.")
    prev: str = Field(description="The hash of the entry before.")
    hash: str = Field(description="SHA-256 of `prev` and all of the rest.")


class AuditAnswer(Answer):
    """Entries of the audit log."""

    entries: list[AuditEntry] = Field(description="Newest first.")
    next: int | None = Field(description="To be sent as `before`; null on the last page.")


class VerdictAnswer(Answer):
    """Whether the audit log is as it was written."""

    ok: bool
    count: int = Field(description="How many entries there are.")
    hash: str = Field(description="Of the last entry; with the count it is the head.")
    findings: list[str] = Field(description="What is not as it was written.")
    notes: list[str] = Field(description="What is unusual, and accounted for.")


async def _health(call: Call[Nothing]) -> Given:
    return (await run_in_threadpool(call.layer.oversight.health)).message()


async def _metrics(call: Call[Nothing]) -> Response:
    metrics = call.layer.metrics
    text = await run_in_threadpool(metrics.text)
    return Response(text, media_type=metrics.media_type)


async def _log(call: Call[LogBody]) -> Given:
    body = call.body
    call.layer.queue.find(body.item_uid)
    lines = await run_in_threadpool(call.layer.log.lines_of, body.item_uid, body.limit)
    return {"item_uid": body.item_uid, "lines": lines}


async def _audit(call: Call[AuditBody]) -> Given:
    body = call.body
    entries = await run_in_threadpool(call.layer.audit.entries, body.limit, body.before)
    more: Any = entries[-1]["n"] if len(entries) == body.limit and entries[-1]["n"] > 1 else None
    return {"entries": entries, "next": more}


async def _verify(call: Call[VerifyBody]) -> Given:
    noted = [Head.parse(call.body.head)] if call.body.head else []
    return (await run_in_threadpool(call.layer.audit.verify, *noted)).message()


OPERATION_ROUTES = (
    ApiRoute(
        method="GET",
        path="/healthz",
        handler=_health,
        summary="Whether all is well, and what is not; asks no hardware",
        scope=Scope.VIEW,
        answer=HealthAnswer,
    ),
    ApiRoute(
        method="GET",
        path="/metrics",
        handler=_metrics,
        summary="What is counted, for Prometheus; asks no hardware",
        scope=Scope.VIEW,
        answer=None,
        media_type="text/plain",
    ),
    ApiRoute(
        method="GET",
        path="/api/items/{item_uid}/log",
        handler=_log,
        summary="What was logged about an item",
        scope=Scope.VIEW,
        body=LogBody,
        answer=LogAnswer,
        errors=(404,),
    ),
    ApiRoute(
        method="GET",
        path="/api/audit",
        handler=_audit,
        summary="Who made the device layer do what",
        scope=Scope.ADMIN,
        body=AuditBody,
        answer=AuditAnswer,
    ),
    ApiRoute(
        method="POST",
        path="/api/audit/verify",
        handler=_verify,
        summary="Tell whether the audit log is as it was written",
        scope=Scope.ADMIN,
        body=VerifyBody,
        answer=VerdictAnswer,
    ),
)
