"""What the core refuses, in sentences; the HTTP edge turns each into one answer."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "CatalogueError",
    "DeviceNotFoundError",
    "FieldError",
    "GentlyError",
    "ItemNotFoundError",
    "LifecycleError",
    "PlanNotFoundError",
    "PlanRefusedError",
    "QuotaError",
    "WrongStateError",
    "field_errors",
]


class GentlyError(Exception):
    """Anything the core refuses or fails to do."""


class CatalogueError(GentlyError):
    """A plan's signature does not say all that a client has to know."""


class LifecycleError(GentlyError):
    """A transition that the table does not list; the state is unchanged."""


class WrongStateError(GentlyError):
    """The request is good, but not now; says what the state is and what to do."""


class QuotaError(WrongStateError):
    """Somebody has as many items in the queue as one may have."""


class ItemNotFoundError(GentlyError):
    """There is no such item."""


class PlanNotFoundError(GentlyError):
    """There is no such plan."""


class DeviceNotFoundError(GentlyError):
    """There is no such device."""


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one field of a request."""

    field: str
    message: str


def field_errors(error: ValidationError, known: Iterable[str] = ()) -> tuple[FieldError, ...]:
    """Return what pydantic found, field by field, in words for the one who has to mend it.

    Parameters
    ----------
    error
        As raised by a model.
    known
        The model's fields, to be named where one was unknown.
    """
    return tuple(
        FieldError(
            ".".join(str(part) for part in problem["loc"]) or "body", _words(problem, list(known))
        )
        for problem in error.errors()
    )


def _words(problem: "ErrorDetails", known: list[str]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"is unknown here; known are: {', '.join(known)}" if known else "is unknown here"
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "value_error":  # a validator of ours, which says it all
        return problem["msg"].removeprefix("Value error, ")
    return problem["msg"][0].lower() + problem["msg"][1:] + f", not {problem['input']!r}"[:100]


class PlanRefusedError(GentlyError):
    """A request for a plan that must not run; names every field at fault."""

    def __init__(self, plan: str, errors: tuple[FieldError, ...]) -> None:
        sentences = "; ".join(f"{error.field}: {error.message}" for error in errors)
        super().__init__(f"{plan} was refused: {sentences}")
        self.plan = plan
        self.errors = errors
