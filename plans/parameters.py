"""How a plan's signature says what its parameters are.

The signature is the schema: the catalogue reads these annotations and nothing else.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from devices import Compression, FileFormat, ViewName, Views

__all__ = [
    "AcquisitionUid",
    "AxisOf",
    "CompressionParameter",
    "ExposureMs",
    "FileFormatParameter",
    "LaserLine",
    "LineParameter",
    "LinesParameter",
    "NumSlices",
    "PowerParameter",
    "PowersParameter",
    "SideParameter",
    "StepUm",
    "SweepCenterUm",
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

SideParameter = Annotated[ViewName, Field(description="The side from which the sample is seen.")]

LaserLine = Literal["405", "488", "561", "637"]
"""In nm."""

LineParameter = Annotated[
    LaserLine | None,
    Field(description="The laser line; by default the first of the instrument."),
]

PowerParameter = Annotated[
    float | None,
    Field(
        ge=0, le=100, description="Its power, in percent; by default as the instrument file has it."
    ),
]

LinesParameter = Annotated[
    list[LaserLine] | None,
    Field(
        min_length=1,
        max_length=4,
        description="The laser lines, of which each gives a volume, one after the other; by "
        "default the first of the instrument.",
    ),
]

PowersParameter = Annotated[
    list[Annotated[float, Field(ge=0, le=100)]] | None,
    Field(
        min_length=1,
        max_length=4,
        description="The power of each line, in percent, in their order; by default as the "
        "instrument file has it.",
    ),
]

NumSlices = Annotated[
    int, Field(ge=1, le=10_000, description="How many slices a volume has; 1 is a picture.")
]

StepUm = Annotated[float, Field(ge=0, le=100, description="Distance between two slices, in µm.")]

SweepCenterUm = Annotated[
    float | None,
    Field(description="Middle of the sweeps on the slice drive, in µm; by default where it is."),
]

FileFormatParameter = Annotated[FileFormat, Field(description="As of acquire_volume.")]
CompressionParameter = Annotated[Compression, Field(description="As of acquire_volume.")]

AcquisitionUid = Annotated[
    str,
    Field(
        pattern="^([0-9a-f]{32})?$",
        description="Of an acquisition to go on with: what is there of it is not taken again. "
        "By default a new one, with the uid of the item.",
    ),
]
"""The uid of an acquisition, or nothing."""
