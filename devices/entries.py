"""The entries of an instrument file: what can be said of each kind of device."""

import math
from itertools import combinations
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

__all__ = [
    "AxesEntry",
    "CameraEntry",
    "Entry",
    "FocusDriveEntry",
    "LaserLineEntry",
    "LasersEntry",
    "LightSheetEntry",
    "Name",
    "PiezoEntry",
    "ScannerEntry",
    "ShutterEntry",
    "Strict",
    "TriggeredLightSheetEntry",
    "ViewEntry",
    "ViewsEntry",
    "XYLimits",
    "XYStageEntry",
]

_EXACT = 1e-3


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if not pair[0] < pair[1]:
        raise ValueError(f"low must be below high, not {pair[0]:g} to {pair[1]:g}")
    return pair


def _unit(vector: tuple[float, float, float]) -> tuple[float, float, float]:
    if abs(math.hypot(*vector) - 1) > _EXACT:
        raise ValueError(f"{list(vector)} has to be of length 1, and is of {math.hypot(*vector):g}")
    return vector


# Strict: YAML's `yes` must not become 1 µm, nor a quoted number a limit.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Pair = Annotated[tuple[Number, Number], AfterValidator(_rising)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Pixels = Annotated[int, Field(strict=True, ge=0)]
Region = tuple[
    Pixels,
    Pixels,
    Annotated[int, Field(strict=True, gt=0)],
    Annotated[int, Field(strict=True, gt=0)],
]
Direction = Annotated[tuple[Number, Number, Number], AfterValidator(_unit)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Label = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """A part of the file that knows all its keys, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class XYLimits(Strict):
    """Limits of both axes in µm, as [low, high]."""

    x: Pair
    y: Pair


class XYStageEntry(Strict):
    """An XY stage."""

    kind: Literal["xy_stage"]
    label: Label
    limits_um: XYLimits
    tolerance_um: Positive = 1.0
    timeout_s: Positive = 30.0


class FocusDriveEntry(Strict):
    """A drive along one axis."""

    kind: Literal["focus_drive"]
    label: Label
    limits_um: Pair
    tolerance_um: Positive = 1.0
    timeout_s: Positive = 10.0


class PiezoEntry(Strict):
    """A drive that steps once a slice by itself, in volumes that the controller takes."""

    kind: Literal["piezo"]
    label: Label
    limits_um: Pair
    tolerance_um: Positive = 0.5
    timeout_s: Positive = 10.0


class ScannerEntry(Strict):
    """A mirror of two axes, on one side."""

    kind: Literal["scanner"]
    label: Label
    side: Literal["A", "B"]
    limits_deg: Pair
    filter_khz: Positive


class ShutterEntry(Strict):
    """A light gate."""

    kind: Literal["shutter"]
    label: Label
    timeout_s: Positive = 5.0
    power_mw: Positive | None = None


class CameraEntry(Strict):
    """A camera, and by what it shows that it has lost or repeated a frame."""

    kind: Literal["camera"]
    label: Label
    pixel_size_um: Positive
    exposure_limits_ms: Pair
    frame_counter: Label | None = None
    frames_differ: bool = True
    roi: Region | None = None
    row_us: Positive | None = None
    reset_ms: NotNegative = 0.0


class LaserLineEntry(Strict):
    """One laser line: by what it is let through, and by what it gets its power."""

    preset: Label
    power: Label
    switch: Label | None = None
    limits_percent: Pair
    default_percent: NotNegative
    mw_per_percent: Positive | None = None


class LasersEntry(Strict):
    """Laser lines, one of which is let through at a time."""

    kind: Literal["lasers"]
    label: Label
    shutter: Name
    group: Label
    off_preset: Label
    lines: Annotated[dict[Label, LaserLineEntry], Field(min_length=1)]
    timeout_s: Positive = 5.0


class LightSheetEntry(Strict):
    """A light sheet that steps between single frames, made of devices named elsewhere."""

    kind: Literal["light_sheet"]
    camera: Name
    slice_drive: Name
    shutter: Name


class AxesEntry(Strict):
    """How a side sees the sample: unit vectors in the stage's x, y and z."""

    columns: Direction
    rows: Direction
    depth: Direction

    @model_validator(mode="after")
    def _are_perpendicular(self) -> Self:
        for one, other in combinations((self.columns, self.rows, self.depth), 2):
            if abs(sum(a * b for a, b in zip(one, other, strict=True))) > _EXACT:
                raise ValueError(f"{list(one)} and {list(other)} are not perpendicular")
        return self


class ViewEntry(Strict):
    """A side of a light sheet that the controller runs, its calibration, and how it lies."""

    camera: Name
    piezo: Name
    scanner: Name
    slope_um_per_deg: Positive
    offset_um: Number
    sheet_width_deg: NotNegative
    sheet_center_deg: Number = 0.0
    axes: AxesEntry | None = None


class ViewsEntry(Strict):
    """The sides."""

    a: ViewEntry
    b: ViewEntry | None = None


class TriggeredLightSheetEntry(Strict):
    """A light sheet that the controller runs by itself, made of devices named elsewhere."""

    kind: Literal["triggered_light_sheet"]
    lasers: Name
    views: ViewsEntry
    both_cameras: Label | None = None

    @model_validator(mode="after")
    def _two_views_need_both_cameras(self) -> Self:
        if (self.views.b is None) != (self.both_cameras is None):
            raise ValueError("both_cameras is given if there is a view b, and only then")
        return self


Entry = Annotated[
    XYStageEntry
    | FocusDriveEntry
    | PiezoEntry
    | ScannerEntry
    | ShutterEntry
    | LasersEntry
    | CameraEntry
    | LightSheetEntry
    | TriggeredLightSheetEntry,
    Field(discriminator="kind"),
]
