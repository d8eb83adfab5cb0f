"""Volumes as they will be taken: whether all frames come, when, and with what light."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from devices import Camera, DeviceError, LightSheet, LimitError, TriggeredSlicer, VolumeRequest
from gently.check.bench import Bench, Step, Taken
from gently.check.report import Finding, Group, Status, measured

__all__ = ["volumes"]

_SLICES = 10
_FRAMES = 3
_DARK_SLICES = 2
_STEP_UM = 0.5
_EXPOSURE_MS = 5.0
_QUARTER_MS = 0.25
_LATE = 0.2
# Of the mean of a frame: more than this is light.
_LEAST_COUNTS = 0.2


def volumes(bench: Bench) -> Iterator[Step]:
    """Yield a step for each light sheet."""
    for sheet in bench.all_of(LightSheet):
        slicer = sheet.slicer
        views = list(slicer.views.values())
        parts = (one.name for view in views for one in (view.camera, view.drive))
        request = _request(sheet)
        lit_ms = request.num_slices * request.exposure_ms
        what = f"a volume of {request.num_slices} frames of {request.exposure_ms:g} ms"
        if isinstance(slicer, TriggeredSlicer):
            ways = ", ".join(view.drive.name for view in views)
            what += (
                f" of each view and of all at once, {ways} sweeping over "
                f"{_STEP_UM * (_SLICES - 1):g} µm and back, with {request.line} at "
                f"{request.power_percent:g} %: {lit_ms:g} ms of light each, in pulses; and "
                f"{_DARK_SLICES} frames at 0 %"
            )
        else:
            what += f" in the light of {slicer.light.name}, on for less than a second"
        yield Step(
            group=Group.VOLUMES,
            name=sheet.name,
            question=f"Take {what}? Exposures are set to their limits and back. Nothing is stored.",
            run=partial(_taken, bench, sheet, request),
            needs=(sheet.name, slicer.light.name, *parts),
            is_lit=True,
        )


def _request(sheet: LightSheet) -> VolumeRequest:
    limits = [view.camera.limits["exposure_ms"] for view in sheet.slicer.views.values()]
    low, high = max(one.low for one in limits), min(one.high for one in limits)
    exposure_ms = min(max(_EXPOSURE_MS, low), high)
    request = VolumeRequest(num_slices=_FRAMES, exposure_ms=exposure_ms, step_um=0.0)
    if not isinstance(sheet.slicer, TriggeredSlicer):
        return request
    lasers = sheet.slicer.light
    return replace(
        request,
        num_slices=_SLICES,
        exposure_ms=math.ceil(exposure_ms / _QUARTER_MS) * _QUARTER_MS,
        step_um=_STEP_UM,
        line=lasers.first,
        power_percent=lasers.line(lasers.first).limits.low,
    )


def _taken(bench: Bench, sheet: LightSheet, request: VolumeRequest) -> Iterator[Finding]:
    slicer = sheet.slicer
    if not isinstance(slicer, TriggeredSlicer):
        yield from _volume(bench, sheet, request, {})
    else:
        dark: dict[str, float] = {}
        for view in slicer.views:
            one = replace(request, view=view)
            dark_request = replace(one, num_slices=_DARK_SLICES, power_percent=0.0, step_um=0.0)
            yield from _volume(bench, sheet, dark_request, dark)
            yield from _volume(bench, sheet, one, dark)
        if len(slicer.views) > 1:
            yield from _volume(bench, sheet, replace(request, view="dual"), dark)
    for seen in slicer.views.values():
        yield _exposures(seen.camera)


def _volume(
    bench: Bench, sheet: LightSheet, request: VolumeRequest, dark: dict[str, float]
) -> Iterator[Finding]:
    """Take volumes; the dark ones are noted for those that follow."""
    name = f"{sheet.name} view {request.view}" if sheet.has_sheet else sheet.name
    if request.power_percent == 0:
        name += " in the dark"
    try:
        taken = bench.take(sheet, request)
    except DeviceError as error:
        # What cannot be asked for where the drives stand says nothing against them.
        is_refused = isinstance(error, LimitError)
        yield Finding(
            group=Group.VOLUMES,
            name=name,
            status=Status.NOT_DONE if is_refused else Status.FAILED,
            says=str(error),
            expected=f"{request.num_slices} frames of each view",
            source="what was asked for",
            remedy="Move what is at its limit, then check again."
            if is_refused
            else "Check trigger cables, the camera's link, and what its driver says.",
        )
        return
    for view, one in taken.items():
        if request.power_percent == 0:
            dark[view] = float(one.pixels.mean())
        yield _judged(
            sheet, name if len(taken) == 1 else f"{name}: {view}", request, one, dark, view
        )


def _judged(
    sheet: LightSheet,
    name: str,
    request: VolumeRequest,
    taken: Taken,
    dark: dict[str, float],
    view: str,
) -> Finding:
    pixels = taken.pixels
    mean = float(pixels.mean())
    bits = taken.planned.significant_bits
    values = [
        measured("frames", len(taken.frames)),
        measured("mean", mean, "counts"),
        measured("brightest", int(pixels.max()), "counts"),
        measured("saturated", 100 * float(np.mean(pixels >= 2**bits - 1)), "percent"),
    ]
    says: list[str] = []
    expected = f"{request.num_slices} frames"
    if isinstance(sheet.slicer, TriggeredSlicer):
        due_ms = sheet.slicer.timing(request).slice_ms
        found_ms = 1000 * (taken.times_s[-1] - taken.times_s[0]) / (len(taken.times_s) - 1)
        values += [measured("a slice takes", found_ms, "ms"), measured("computed", due_ms, "ms")]
        expected += f", one each {due_ms:g} ms, to {100 * _LATE:g} %"
        if abs(found_ms / due_ms - 1) > _LATE and request.power_percent:
            says.append("frames do not come in the time that was computed")
        if request.power_percent and view in dark:
            values.append(measured("above the dark", mean - dark[view], "counts"))
            expected += "; brighter than in the dark"
            if mean - dark[view] < _LEAST_COUNTS:
                says.append(
                    "it is no brighter than in the dark: no sample is in view, or no light came"
                )
    return Finding(
        group=Group.VOLUMES,
        name=name,
        status=Status.ATTENTION if says else Status.OK,
        says="; ".join(says),
        measured=tuple(values),
        expected=expected,
        source="what was asked for, and its computed timing",
        remedy="Look at the picture of a sample with the same light; look whether the computer is "
        "busy."
        if says
        else "",
    )


def _exposures(camera: Camera) -> Finding:
    """Set the exposure to its limits, and read it back, in the mode in which it takes volumes."""
    limits = camera.limits["exposure_ms"]
    (before_ms,) = (one["value"] for one in camera.read().values())
    says, values = "", []
    try:
        for asked_ms in (limits.low, limits.high):
            camera.set(asked_ms).wait()
            (found_ms,) = (one["value"] for one in camera.read().values())
            values.append(measured(f"{asked_ms:g} ms reads back", found_ms, "ms"))
        camera.set(before_ms).wait()
    except DeviceError as error:
        says = str(error)
    return Finding(
        group=Group.VOLUMES,
        name=f"{camera.name} exposures",
        status=Status.FAILED if says else Status.OK,
        says=says,
        measured=tuple(values),
        expected=f"{limits.low:g} and {limits.high:g} ms, as asked for",
        source=limits.source,
        remedy="Correct exposure_limits_ms in the instrument file." if says else "",
    )
