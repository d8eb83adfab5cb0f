"""Plans that find embryos in what was taken, and go on with what they find."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator
from pydantic import Field

from devices import Finder, FindRequest, LightSheet, Projection, Stage
from plans.acquisition import acquire_volume
from plans.parameters import ExposureMs, all_devices, inject

__all__ = ["detect", "find_embryos"]

DetectorName = Literal["classical", "sam"]
_TOLD = ("name", "x_um", "y_um", "certain")


def detect(
    finder: Finder,
    uid: str,
    *,
    detector: str = "classical",
    plane: int | None = None,
    projection: Projection = "max",
    settings: Mapping[str, Any] | None = None,
    timeout_s: float = 120.0,
) -> MsgGenerator[Mapping[str, Any]]:
    """Find embryos in the volume of this uid; a stub, for use in the middle of a plan.

    Parameters
    ----------
    finder
        The device that has it done.
    uid, detector, plane, projection, settings, timeout_s
        As of `devices.FindRequest`.

    Returns
    -------
    dict
        ``{"detection_uid": …, "objects": [{"name": …, "x_um": …, "y_um": …, …}, …]}``. Without
        objects in a preflight, where no volume was taken.
    """
    request = FindRequest(
        uid=uid,
        detector=detector,
        plane=plane,
        projection=projection,
        settings=settings or {},
        timeout_s=timeout_s,
    )

    def search() -> MsgGenerator[Mapping[str, Any]]:
        yield from bps.checkpoint()  # after a pause it is looked for anew
        yield from bps.prepare(finder, request, wait=True)
        yield from bps.trigger(finder, wait=True)
        readings = yield from bps.read(finder)
        yield from bps.checkpoint()
        return finder.found(readings[f"{finder.name}_detection"]["value"])

    return (yield from bpp.stage_wrapper(search(), [finder]))


def find_embryos(
    num_slices: Annotated[int, Field(ge=1, le=10_000, description="How many slices.")] = 1,
    exposure_ms: ExposureMs = 10.0,
    step_um: Annotated[
        float,
        Field(ge=0, le=100, description="Distance between two slices, in µm."),
    ] = 0.0,
    detector: Annotated[DetectorName, Field(description="Who looks.")] = "classical",
    timeout_s: Annotated[
        float, Field(ge=1, le=3600, description="How long finding may take, in s.")
    ] = 120.0,
    light_sheet: LightSheet = inject("light_sheet"),
    stages: list[Stage] = all_devices(),
    finder: Finder = inject("finder"),
) -> MsgGenerator[dict[str, Any]]:
    """Take one volume where the microscope is, and find the embryos in its projection.

    Returns
    -------
    dict
        ``uid`` of the volume, ``detection_uid``, and ``objects``, each with its ``name``, its place
        ``x_um``, ``y_um`` on the stage, and whether it is ``certain``.
    """
    volume = yield from acquire_volume(
        num_slices=num_slices,
        exposure_ms=exposure_ms,
        step_um=step_um,
        light_sheet=light_sheet,
        stages=stages,
    )
    found = yield from detect(finder, volume["uid"], detector=detector, timeout_s=timeout_s)
    return {
        "uid": volume["uid"],
        "detection_uid": found["detection_uid"],
        "objects": [{key: each[key] for key in _TOLD} for each in found["objects"]],
    }
