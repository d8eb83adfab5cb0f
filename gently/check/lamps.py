"""Each light goes on and off again, without a picture: read back both times."""

import time
from collections.abc import Callable, Iterator
from functools import partial

from devices import DeviceError, HardwareDevice, Lasers, LightSheet, LightSource, Shutter
from gently.check.bench import Bench, Shelf, Step
from gently.check.report import Finding, Group, Status, measured

__all__ = ["lamps"]

_CLOSE_PERCENT = 1e-3
_OFF_REMEDY = "Switch the light off by hand, and find out why before anything else is lit."


def lamps(bench: Bench) -> Iterator[Step]:
    """Yield a step for each device that lets light through."""
    lasers = bench.all_of(Lasers)
    for device in lasers:
        lines = ", ".join(f"{name} at {one.limits.low:g} %" for name, one in device.lines.items())
        yield Step(
            group=Group.LIT,
            name=device.name,
            question=f"Let each line of {device.name} through for a moment ({lines}), with the "
            "shutter closed and no pulse asked for? Only a laser that is not gated would be seen.",
            run=partial(_lines, device),
            needs=(device.name,),
            is_lit=True,
        )
    gates = {sheet.slicer.light.name for sheet in bench.all_of(LightSheet)}
    for shutter in bench.all_of(Shutter):
        dark = bool(lasers) and shutter.name not in gates
        yield Step(
            group=Group.LIT,
            name=shutter.name,
            question=f"Open {shutter.name}"
            + (" with no laser line selected" if dark else ", which lights the sample,")
            + " and close it at once (on for less than a second)?",
            run=partial(_shutter, bench.shelf, shutter, is_dark=dark),
            needs=(shutter.name, *(one.name for one in lasers if dark)),
            is_lit=True,
        )


def _lines(lasers: Lasers) -> Iterator[Finding]:
    for line, one in lasers.lines.items():
        lowest = one.limits.low

        def on(line: str = line, lowest: float = lowest) -> str:
            lasers.set({line: lowest}).wait()
            lasers.on(line)
            found = lasers.read()
            percent = found[f"{lasers.name}_{line}"]["value"]
            if not abs(percent - lowest) <= _CLOSE_PERCENT:
                raise DeviceError(f"it was set to {lowest:g} % and reads back {percent:g} %")
            return str(found[lasers.name]["value"])

        finding, _ = _on_and_off(lasers, f"{lasers.name}.{line}", one.preset, on, "off")
        yield finding
        if finding.status is Status.FAILED:
            return


def _shutter(shelf: Shelf, shutter: Shutter, *, is_dark: bool) -> Iterator[Finding]:
    def on() -> str:
        shutter.set("open").wait()
        return str(shutter.read()[shutter.name]["value"])

    finding, lit_s = _on_and_off(shutter, shutter.name, "open", on, "closed")
    if not is_dark:
        shelf.shine(shutter.name, None, 1000 * lit_s)
    yield finding


def _on_and_off(
    device: LightSource, name: str, expected: str, on: Callable[[], str], off: str
) -> tuple[Finding, float]:
    """Switch a light on and off, also if it did not go on; return for how long it was, too."""
    says, values = "", []
    began = time.monotonic()
    try:
        found_on = on()
        values.append(measured("read back on", found_on))
        if found_on != expected:
            says = f"it was to be {expected!r} and reads back {found_on!r}"
    except DeviceError as error:
        says = str(error)
    ended = time.monotonic()
    try:
        device.stop()
        device.check_safe()
        found_off = _state(device)
        values += [
            measured("read back off", found_off),
            measured("time until off", 1000 * (time.monotonic() - ended), "ms"),
        ]
        if found_off != off:
            says = f"{says}; it was to be {off!r} and reads back {found_off!r}".lstrip("; ")
    except DeviceError as error:
        says = f"{says}; {error}".lstrip("; ")
    finding = Finding(
        group=Group.LIT,
        name=name,
        status=Status.FAILED if says else Status.OK,
        says=says,
        measured=tuple(values),
        expected=f"{expected!r}, then {off!r}, both read back",
        source="what it was told",
        remedy=_OFF_REMEDY if says else "",
    )
    return finding, time.monotonic() - began


def _state(device: HardwareDevice) -> str:
    return str(device.read()[device.name]["value"])
