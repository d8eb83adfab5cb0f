"""Each plan as a route of its own, whose body is the plan's arguments and nothing else."""

from pydantic import ConfigDict, Field

from gently.api.models import Answer, IdempotencyKey, LockKey, QueuedItem
from gently.api.queue_routes import executed
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope
from gently.core.errors import PlanNotFoundError
from gently.core.items import Item
from gently.core.preflight import PreflightSummary

__all__ = ["PLAN_ROUTES"]


class PlanArguments(LockKey):
    """The arguments of a plan, by name; the catalogue has the model that validates them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    idempotency_key: IdempotencyKey = None


class PlanStarted(Answer):
    """The item that runs now."""

    item: QueuedItem
    qsize: int = Field(description="How many items wait.")
    preflight: PreflightSummary | None


async def _execute(call: Call[PlanArguments]) -> Given:
    name, layer = call.request.path_params["plan"], call.layer
    if name not in layer.catalogue:
        why = layer.catalogue.unavailable.get(name, f"there are: {', '.join(layer.catalogue)}")
        raise PlanNotFoundError(f"there is no plan {name!r} here; {why}")
    item = Item(
        name=name,
        kwargs=call.body.model_extra or {},
        user=call.principal.name,
        key=call.body.idempotency_key,
    )
    return await executed(layer, item)


PLAN_ROUTES = (
    ApiRoute(
        method="POST",
        path="/api/plans/{plan}/execute",
        handler=_execute,
        summary="Run a plan now, past the items that wait",
        scope=Scope.OPERATE,
        body=PlanArguments,
        answer=PlanStarted,
        headers=("Idempotency-Key",),
        errors=(404, 409, 422),
        locked_by="environment",
        commands=True,
    ),
)
