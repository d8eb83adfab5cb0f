"""What is taken and what is answered, where more than one route does."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gently.core.lifecycle import ItemState

__all__ = [
    "Answer",
    "Body",
    "Done",
    "Error",
    "FieldProblem",
    "IdempotencyKey",
    "ItemAnswer",
    "ItemBody",
    "LockKey",
    "Nothing",
    "OwnBody",
    "Progress",
    "QueuedItem",
    "Refusal",
    "ResultAnswer",
]

Json = Any
"""Whatever JSON can say."""

# ---------------------------------------------------------------------- what is taken


class Body(BaseModel):
    """Parameters of Bluesky's routes, whose clients may send more than a route needs."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class OwnBody(BaseModel):
    """Parameters of a route of our own: what is unknown is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Body):
    """No parameters."""


class LockKey(Body):
    """The key of the dialect's lock, where something is locked."""

    lock_key: str | None = Field(None, description="The key of the lock, where one is set.")


IdempotencyKey = Annotated[
    Annotated[str, Field(min_length=1, max_length=200)] | None,
    Field(description="Or as the header `Idempotency-Key`: the same key is submitted once."),
]


class ItemBody(Body):
    """A plan or an instruction as Bluesky's clients send it."""

    item_type: str = Field("plan", description="`plan`, or `instruction`.")
    name: str = Field(description="Of a plan in the catalogue; or `queue_stop`.")
    item_uid: str | None = Field(None, description="Of the item that is replaced.")
    args: tuple[Any, ...] = Field((), description="Arguments by position.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Arguments by name.")
    meta: dict[str, Any] = Field(
        default_factory=dict, description="Goes into the start document of each run."
    )


# ---------------------------------------------------------------------- what is answered


class Answer(BaseModel):
    """What a route answers: this and nothing else."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldProblem(Answer):
    """What is wrong with one field of a request."""

    field: str
    message: str


class Error(Answer):
    """What each answer of a status of 400 and above is."""

    detail: str = Field(description="What is wrong, why, and what to do, in a sentence.")
    errors: list[FieldProblem] = Field([], description="Where it is about fields.")


class Done(Answer):
    """What Bluesky's clients read first."""

    success: Literal[True]
    msg: str


class Refusal(Answer):
    """A request of the dialect that was understood, and refused."""

    success: Literal[False]
    msg: str = Field(description="What is wrong, why, and what to do, in a sentence.")
    errors: list[FieldProblem] = Field([], description="Where it is about fields.")
    item: Json = Field(None, description="As it was submitted, if an item was.")
    qsize: int | None = Field(None, description="How many items wait, if an item was submitted.")


class ResultAnswer(Answer):
    """What became of an item."""

    exit_status: Literal["completed", "failed", "aborted", "stopped", "halted", "interrupted"]
    run_uids: list[str] = Field(description="Of its Bluesky runs.")
    scan_ids: list[int]
    time_start: float = Field(description="Seconds since 1970.")
    time_stop: float = Field(description="Seconds since 1970.")
    msg: str = Field(description="Why, unless it completed.")
    traceback: str = Field(description="If the plan raised.")
    return_value: Json = Field(description="What the plan returned.")


class ItemProperties(Answer):
    """Of an item that has begun."""

    time_start: float = Field(description="Seconds since 1970.")


class Approval(Answer):
    """By whom an item was approved."""

    proposal_uid: str
    digest: str = Field(description="SHA-256 of the canonical JSON of what was approved.")
    by: str
    time: float = Field(description="Seconds since 1970.")


class ItemAnswer(Answer):
    """An item as it was asked for."""

    item_type: Literal["plan", "instruction"]
    name: str
    args: list[Json]
    kwargs: dict[str, Json]
    meta: dict[str, Json]
    user: str = Field(description="Who asked for it.")
    user_group: str
    item_uid: str
    approval: Approval | None = Field(None, description="If it was a proposal.")
    properties: ItemProperties | None = Field(None, description="Once it has begun.")


class QueuedItem(ItemAnswer):
    """An item, and what became of it."""

    result: ResultAnswer | None = Field(None, description="Once it has ended.")


class Progress(Answer):
    """How far the plan that runs has come."""

    name: str | None
    current: Json
    target: Json
    unit: str | None
    fraction: float = Field(description="Done, 0 to 1.")
    seconds_left: float | None


class ItemStateAnswer(Answer):
    """An item, how far it has come, and what became of it."""

    item: ItemAnswer
    state: ItemState
    progress: Progress | None
    result: ResultAnswer | None
