"""Plans that take pictures."""

from typing import Annotated, Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator
from pydantic import Field

from devices import Compression, FileFormat, LightSheet, OnShort, Stage, VolumeRequest
from plans.parameters import ExposureMs, all_devices, inject

__all__ = ["acquire_volume", "snap"]

_SUMMARY = ("uid", "path", "shape", "dtype", "session_id")


def acquire_volume(
    num_slices: Annotated[int, Field(ge=1, le=10_000, description="How many slices.")] = 50,
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
    light_sheet: LightSheet = inject("light_sheet"),
    stages: list[Stage] = all_devices(),
) -> MsgGenerator[dict[str, Any]]:
    """Take one volume and publish it.

    Returns
    -------
    dict
        ``{uid, path, shape, dtype, session_id}`` of the published file; shape is (z, y, x).
    """

    def take() -> MsgGenerator[dict[str, Any]]:
        run_uid = yield from bps.open_run()
        # A pause gives the volume up; it is taken again from here.
        yield from bps.checkpoint()
        request = VolumeRequest(
            num_slices=num_slices,
            exposure_ms=exposure_ms,
            step_um=step_um,
            center_um=center_um,
            on_short=on_short,
            run_uid=run_uid or "",
            file_format=file_format,
            compression=compression,
        )
        yield from bps.prepare(light_sheet, request, wait=True)
        yield from bps.trigger_and_read([light_sheet, *stages])
        # A run that was closed cannot be gone back into: a pause goes on from here.
        yield from bps.checkpoint()
        yield from bps.close_run()
        yield from bps.checkpoint()  # where a pause comes that was asked for meanwhile
        return _summary(light_sheet)

    return (yield from bpp.stage_wrapper(take(), [light_sheet]))


def snap(
    exposure_ms: ExposureMs = 10.0,
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
            light_sheet=light_sheet,
            stages=stages,
        )
    )


def _summary(light_sheet: LightSheet) -> dict[str, Any]:
    """Return what is told about the volume just published; empty words in a preflight."""
    published = light_sheet.published
    metadata = published.metadata() if published else dict.fromkeys(_SUMMARY, "")
    return {key: metadata[key] for key in _SUMMARY}
