"""How a plan's signature says what its parameters are.

The signature is the schema: the catalogue reads these annotations and nothing else.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from devices import Views

__all__ = [
    "AxisOf",
    "ExposureMs",
    "LaserLine",
    "Percent",
    "ViewParameter",
    "all_devices",
    "inject",
]


@dataclass(frozen=True)
class AxisOf:
    """Says that a number goes to an axis of the device in another parameter.

    The limits of that axis then bound the parameter, in the schema and in the check.

    Parameters
    ----------
    parameter
        The plan's parameter that has the device.
    axis
        A key of the device's `limits`.
    """

    parameter: str
    axis: str


@dataclass(frozen=True)
class AllDevices:
    """The default of a parameter that takes every device of its type."""


def inject(name: str) -> Any:
    """Return a default that stands for the device of this name."""
    return name


def all_devices() -> Any:
    """Return a default that stands for every device of the parameter's type."""
    return AllDevices()


ExposureMs = Annotated[
    float,
    AxisOf("light_sheet", "exposure_ms"),
    Field(description="Exposure of each frame, in ms."),
]

ViewParameter = Annotated[
    Views, Field(description="The side from which the sample is seen, or both at once.")
]

LaserLine = Literal["405", "488", "561", "637"]
"""In nm."""

Percent = Annotated[float, Field(ge=0, le=100)]
