"""What plans take besides numbers: places to go to, and rules."""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["SIGHTS", "Embryo", "Measure", "Name", "Rule"]

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
IntervalS = Annotated[float, Field(ge=0, le=86_400)]
Measure = Literal[
    "time_point", "light_ms", "energy_mj", "sharpness", "off_z_um", "off_xy_um", "num_objects"
]
"""What a rule looks at: the number of the next time point, the light that the embryo had, or what
was seen of it at its last time point, as `plans.messages.Seen` has it."""
SIGHTS: Final = frozenset({"sharpness", "off_z_um", "off_xy_um", "num_objects"})
"""The measures of which something has to be seen."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Embryo(_Value):
    """An embryo, and where it is.

    Attributes
    ----------
    name
        By which its volumes are found.
    x_um, y_um
        Of the stage, with the embryo in view.
    z_um
        Of the focus drive; None leaves it where it is, and `acquire_embryo` looks for the middle.
    interval_s
        From one of its time points to the next; None takes the plan's.
    """

    name: Name
    x_um: float
    y_um: float
    z_um: float | None = None
    interval_s: IntervalS | None = None


class Rule(_Value):
    """What changes for an embryo while a measure of it is in a range.

    The rule holds or it does not: it has no memory, so that a plan that is gone on with does the
    same. The factors of all rules that hold are multiplied.

    Attributes
    ----------
    measure
        What is looked at, before each time point.
    at_least, below
        Where the rule holds.
    embryo
        For which; None for all.
    interval_factor
        What the interval is multiplied by.
    is_last
        Whether the embryo is left alone.
    """

    measure: Measure
    at_least: float | None = None
    below: float | None = None
    embryo: Name | None = None
    interval_factor: Annotated[float, Field(gt=0, le=1000)] = 1.0
    is_last: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.at_least is None and self.below is None:
            raise ValueError("a rule needs at_least or below, or it would always hold")
        if self.interval_factor == 1 and not self.is_last:
            raise ValueError("a rule changes the interval_factor, or is_last")
        return self

    def holds(self, embryo: str, found: float | None) -> bool:
        """Return whether it holds for what was found of an embryo.

        Light that is not known is beyond all bounds; what was not seen tells nothing.
        """
        if self.embryo not in (None, embryo):
            return False
        if found is None:
            return self.below is None and self.measure not in SIGHTS
        return (self.at_least is None or found >= self.at_least) and (
            self.below is None or found < self.below
        )
