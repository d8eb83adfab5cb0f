"""Which way the slices of a volume go, and how far apart they truly are, on an embryo in view.

Two volumes whose middles are a known way apart show the same content in other slices: by as many
as the way has steps. So it is seen whether scanner and piezo sweep, in which direction, and whether
the controller's amplitude is from end to end, as it is taken to be.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from devices import Lasers, LightSheet, TriggeredSlicer, ViewName, VolumeRequest, XYStage
from gently.check.bench import Bench, Step, axes_of, moved
from gently.check.report import Finding, Group, Status, measured
from gently.check.seen import ALIKE, Seen
from gently.check.shifts import shift_between, slices_between

__all__ = ["sweep_finding", "sweeps"]

_SLICES = 16
_STEP_UM = 1.0
_APART_UM = 4.0
_EXPOSURE_MS = 5.0
_PART_OF_FIELD = 0.15
_OK, _WRONG = 0.15, 0.3
# Of the way that is due: less is none.
_STILL = 0.25
_SOURCE = "the step that the controller is told, its amplitude from end to end"


def sweeps(bench: Bench) -> Iterator[Step]:
    """Yield a step for each light sheet that the controller runs."""
    for sheet in bench.all_of(LightSheet):
        slicer = sheet.slicer
        for stage in bench.all_of(XYStage)[:1]:
            (along_y,) = (axis for axis in axes_of(stage) if axis.name == "y")
            way_um = along_y.way(_PART_OF_FIELD * sheet.field_um[1])
            if not isinstance(slicer, TriggeredSlicer) or way_um is None:
                continue
            views = list(slicer.views.values())
            lasers = slicer.light
            line = lasers.line(lasers.first)
            lit_ms = 3 * _SLICES * _EXPOSURE_MS
            yield Step(
                group=Group.DIRECTIONS,
                name=f"{sheet.name} sweeps",
                question=f"Take 3 volumes of each view of {sheet.name}, of {_SLICES} slices "
                f"({lasers.first} at {line.limits.low:g} %: {lit_ms:g} ms of light a view, in "
                f"pulses), with {', '.join(view.drive.name for view in views)} sweeping over "
                f"{_STEP_UM * (_SLICES - 1) + _APART_UM:g} µm, and move {stage.name} by "
                f"{way_um:+.0f} µm in y and back between them? An embryo has to be in view.",
                run=partial(_swept, bench, sheet, slicer, stage, way_um),
                needs=(
                    stage.name,
                    sheet.name,
                    lasers.name,
                    *(part.name for view in views for part in (view.camera, view.drive)),
                    *(view.scanner.name for view in views),
                ),
                is_lit=True,
            )


def _swept(
    bench: Bench, sheet: LightSheet, slicer: TriggeredSlicer, stage: XYStage, way_um: float
) -> Iterator[Finding]:
    for name, view in slicer.views.items():
        middle_um = view.drive.position_um
        request = _request(slicer.light, name)
        low = replace(request, center_um=middle_um - _APART_UM / 2)
        high = replace(request, center_um=middle_um + _APART_UM / 2)
        first = bench.take(sheet, low)[name].pixels
        second = bench.take(sheet, high)[name].pixels
        yield sweep_finding(f"{sheet.name} view {name} sweep", *slices_between(first, second))
        with moved(stage, "y", way_um) as went_um:
            third = bench.take(sheet, low)[name].pixels
        # What differs from slice to slice: neither the sheet's own brightness nor dust.
        seen = first.std(axis=0)
        yield from Seen(
            f"{stage.name}.y",
            view.camera,
            went_um,
            shift_between(seen, third.std(axis=0)),
            shift_between(seen, second.std(axis=0)),
            bench.source,
        ).findings()


def _request(lasers: Lasers, view: ViewName) -> VolumeRequest:
    return VolumeRequest(
        num_slices=_SLICES,
        exposure_ms=_EXPOSURE_MS,
        step_um=_STEP_UM,
        view=view,
        line=lasers.first,
        power_percent=lasers.line(lasers.first).limits.low,
    )


def sweep_finding(name: str, slices: float, likeness: float) -> Finding:
    """Return what the way of the content through the slices says."""
    due = -_APART_UM / _STEP_UM
    ratio = slices / due
    status, says = Status.OK, ""
    if likeness < ALIKE:
        status, says = Status.NOT_DONE, "there is nothing in the volumes that could be seen to move"
    elif abs(ratio) < _STILL:
        status, says = Status.FAILED, "the slices are the same wherever the sweep is"
    elif ratio < 0:
        status, says = Status.FAILED, "the slices come in the opposite order"
    elif abs(ratio - 1) > _OK:
        status = Status.ATTENTION if abs(ratio - 1) <= _WRONG else Status.FAILED
        says = (
            f"slices are {_STEP_UM / ratio:.3g} µm apart, and not {_STEP_UM:g} µm: look whether "
            "the controller takes an amplitude from end to end"
        )
    remedy = "Calibrate piezo and galvo, and look at the cables and directions of both axes."
    if status is Status.NOT_DONE:
        remedy = "Bring an embryo into view, then check again."
    values = [
        measured("the middle went", _APART_UM, "um"),
        measured("the content", slices, "slices"),
        measured("likeness", likeness),
    ]
    if not math.isclose(ratio, 0, abs_tol=_STILL):
        values.append(measured("slices are apart", _STEP_UM / ratio, "um"))
    return Finding(
        group=Group.DIRECTIONS,
        name=name,
        status=status,
        says=says,
        measured=tuple(values),
        expected=f"{due:g} slices, to {100 * _OK:g} %",
        source=_SOURCE,
        remedy="" if status is Status.OK else remedy,
    )
