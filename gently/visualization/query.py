"""What a request may ask for, and what is said when it asks for something else."""

from collections.abc import Mapping
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from gently.visualization.projections import Plane

Query = TypeVar("Query", bound=BaseModel)


class QueryError(ValueError):
    """The request asks for something that does not exist.

    Attributes
    ----------
    errors : mapping
        What is wrong, by the name of the parameter.
    """

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {message}" for field, message in errors.items()))
        self.errors = errors


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Self:
        """Read a query string's parameters; raises QueryError naming each that is wrong."""
        try:
            return cls.model_validate(dict(parameters))
        except ValidationError as error:
            raise QueryError(
                {
                    ".".join(map(str, e["loc"])): f"{e['msg']} (got {e['input']!r})"
                    for e in error.errors()
                }
            ) from None


class NoQuery(_Query):
    """A route that takes no parameters."""


class ListQuery(_Query):
    """How many volumes, newest first."""

    limit: int = Field(default=100, ge=1, le=1000)


class ImageQuery(_Query):
    """One slice or one projection of a volume, and the counts drawn black and white."""

    z: int | None = Field(default=None, ge=0)
    projection: Plane | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None

    @property
    def view(self) -> int | Plane | None:
        """The slice or the plane of projection asked for, if any; raises QueryError for both."""
        if self.z is not None and self.projection is not None:
            raise QueryError({"z": "a projection is of all slices; give z or projection, not both"})
        return self.z if self.projection is None else self.projection
