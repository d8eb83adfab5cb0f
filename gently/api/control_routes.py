"""Routes of our own about the control lease: who moves the microscope."""

from collections.abc import Callable
from functools import partial
from typing import Annotated

import anyio
from pydantic import Field

from gently.api.models import Answer, Nothing, OwnBody
from gently.api.routes import ApiRoute, Call, Given, lease_number
from gently.core.access import HEADER, Lease, PrincipalKind, Scope

__all__ = ["CONTROL_ROUTES"]

_Seconds = Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)]


class AcquireBody(OwnBody):
    """For how long, what for, and whether from somebody else."""

    ttl_s: _Seconds = Field(60.0, description="After so many seconds it ends by itself.")
    note: Annotated[str, Field(max_length=200)] | None = Field(None, description="What for.")
    take_over: bool = Field(
        default=False,
        description="Take it from whoever holds it: a person from an agent, an admin from "
        "anybody, everybody from themselves.",
    )


class RenewBody(OwnBody):
    """For how long from now."""

    ttl_s: _Seconds = Field(60.0, description="After so many seconds it ends by itself.")


class LeaseAnswer(Answer):
    """Who moves the microscope."""

    number: int = Field(
        description="Of the present or last lease; sent with each command as `Gently-Lease`."
    )
    holder: str | None = Field(description="`null` if nobody has it: whoever may command does.")
    kind: PrincipalKind | None
    since: float | None = Field(description="Seconds since 1970.")
    expires: float | None = Field(description="Seconds since 1970.")
    note: str | None


async def _control(call: Call[Nothing]) -> Given:
    return call.layer.access.lease.now.message()


async def _acquire(call: Call[AcquireBody]) -> Given:
    body = call.body
    return await _at_once(
        partial(
            call.layer.access.lease.acquire,
            call.principal,
            body.ttl_s,
            body.note,
            take_over=body.take_over,
        )
    )


async def _renew(call: Call[RenewBody]) -> Given:
    renew = call.layer.access.lease.renew
    number = lease_number(call.request)
    return await _at_once(partial(renew, call.principal, number, call.body.ttl_s))


async def _release(call: Call[Nothing]) -> Given:
    release = call.layer.access.lease.release
    return await _at_once(partial(release, call.principal, lease_number(call.request)))


async def _at_once(change: Callable[[], Lease]) -> Given:
    """Change the lease on a thread of its own: not behind requests that wait for the hardware."""
    lease = await anyio.to_thread.run_sync(change, limiter=anyio.CapacityLimiter(1))
    return lease.message()


CONTROL_ROUTES = (
    ApiRoute(
        method="GET",
        path="/api/control",
        handler=_control,
        summary="Who moves the microscope, since when, until when and what for",
        scope=Scope.VIEW,
        answer=LeaseAnswer,
    ),
    ApiRoute(
        method="POST",
        path="/api/control/acquire",
        handler=_acquire,
        summary="Be the only one who moves the microscope",
        scope=Scope.OPERATE,
        body=AcquireBody,
        answer=LeaseAnswer,
        errors=(409,),
        changes=True,
    ),
    ApiRoute(
        method="POST",
        path="/api/control/renew",
        handler=_renew,
        headers=(HEADER,),
        summary="Keep the lease for longer",
        scope=Scope.OPERATE,
        body=RenewBody,
        answer=LeaseAnswer,
        errors=(409,),
        changes=True,
    ),
    ApiRoute(
        method="POST",
        path="/api/control/release",
        handler=_release,
        headers=(HEADER,),
        summary="Give the lease back",
        scope=Scope.OPERATE,
        answer=LeaseAnswer,
        errors=(409,),
        changes=True,
    ),
)
