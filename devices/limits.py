"""Limits that fail closed: an axis has finite low < high, or the device does not exist."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import TypeGuard

from devices.errors import LimitError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """The closed interval that an axis may be asked for.

    Unlike ophyd's soft positioners, where (0, 0), None or NaN mean "anything goes", limits
    that are not two finite numbers with low < high cannot be constructed.

    Parameters
    ----------
    low, high
        Both allowed, in `units`.
    units
        ``"um"``, ``"ms"`` or ``"deg"``.
    source
        Where they were written down, for the error message.
    """

    low: float
    high: float
    units: str
    source: str = "the instrument file"

    def __post_init__(self) -> None:
        for name, bound in (("low", self.low), ("high", self.high)):
            if not is_finite_number(bound):
                raise LimitError(
                    f"the {name} limit is {bound!r}; it must be a finite number", field=name
                )
        if not self.low < self.high:
            raise LimitError(
                f"the limits are {_shown(self.low)} to {_shown(self.high)}; low must be below high",
                field="low",
            )

    def check(self, axis: str, value: object, *, present: float | None = None) -> float:
        """Return `value` as a float, or raise `LimitError` if the axis must not go there.

        Parameters
        ----------
        axis
            As in ``"xy_stage.x"``; its last part is the error's `field`.
        value
            Anything. Booleans, NaN, infinities, strings and None are refused.
        present
            Where the axis is, for the message.
        """
        field = axis.rpartition(".")[2]
        if not is_finite_number(value):
            raise LimitError(
                f"{axis} asked for {value!r}, which is no finite number; limits {self}", field=field
            )
        number = float(value)
        if not self.low <= number <= self.high:
            at = "" if present is None else f" at {_shown(present)} {self._shown_units}"
            raise LimitError(
                f"{axis}{at} asked for {_shown(number)} {self._shown_units}; limits {self}",
                field=field,
            )
        return number

    def __str__(self) -> str:
        return f"{_shown(self.low)} to {_shown(self.high)} {self._shown_units} ({self.source})"

    @property
    def _shown_units(self) -> str:
        return "µm" if self.units == "um" else self.units


def is_finite_number(value: object) -> TypeGuard[float]:
    """Tell whether `value` is a real, finite number and not a boolean."""
    # numpy's booleans are no Real; Python's are, and True must not mean 1 µm.
    if type(value) is bool or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False


def _shown(number: float) -> str:
    # Enough digits that a value just outside does not look like the limit itself.
    return f"{float(number):.12g}"
