"""What a plan would do, before anybody submits it."""

from starlette.concurrency import run_in_threadpool

from gently.api.models import Answer, ItemBody, OwnBody
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope
from gently.core.items import Item
from gently.core.preflight import PreflightReport

__all__ = ["PREFLIGHT_ROUTES"]


class PreflightBody(OwnBody):
    """A plan that is not submitted."""

    item: ItemBody


class PreflightAnswer(Answer, PreflightReport):
    """What a plan would do, as far as it was followed."""


async def _preflight(call: Call[PreflightBody]) -> Given:
    asked = call.body.item
    item = Item(**asked.model_dump(exclude={"item_uid"}), user=call.principal.name)
    report = await run_in_threadpool(call.layer.preflight, item)
    return report.model_dump(mode="json")


PREFLIGHT_ROUTES = (
    ApiRoute(
        method="POST",
        path="/api/plans/preflight",
        handler=_preflight,
        summary="Follow a plan on models of the devices, from where they are, and say what "
        "it would do",
        # It makes the device layer work, which to look at does not.
        scope=Scope.PROPOSE,
        body=PreflightBody,
        answer=PreflightAnswer,
        errors=(422,),
    ),
)
