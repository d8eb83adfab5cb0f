"""What a volume is going to be, as read from the hardware just before the light goes on."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from types import MappingProxyType
from typing import Any
from uuid import uuid4

from devices.frames import Labels, PlannedVolume, ViewName, VolumeRequest
from devices.slicing import Places, Slicer, View
from devices.stage import Stage
from devices.stage_space import to_stage_um
from devices.triggered import TriggeredSlicer

__all__ = ["Plans", "drives_um", "plan", "plan_alike", "positions_um"]

Plans = Mapping[ViewName, PlannedVolume]


def positions_um(stages: tuple[Stage, ...]) -> dict[str, float]:
    """Read every axis back, by ``"device.axis"``."""
    found: dict[str, float] = {}
    for stage in stages:
        values = [reading["value"] for reading in stage.read().values()]
        for axis, value in zip(stage.limits, values, strict=True):
            found[f"{stage.name}.{axis}"] = float(value)
    return found


def drives_um(slicer: Slicer, found_um: Mapping[str, float]) -> Places:
    """Return where the slice drive of each view is, of all axes."""
    return {view: found_um[f"{one.drive.name}.z"] for view, one in slicer.views.items()}


def plan(
    slicer: Slicer, request: VolumeRequest, centers_um: Places, found_um: Mapping[str, float]
) -> Plans:
    """Make ready in the dark, and read from the hardware what has to be known beforehand.

    Parameters
    ----------
    slicer
        What is made ready.
    request
        For a volume of each of its views.
    centers_um
        Around where.
    found_um
        Where every axis was read back.
    """
    light = slicer.arm(request, centers_um)
    planned: dict[ViewName, PlannedVolume] = {}
    for view, center_um in centers_um.items():
        camera, drive = slicer.views[view].camera, slicer.views[view].drive
        height, width, dtype = camera.frame_format()
        planned[view] = PlannedVolume(
            shape=(request.num_slices, height, width),
            dtype=dtype.name,
            pixel_size_um=camera.pixel_size_um,
            step_um=request.step_um,
            exposure_ms=float(camera.read()[f"{camera.name}_exposure"]["value"]),
            positions_um=found_um,
            first_z_um=request.position_um(center_um, 0),
            z_tolerance_um=drive.tolerance_um,
            significant_bits=camera.significant_bits(),
            frames_differ=camera.frames_differ,
            camera=camera.name,
            run_uid=request.run_uid,
            file_format=request.file_format,
            compression=request.compression,
            uid="",
            labels=Labels(),
            metadata={
                "view": view,
                "light": dict(light),
                **_calibration(slicer, view),
                **_in_stage_space(
                    slicer.views[view], request, center_um, (height, width), found_um
                ),
            },
        )
    return plan_alike(planned, request)


def plan_alike(
    before: Plans,
    request: VolumeRequest,
    said: Mapping[ViewName, Mapping[str, Any]] = MappingProxyType({}),
) -> Plans:
    """Return what is planned of volumes that are as those before them, with uids of their own.

    Parameters
    ----------
    before
        What was planned of those.
    request
        For these.
    said
        What else is known of each, as JSON has it.
    """
    uids = {view: uuid4().hex for view in before}
    return {
        view: replace(
            planned,
            uid=uids[view],
            run_uid=request.run_uid,
            labels=_labels(request, view, str(planned.metadata["light"].get("line", ""))),
            metadata={
                **planned.metadata,
                "siblings": [uid for other, uid in uids.items() if other != view],
                **said.get(view, {}),
            },
        )
        for view, planned in before.items()
    }


def _calibration(slicer: Slicer, view: ViewName) -> dict[str, Any]:
    """Return what is told of the calibration of a side, as JSON has it; nothing without one."""
    if not isinstance(slicer, TriggeredSlicer):
        return {}
    return {"calibration": asdict(slicer.views[view].calibration)}


def _in_stage_space(
    side: View,
    request: VolumeRequest,
    center_um: float,
    size_px: tuple[int, int],
    found_um: Mapping[str, float],
) -> dict[str, Any]:
    """Return where the voxels of a side lie on the stage; nothing if that is not known."""
    found = to_stage_um(
        side.axes,
        request,
        drive=side.drive.name,
        center_um=center_um,
        size_px=size_px,
        pixel_size_um=side.camera.pixel_size_um,
        positions_um=found_um,
    )
    return {} if found is None else {"to_stage_um": found}


def _labels(request: VolumeRequest, view: ViewName, line: str) -> Labels:
    """Return by what the volume of one view is to be found."""
    channel = request.labels.channel or line
    if len(request.views) > 1:
        channel = f"{channel} {view}".strip()
    return replace(request.labels, channel=channel)
