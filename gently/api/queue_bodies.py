"""Where an item of the queue goes, and which one is meant, as Bluesky's clients say it."""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from gently.api.models import Body, IdempotencyKey, ItemBody
from gently.core.device_layer import DeviceLayer
from gently.core.errors import ItemNotFoundError, WrongStateError
from gently.core.items import Item
from gently.core.transitions import Place

__all__ = [
    "AddBody",
    "BatchBody",
    "MoveBatchBody",
    "MoveBody",
    "PickBody",
    "RemoveBatchBody",
    "SubmitBody",
    "UpdateBody",
]

Position = int | Literal["front", "back"]


class _Beside(Body):
    own: ClassVar[str]

    before_uid: str | None = Field(None, description="In front of this item.")
    after_uid: str | None = Field(None, description="Behind this item.")

    def beside(self, uids: list[str]) -> int | None:
        """Return the index that a neighbour stands for."""
        if self.before_uid is not None:
            return _index(uids, self.before_uid)
        if self.after_uid is not None:
            return _index(uids, self.after_uid) + 1
        return None

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        places = ("before_uid", "after_uid", self.own)
        given = [name for name in places if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"only one of {' and '.join(given)} can say the place")
        return self


class _PlaceBody(_Beside):
    own = "pos"

    pos: Position | None = Field(None, description="A number, `front` or `back`.")

    def place(self, uids: list[str]) -> int:
        """Return where something new goes among those that wait."""
        index = self.beside(uids)
        if index is not None:
            return index
        if self.pos is None or self.pos == "back":
            return len(uids)
        if self.pos == "front":
            return 0
        return min(max(0, self.pos if self.pos >= 0 else len(uids) + 1 + self.pos), len(uids))

    def place_in(self, layer: DeviceLayer) -> Place:
        """Return `place`, by which after the item that runs is at the front."""
        running = layer.queue.running
        if running is not None and self.after_uid == running.item_uid:
            return lambda _: 0
        return self.place


class SubmitBody(_PlaceBody):
    """Something that is submitted once, however often the request comes."""

    idempotency_key: IdempotencyKey = None


class AddBody(SubmitBody):
    """An item to be queued, or to be run now."""

    item: ItemBody


class BatchBody(SubmitBody):
    """Items to be queued, all or none; each is checked for itself."""

    items: list[dict[str, Any]]


class UpdateBody(Body):
    """An item in the place of the one with its uid."""

    item: ItemBody
    replace: bool = Field(default=False, description="Give it a new uid.")


class PickBody(Body):
    """One of the items that wait."""

    uid: str | None = None
    pos: Position = "back"

    def pick(self, items: tuple[Item, ...]) -> Item:
        """Return the item that is meant."""
        if self.uid is not None:
            return items[_index([item.item_uid for item in items], self.uid)]
        place = {"front": 0, "back": -1}[self.pos] if isinstance(self.pos, str) else self.pos
        try:
            return items[place]
        except IndexError:
            raise ItemNotFoundError(f"no item waits at position {self.pos!r}") from None


class _DestinationBody(_Beside):
    own = "pos_dest"

    pos_dest: Position | None = Field(None, description="A number, `front` or `back`.")

    def destination(self, others: list[str], moved: int) -> int:
        """Return where what is moved goes among the others, so that it begins at ``pos_dest``."""
        index = self.beside(others)
        if index is not None:
            return index
        if self.pos_dest is None:
            raise WrongStateError("Say where to: pos_dest, before_uid or after_uid.")
        if isinstance(self.pos_dest, str):
            return 0 if self.pos_dest == "front" else len(others)
        length = len(others) + moved
        if not -length <= self.pos_dest < length:
            raise ItemNotFoundError(f"no item waits at position {self.pos_dest}")
        return min(self.pos_dest % length, len(others))


class MoveBody(_DestinationBody):
    """An item to be moved, and where to."""

    uid: str | None = None
    pos: Position | None = None


class MoveBatchBody(_DestinationBody):
    """Items to be moved side by side, and where to."""

    uids: list[str] = Field(default_factory=list)
    reorder: bool = Field(default=False, description="Keep their present order.")


class RemoveBatchBody(Body):
    """Items to be taken out of the queue."""

    uids: list[str]
    ignore_missing: bool = Field(default=True, description="Remove the others.")


def _index(uids: list[str], uid: str) -> int:
    try:
        return uids.index(uid)
    except ValueError:
        raise ItemNotFoundError(f"no waiting item has the uid {uid!r}") from None
