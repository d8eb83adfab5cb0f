"""Plans that take pictures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any
from uuid import uuid4

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator
from pydantic import Field

from devices import (
    Compression,
    FileFormat,
    Labels,
    LightSheet,
    LimitError,
    OnShort,
    Stage,
    VolumeRequest,
)
from plans.parameters import (
    ExposureMs,
    LinesParameter,
    NumSlices,
    PowersParameter,
    ViewParameter,
    all_devices,
    inject,
)

__all__ = ["acquire_volume", "channels_of", "snap", "take_volume"]

_SUMMARY = ("uid", "path", "shape", "dtype", "session_id")


def acquire_volume(
    num_slices: NumSlices = 50,
    exposure_ms: ExposureMs = 5.0,
    step_um: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="Distance between two slices, in µm; 0 takes all at one place.",
        ),
    ] = 0.5,
    center_um: Annotated[
        float | None,
        Field(
            description="Middle of the sweep on the slice drive, in µm, or the place of all "
            "slices if step_um is 0; by default where the drive is, or, while it is left where a "
            "sweep was stopped on its way, the middle of that sweep."
        ),
    ] = None,
    file_format: Annotated[
        FileFormat,
        Field(description="Keep it as one OME-TIFF file or as a folder of OME-Zarr."),
    ] = "ome-tiff",
    compression: Annotated[
        Compression,
        Field(description="How the pixels are packed, without loss; only OME-Zarr can be."),
    ] = "none",
    on_short: Annotated[
        OnShort,
        Field(
            description="What becomes of a volume of which the camera did not deliver all: "
            "discard it, or keep what came as an incomplete volume. It fails either way."
        ),
    ] = "discard",
    view: ViewParameter = "a",
    lines: LinesParameter = None,
    powers_percent: PowersParameter = None,
    light_sheet: LightSheet = inject("light_sheet"),
    stages: list[Stage] = all_devices(),
) -> MsgGenerator[dict[str, Any]]:
    """Take a volume and publish it; one of each view and laser line that is asked for.

    Returns
    -------
    dict
        ``{uid, path, shape, dtype, session_id}`` of the published file; shape is (z, y, x). Of
        several ``{"acquisition_uid": …, "volumes": [{uid, …}, …]}``.
    """
    channels = channels_of(lines, powers_percent)
    is_alone = len(channels) == 1 and view != "dual"
    acquisition_uid = "" if is_alone else uuid4().hex

    def request(line: str, power_percent: float | None) -> VolumeRequest:
        return VolumeRequest(
            num_slices=num_slices,
            exposure_ms=exposure_ms,
            step_um=step_um,
            center_um=center_um,
            view=view,
            line=line,
            power_percent=power_percent,
            on_short=on_short,
            file_format=file_format,
            compression=compression,
            labels=Labels(acquisition_uid=acquisition_uid),
        )

    def take_all() -> MsgGenerator[dict[str, Any]]:
        volumes: list[dict[str, Any]] = []
        for channel in channels:
            volumes += yield from take_volume(request(*channel), light_sheet, stages)
        return volumes[0] if is_alone else {"acquisition_uid": acquisition_uid, "volumes": volumes}

    return (yield from bpp.stage_wrapper(take_all(), [light_sheet]))


def snap(
    exposure_ms: ExposureMs = 10.0,
    view: ViewParameter = "a",
    light_sheet: LightSheet = inject("light_sheet"),
    stages: list[Stage] = all_devices(),
) -> MsgGenerator[dict[str, Any]]:
    """Take one frame where the microscope is, and publish it as a volume of one slice.

    Returns
    -------
    dict
        As of `acquire_volume`.
    """
    return (
        yield from acquire_volume(
            num_slices=1,
            exposure_ms=exposure_ms,
            step_um=0.0,
            view=view,
            light_sheet=light_sheet,
            stages=stages,
        )
    )


def take_volume(
    request: VolumeRequest,
    light_sheet: LightSheet,
    stages: list[Stage],
    metadata: dict[str, Any] | None = None,
) -> MsgGenerator[list[dict[str, Any]]]:
    """Take the volumes of one request, in a run of their own, with a light sheet that is staged.

    Parameters
    ----------
    request
        For a volume, or one of each view.
    light_sheet, stages
        Which takes them, and what is read with them.
    metadata
        Of the run.

    Returns
    -------
    list
        ``{uid, path, shape, dtype, session_id}`` of each view.
    """
    uid = request.labels.acquisition_uid
    together = {"acquisition_uid": uid} if uid else {}
    run_uid = yield from bps.open_run({**together, **(metadata or {})})
    # A pause gives the volume up; it is taken again from here, unless it was there already.
    yield from bps.checkpoint()
    request = replace(request, run_uid=run_uid or "", is_only_of_run=True)
    yield from bps.prepare(light_sheet, request, wait=True)
    yield from bps.trigger_and_read([light_sheet, *stages])
    # A run that was closed cannot be gone back into: a pause goes on from here.
    yield from bps.checkpoint()
    yield from bps.close_run()
    yield from bps.checkpoint()  # where a pause comes that was asked for meanwhile
    return _summaries(light_sheet, request)


def channels_of(
    lines: Sequence[str] | None, powers_percent: Sequence[float] | None
) -> list[tuple[str, float | None]]:
    """Return the lines with their powers; an empty line is the instrument's first."""
    names: Sequence[str] = lines or ("",)
    powers: Sequence[float | None] = powers_percent or (None,) * len(names)
    if len(names) != len(powers):
        raise LimitError(
            f"{len(powers)} powers do not fit {len(names)} laser lines; give one for each, or none",
            field="powers_percent",
        )
    return list(zip(names, powers, strict=True))


def _summaries(light_sheet: LightSheet, request: VolumeRequest) -> list[dict[str, Any]]:
    """Return what is told about the volumes just published; empty words in a preflight."""
    found: list[dict[str, Any]] = []
    for view in request.views:
        published = light_sheet.published.get(view)
        metadata = published.metadata() if published else dict.fromkeys(_SUMMARY, "")
        found.append({key: metadata[key] for key in _SUMMARY})
    return found
