"""The route of our own about light: what each embryo was given."""

from typing import Annotated

from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gently.api.models import Answer, OwnBody
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope
from gently.core.dose import EmbryoDose

__all__ = ["DOSE_ROUTES"]

_Text = Annotated[str, Field(max_length=200)]


class DoseBody(OwnBody):
    """Whose light."""

    embryo: _Text | None = Field(None, description="Empty: that which no embryo is named for.")
    session: _Text | None = Field(None, description="The `session_id`.")


class DoseOfSession(Answer):
    """The light that an embryo was given in a session."""

    embryo: str
    session_id: str
    volumes: int = Field(description="For how many, whatever became of them.")
    light_ms: float = Field(description="For how long.")
    energy_mj: float | None = Field(
        description="By the power that was read back; null if some was not known."
    )
    requested_energy_mj: float | None = Field(
        description="By the power that was asked for; null if some was not known."
    )
    planned_light_ms: float = Field(
        description="For how long it was to be; more where volumes were stopped."
    )


class DoseAnswer(Answer):
    """The light of each embryo in each session, and the most that one may be given."""

    doses: list[DoseOfSession]
    total: DoseOfSession = Field(description="Of all of them.")
    light_budget_ms: float | None = Field(description="Null if it is not bounded.")
    energy_budget_mj: float | None = Field(description="Null if it is not bounded.")


async def _dose(call: Call[DoseBody]) -> Given:
    ledger, settings = call.layer.doses, call.layer.settings
    asked = {"embryo": call.body.embryo, "session": call.body.session}
    found, total = await run_in_threadpool(lambda: ledger.account(**asked))
    return {
        "doses": [_told(one) for one in found],
        "total": _told(total),
        "light_budget_ms": settings.light_budget_ms,
        "energy_budget_mj": settings.energy_budget_mj,
    }


def _told(found: EmbryoDose) -> Given:
    return {
        "embryo": found.embryo,
        "session_id": found.session_id,
        "volumes": found.volumes,
        "light_ms": found.dose.light_ms,
        "energy_mj": found.dose.energy_mj,
        "requested_energy_mj": found.requested_mj,
        "planned_light_ms": found.planned_ms,
    }


DOSE_ROUTES = (
    ApiRoute(
        method="GET",
        path="/api/dose",
        handler=_dose,
        summary="The light that embryos were given",
        scope=Scope.VIEW,
        body=DoseBody,
        answer=DoseAnswer,
    ),
)
