"""What has ended: Bluesky's history, and ours, which goes back to the beginning."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from starlette.concurrency import run_in_threadpool

from gently.api.models import (
    Answer,
    Body,
    Done,
    ItemStateAnswer,
    OwnBody,
    QueuedItem,
)
from gently.api.routes import ApiRoute, Call, Given
from gently.core.access import Scope
from gently.core.items import Item
from gently.core.lifecycle import ItemState

__all__ = ["HISTORY_ROUTES"]


class HistoryBody(Body):
    """Which of the items that have ended."""

    size: Annotated[int, Field(ge=0)] | None = Field(None, description="Only the last so many.")
    item_uid: str | None = None

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        if self.size is not None and self.item_uid is not None:
            raise ValueError("only one of size and item_uid can be given")
        return self


class SearchBody(OwnBody):
    """Which of the items that have ended."""

    limit: Annotated[int, Field(ge=1, le=1_000)] = 100
    before: Annotated[int, Field(ge=1, lt=2**63)] | None = Field(
        None, description="The `next` of the page before."
    )
    state: ItemState | None = None
    search: Annotated[str, Field(max_length=200)] = Field(
        "", description="Words in the name, arguments, metadata, uid or message."
    )


class ItemPath(OwnBody):
    """Which item."""

    item_uid: str


class HistoryAnswer(Done):
    """Items that have ended."""

    items: list[QueuedItem] = Field(description="Oldest first.")
    plan_history_uid: str = Field(description="Changes when the history does.")


class HistoryPage(Answer):
    """Items that have ended."""

    items: list[QueuedItem] = Field(description="Newest first.")
    next: int | None = Field(description="To be sent as `before`; null on the last page.")


async def _history_get(call: Call[HistoryBody]) -> Given:
    queue, body = call.layer.queue.snapshot(), call.body
    items = queue.history
    if body.size is not None:
        items = items[max(0, len(items) - body.size) :]
    elif body.item_uid is not None:
        items = tuple(item for item in items if item.item_uid == body.item_uid)
    return {
        "items": [item.message() for item in items],
        "plan_history_uid": queue.plan_history_uid,
    }


async def _history_clear(call: Call[HistoryBody]) -> Given:
    body = call.body

    def keep(history: tuple[Item, ...]) -> tuple[Item, ...]:
        if body.item_uid is None:
            return history[max(0, len(history) - (body.size or 0)) :]
        uids = [item.item_uid for item in history]
        return history[uids.index(body.item_uid) + 1 :] if body.item_uid in uids else history

    await run_in_threadpool(call.layer.queue.clear_history, keep)
    return {}


async def _search(call: Call[SearchBody]) -> Given:
    page = await run_in_threadpool(call.layer.queue.search, **call.body.model_dump())
    return {
        "items": [item.message() for _, item in page],
        "next": page[-1][0] if len(page) == call.body.limit else None,
    }


async def _read_item(call: Call[ItemPath]) -> Given:
    item = call.layer.queue.find(call.body.item_uid)
    runs = item.state in (ItemState.RUNNING, ItemState.PAUSED)
    return {
        "item": item.request(),
        "state": item.state,
        "progress": call.layer.runner.progress if runs else None,
        "result": item.result.message() if item.result else None,
    }


HISTORY_ROUTES = (
    ApiRoute(
        method="GET",
        path="/api/history/get",
        handler=_history_get,
        summary="The last 1,000 items that have ended",
        scope=Scope.VIEW,
        body=HistoryBody,
        answer=HistoryAnswer,
        dialect=True,
    ),
    ApiRoute(
        method="POST",
        path="/api/history/clear",
        handler=_history_clear,
        summary="Forget items that have ended",
        scope=Scope.OPERATE,
        body=HistoryBody,
        answer=Done,
        locked_by="queue",
        commands=True,
        dialect=True,
    ),
    ApiRoute(
        method="GET",
        path="/api/history",
        handler=_search,
        summary="Search and page through all items that have ended",
        scope=Scope.VIEW,
        body=SearchBody,
        answer=HistoryPage,
    ),
    ApiRoute(
        method="GET",
        path="/api/items/{item_uid}",
        handler=_read_item,
        summary="An item, how far it has come, and what became of it",
        scope=Scope.VIEW,
        body=ItemPath,
        answer=ItemStateAnswer,
        errors=(404,),
    ),
)
