"""What is asked for and what became of it: plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from uuid import uuid4

from pydantic_core import from_json

from gently.core.encoding import encoded
from gently.core.lifecycle import ItemState

__all__ = ["QUEUE_STOP", "Item", "ItemType", "Leftovers", "Result"]

ItemType = Literal["plan", "instruction"]
QUEUE_STOP = "queue_stop"
"""The one instruction that there is: the queue stops where it stands."""


@dataclass(frozen=True)
class Leftovers:
    """What an item has left behind whose process died under it.

    Parameters
    ----------
    open_run_uids
        Runs whose documents were cut off.
    volume_uids
        Volumes that were published before, whole.
    incomplete_uids
        Volumes that were kept although they fell short.
    removed
        The names of unfinished files, which are no more.
    """

    open_run_uids: tuple[str, ...] = ()
    volume_uids: tuple[str, ...] = ()
    incomplete_uids: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def message(self) -> dict[str, list[str]]:
        """Return it as it is sent."""
        return {name: list(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class Result:
    """What became of an item, in the words of Bluesky's queue server, and more."""

    exit_status: str
    time_start: float
    time_stop: float
    run_uids: tuple[str, ...] = ()
    scan_ids: tuple[int, ...] = ()
    msg: str = ""
    traceback: str = ""
    return_value: Any = None
    leftovers: Leftovers | None = None

    def message(self) -> dict[str, Any]:
        """Return it as it is sent."""
        found = {
            "exit_status": self.exit_status,
            "run_uids": list(self.run_uids),
            "scan_ids": list(self.scan_ids),
            "time_start": self.time_start,
            "time_stop": self.time_stop,
            "msg": self.msg,
            "traceback": self.traceback,
            "return_value": self.return_value,
        }
        if self.leftovers is not None:
            found["leftovers"] = self.leftovers.message()
        return found


@dataclass(frozen=True, kw_only=True)
class Item:
    """A request for a plan, and how far it has come; or an instruction to the queue.

    ``key`` is the idempotency key of the request that it came with, if it came with one;
    ``approval`` says who has approved it, if it was a proposal: for once, and for no other
    content.
    """

    name: str
    item_type: ItemType = "plan"
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    user: str = "operator"
    user_group: str = "primary"
    item_uid: str = field(default_factory=lambda: uuid4().hex)
    state: ItemState = ItemState.QUEUED
    time_start: float | None = None
    result: Result | None = None
    key: str | None = None
    approval: Mapping[str, Any] | None = None

    def message(self) -> dict[str, Any]:
        """Return it as Bluesky's queue server would send it."""
        found = self.request()
        if self.result is not None:
            found["result"] = self.result.message()
        return found

    def request(self) -> dict[str, Any]:
        """Return what was asked for, without what became of it."""
        found: dict[str, Any] = {
            "item_type": self.item_type,
            "name": self.name,
            "args": list(self.args),
            "kwargs": dict(self.kwargs),
            "meta": dict(self.meta),
            "user": self.user,
            "user_group": self.user_group,
            "item_uid": self.item_uid,
        }
        if self.approval is not None:
            found["approval"] = dict(self.approval)
        if self.time_start is not None:
            found["properties"] = {"time_start": self.time_start}
        return found

    def again(self) -> "Item":
        """Return the same request as an item of its own, as yet untouched."""
        return replace(
            self,
            item_uid=uuid4().hex,
            state=ItemState.QUEUED,
            time_start=None,
            result=None,
            key=None,
        )

    def asks_the_same(self, other: "Item") -> bool:
        """Whether the requests are the same, whatever became of them."""
        return [self._asked(), self.item_type] == [other._asked(), other.item_type]

    def _asked(self) -> Any:
        asked = (self.name, self.args, dict(self.kwargs), dict(self.meta))
        return from_json(encoded(asked))
