"""Each axis goes a little way and back: where it comes to rest, when, and whether it stays."""

import time
from collections.abc import Iterator
from functools import partial

from devices import DeviceError, Scanner, Stage
from gently.check.bench import Axis, Bench, Step, axes_of
from gently.check.report import Finding, Group, Measured, Status, measured

__all__ = ["axes"]

_WAY_UM = {"XYStage": 20.0}
_OTHER_WAY_UM = 5.0
_WAY_DEG = 0.1
_CLOSE_DEG = 1e-3
# A way is to be much longer than what an axis may be off.
_TOLERANCES = 5.0
_SETTLE_S = 0.1


def axes(bench: Bench) -> Iterator[Step]:
    """Yield a step for each device that moves."""
    for device in bench.instrument.devices.values():
        if isinstance(device, Stage | Scanner):
            ways = {axis.name: _way(device, axis) for axis in axes_of(device)}
            if ways:
                yield _step(device, ways)


def _step(device: Stage | Scanner, ways: dict[str, float | None]) -> Step:
    unit = "µm" if isinstance(device, Stage) else "deg"
    parts = [
        f"by {way:+g} {unit} in {axis} and back" for axis, way in ways.items() if way is not None
    ]
    return Step(
        group=Group.AXES,
        name=device.name,
        question=f"Move {device.name} {', then '.join(parts)}? No light.",
        run=partial(_moved, device, ways),
        needs=(device.name,),
    )


def _way(device: Stage | Scanner, axis: Axis) -> float | None:
    """Return by how much an axis is to go; None if there is no room."""
    if not isinstance(device, Stage):
        return axis.way(_WAY_DEG)
    way_um = _WAY_UM.get(type(device).__name__, _OTHER_WAY_UM)
    return axis.way(max(way_um, _TOLERANCES * device.tolerance_um))


def _moved(device: Stage | Scanner, ways: dict[str, float | None]) -> Iterator[Finding]:
    for name, way in ways.items():
        if way is None:
            yield Finding(
                group=Group.AXES,
                name=f"{device.name}.{name}",
                status=Status.NOT_DONE,
                says="there is no room within its limits to move it a little",
                remedy="Move it to the middle of its limits, then check again.",
            )
            continue
        finding = _there_and_back(device, name, way)
        yield finding
        if finding.status is Status.FAILED:
            return  # its other axis is commanded with it


def _there_and_back(device: Stage | Scanner, name: str, way: float) -> Finding:
    (axis,) = (one for one in axes_of(device) if one.name == name)
    start, target = axis.value, axis.value + way
    is_stage = isinstance(device, Stage)
    tolerance = device.tolerance_um if is_stage else _CLOSE_DEG
    units, shown = axis.limits.units, "µm" if is_stage else "deg"
    values: list[Measured] = [measured("went", way, units)]
    says = ""
    try:
        values.append(measured("took", _go(device, axis, target), "s"))
        found = _where(device, name)
        time.sleep(_SETTLE_S)
        later = _where(device, name)
        _go(device, axis, start)
        back = _where(device, name)
    except DeviceError as error:
        says = str(error)
    else:
        values += [
            measured("off there", found - target, units),
            measured(f"moved in the {_SETTLE_S:g} s after", later - found, units),
            measured("off when back", back - start, units),
        ]
        wrong = [one for one in values[2:] if not abs(float(one.value)) <= tolerance]
        says = f"it was more than {tolerance:g} {shown} {wrong[0].name}" if wrong else ""
    return Finding(
        group=Group.AXES,
        name=f"{device.name}.{name}",
        status=Status.FAILED if says else Status.OK,
        says=says,
        measured=tuple(values),
        expected=f"off by {tolerance:g} {shown} at most, there and back, and at rest there",
        source="tolerance of the instrument file" if is_stage else "what the controller can hold",
        remedy="Look for an obstacle, an end switch, a cable; drive it by its own controller. It "
        "is moved no further, except back to where it was."
        if says
        else "",
    )


def _go(device: Stage | Scanner, axis: Axis, target: float) -> float:
    began = time.monotonic()
    device.set(axis.asked(target)).wait()
    return time.monotonic() - began


def _where(device: Stage | Scanner, name: str) -> float:
    device.read()
    return next(axis.value for axis in axes_of(device) if axis.name == name)
