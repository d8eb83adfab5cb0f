"""What a request may ask for, and what is said when it asks for something else."""

import re
from collections.abc import Mapping
from typing import Annotated, Final, NamedTuple, Self, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainValidator,
    ValidationError,
)

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


_SPAN: Final = re.compile(r"(\d{1,9})?:(\d{1,9})?", re.ASCII)


class Span(NamedTuple):
    """From where to before where along one axis; None is the axis's own end."""

    start: int | None
    stop: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``a:b``, ``a:``, ``:b`` or ``:``."""
        if not (found := _SPAN.fullmatch(text)):
            raise ValueError("a range is written a:b, from a to before b, such as 0:512")
        return cls(*(int(end) if end else None for end in found.groups()))

    def within(self, name: str, extent: int) -> range:
        """Return which pixels these are; raises QueryError where there are none."""
        start = 0 if self.start is None else self.start
        stop = extent if self.stop is None else self.stop
        if not start < stop <= extent:
            reason = f"this volume has {name} 0:{extent}; {start}:{stop} is not a part of it"
            raise QueryError({name: reason})
        return range(start, stop)


_WHOLE: Final = Span(None, None)
SpanText = Annotated[Span, PlainValidator(Span.parse)]


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


class RoiQuery(_Query):
    """A region of a volume."""

    z: SpanText = _WHOLE
    y: SpanText = _WHOLE
    x: SpanText = _WHOLE

    def within(self, shape: tuple[int, int, int]) -> tuple[range, range, range]:
        """Return which pixels of a volume of this shape these are; raises QueryError for none."""
        slices, rows, columns = shape
        return self.z.within("z", slices), self.y.within("y", rows), self.x.within("x", columns)


class ProjectionQuery(_Query):
    """One projection of a volume."""

    plane: Plane


class ImageQuery(_Query):
    """One slice or one projection of a volume, and the counts drawn black and white.

    Rows y and columns x cut a part out of the slice.
    """

    z: int | None = Field(default=None, ge=0)
    projection: Plane | None = None
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None
    y: SpanText = _WHOLE
    x: SpanText = _WHOLE

    @property
    def view(self) -> int | Plane | None:
        """The slice or the plane of projection asked for, if any.

        Raises QueryError for both, and for a part of a projection.
        """
        if self.z is not None and self.projection is not None:
            raise QueryError({"z": "a projection is of all slices; give z or projection, not both"})
        if self.projection is not None and (self.y, self.x) != (_WHOLE, _WHOLE):
            raise QueryError({"y": "a part is cut out of a slice; a projection is drawn whole"})
        return self.z if self.projection is None else self.projection
