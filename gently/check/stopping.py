"""Stop, as everybody presses it: how long until the light is read back off."""

import time
from collections.abc import Iterator
from functools import partial

from devices import Lasers, LightSheet, Shutter
from gently.check.bench import Bench, Step
from gently.check.report import Finding, Group, Status, measured
from gently.core.stop import stop_devices

__all__ = ["stopping"]

_OFF = frozenset({"closed", "off"})


def stopping(bench: Bench) -> Iterator[Step]:
    """Yield the step, if there is a light."""
    lasers = bench.all_of(Lasers)
    lights = {sheet.slicer.light.name for sheet in bench.all_of(LightSheet)}
    lamps = [one for one in bench.all_of(Shutter) if one.name in lights]
    parts = [
        *(f"let {one.first} of {one.name} through, its shutter closed" for one in lasers),
        *(f"open {one.name}" for one in lamps),
    ]
    if parts:
        yield Step(
            group=Group.STOP,
            name="stop",
            question=f"Stop everything, to see how long it takes? Before: {', '.join(parts)}.",
            run=partial(_stopped, bench, lasers, lamps),
            needs=tuple(one.name for one in (*lasers, *lamps)),
            is_lit=True,
        )


def _stopped(bench: Bench, lasers: list[Lasers], lamps: list[Shutter]) -> Iterator[Finding]:
    opened = time.monotonic()
    for one in lasers:
        one.on(one.first)
    for lamp in lamps:
        lamp.set("open").wait()
    began, began_s = time.monotonic(), time.time()
    found = stop_devices(bench.instrument)
    seconds = time.monotonic() - began
    bench.instrument.core.release()
    for lamp in lamps:
        bench.shelf.shine(lamp.name, None, 1000 * (time.monotonic() - opened))
    for light in (*lasers, *lamps):
        after = found[light.name]
        reading = after.readings.get(light.name, {"value": "unknown", "timestamp": time.time()})
        is_off = after.stopped and reading["value"] in _OFF
        yield Finding(
            group=Group.STOP,
            name=light.name,
            status=Status.OK if is_off else Status.FAILED,
            says=after.error or "",
            measured=(
                measured("read back", str(reading["value"])),
                measured("after", 1000 * (reading["timestamp"] - began_s), "ms"),
            ),
            expected="off, read back",
            source="what a stop promises",
            remedy="" if is_off else "Switch the light off by hand; use the microscope no further.",
        )
    refused = {name: one.error for name, one in found.items() if not one.stopped}
    yield Finding(
        group=Group.STOP,
        name="all devices",
        status=Status.FAILED if refused else Status.OK,
        says="; ".join(str(error) for error in refused.values()),
        measured=(measured("at rest after", 1000 * seconds, "ms"),),
        expected="every device read back at rest",
        source="what a stop promises",
        remedy="Look at the devices that are named before anything is moved." if refused else "",
    )
