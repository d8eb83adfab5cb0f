"""Afterwards, whatever came: the light off, everything where it was, and both read back."""

from collections.abc import Iterator, Mapping
from typing import Any

from devices import Camera, DeviceError, HardwareDevice, Lasers, LightSource, Scanner, Stage
from gently.check.bench import Bench, axes_of
from gently.check.report import Finding, Group, Status, measured

__all__ = ["Whereabouts", "put_back", "whereabouts"]

Whereabouts = Mapping[str, Mapping[str, float]]
"""What was read of each axis, by device."""

_CLOSE = 1e-3


def whereabouts(bench: Bench) -> Whereabouts:
    """Return where everything was read last."""
    return {
        name: {axis.name: axis.value for axis in axes_of(device)}
        for name, device in bench.instrument.devices.items()
    }


def put_back(bench: Bench, before: Whereabouts) -> Iterator[Finding]:
    """Put out every light first, then put back what is elsewhere; yield what is read back."""
    for light in bench.lights:
        yield _dark(light)
    for device in bench.instrument.devices.values():
        if before.get(device.name):
            yield _back(device, before[device.name])


def _dark(light: LightSource) -> Finding:
    says, state = "", "unknown"
    try:
        light.stop()
        light.check_safe()
        state = str(light.read()[light.name]["value"])
    except DeviceError as error:
        says = str(error)
    return Finding(
        group=Group.AFTERWARDS,
        name=f"{light.name} off",
        status=Status.FAILED if says else Status.OK,
        says=says,
        measured=(measured("is", state),),
        expected="off, read back",
        remedy="Switch the light off by hand." if says else "",
    )


def _back(device: HardwareDevice, before: Mapping[str, float]) -> Finding:
    says = ""
    try:
        device.read()
        for axis in axes_of(device):
            if not abs(axis.value - before[axis.name]) <= _tolerance(device, before[axis.name]):
                asked: Any = axis.asked(before[axis.name])
                device.set(asked).wait()
        device.read()
        device.check_safe()
    except DeviceError as error:
        says = str(error)
    found = {axis.name: axis for axis in axes_of(device)}
    off = [
        name
        for name, value in before.items()
        if name not in found or not abs(found[name].value - value) <= _tolerance(device, value)
    ]
    if off and not says:
        says = f"{', '.join(off)} is not where it was"
    return Finding(
        group=Group.AFTERWARDS,
        name=f"{device.name} as before",
        status=Status.FAILED if says else Status.OK,
        says=says,
        measured=tuple(
            measured(name, axis.value, axis.limits.units) for name, axis in found.items()
        ),
        expected=", ".join(f"{name} {value:g}" for name, value in before.items()),
        source="as it was read at the beginning",
        remedy=f"Look where {device.name} is, and bring it back by hand." if says else "",
    )


def _tolerance(device: HardwareDevice, value: float) -> float:
    if isinstance(device, Stage):
        return device.tolerance_um
    if isinstance(device, Camera):
        return 0.01 * value
    if isinstance(device, Scanner | Lasers):
        return _CLOSE
    return 0.0
