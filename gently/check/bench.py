"""The microscope under examination, and what every part of the check asks of it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from devices import (
    Camera,
    HardwareDevice,
    Instrument,
    Lasers,
    LightSheet,
    LightSource,
    Limits,
    PlannedVolume,
    Scanner,
    Stage,
    VolumeRequest,
    XYStage,
)
from gently.check.report import Finding, Group, LightUsed
from gently.core.calibrations import Calibrations

__all__ = ["Axis", "Bench", "Shelf", "Step", "Taken", "axes_of", "moved"]

D = TypeVar("D", bound=HardwareDevice)


@dataclass
class Taken:
    """A volume in memory.

    Parameters
    ----------
    planned
        What it was to be.
    frames
        As they came, (y, x) each.
    times_s
        When each came, since its sequence began.
    """

    planned: PlannedVolume
    frames: list[NDArray[Any]] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    is_lit: bool = False

    @property
    def pixels(self) -> NDArray[Any]:
        """All frames, (z, y, x)."""
        return np.stack(self.frames)

    # ------------------------------------------------------------------ as a volume

    @property
    def uid(self) -> str:
        """Its name, which nothing on the disk has."""
        return self.planned.uid

    @property
    def path(self) -> Path:
        """Where it would be."""
        return Path(f"{self.uid}.tif").absolute()

    def metadata(self) -> dict[str, Any]:
        """Return what there is to tell of it."""
        return {"uid": self.uid, "path": str(self.path), "shape": list(self.planned.shape)}

    # ------------------------------------------------------------------ as a sink

    back_pressure_s = 0.0

    def write(self, frame: NDArray[Any], *, index: int, delta_t_s: float, z_um: float) -> None:  # noqa: ARG002
        """Take a frame."""
        self.frames.append(frame)
        self.times_s.append(delta_t_s)

    def lit(self) -> None:
        """Take note that the light is on."""
        self.is_lit = True

    def finish(self) -> "Taken":
        """Be whole."""
        return self

    def keep(self, reason: str) -> "Taken":  # noqa: ARG002
        """Be short."""
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stay as it is."""


class Shelf:
    """Keeps in memory what a light sheet takes; nothing of a check goes into the store."""

    def __init__(self) -> None:
        self.latest: dict[str, Taken] = {}
        """By view, of what was taken last."""
        self._light: dict[tuple[str, float | None], float] = {}

    def open(self, planned: PlannedVolume) -> Taken:
        """Make room for a volume."""
        taken = Taken(planned)
        self.latest[str(planned.metadata["view"])] = taken
        return taken

    def clear(self) -> None:
        """Forget what was taken."""
        self.latest.clear()

    def shine(self, source: str, percent: float | None, lit_ms: float) -> None:
        """Count light onto the sample."""
        self._light[source, percent] = self._light.get((source, percent), 0.0) + lit_ms

    @property
    def light(self) -> tuple[LightUsed, ...]:
        """All light so far."""
        return tuple(
            LightUsed(source=source, percent=percent, lit_ms=lit_ms)
            for (source, percent), lit_ms in self._light.items()
        )


class Axis(NamedTuple):
    """Something that has limits, and where it was read last."""

    name: str
    value: float
    limits: Limits
    asked: Callable[[float], Any]
    """What its device would be set to."""

    def way(self, way: float) -> float | None:
        """Return it upwards, or downwards where that does not fit, or None."""
        fits = (
            one for one in (way, -way) if self.limits.low <= self.value + one <= self.limits.high
        )
        return next(fits, None)


@dataclass(frozen=True)
class Step:
    """A part of the check that is done only with somebody's leave.

    Parameters
    ----------
    group, name
        What it is about.
    question
        What will move by how much, and what light will be on for how long.
    run
        Does it, and yields what is found.
    needs
        The devices that it uses; one that has failed before is not used.
    is_lit
        Whether it uses light.
    """

    group: Group
    name: str
    question: str
    run: Callable[[], Iterator[Finding]]
    needs: tuple[str, ...]
    is_lit: bool = False


@dataclass(frozen=True)
class Bench:
    """What the parts of a check work with.

    Parameters
    ----------
    instrument
        Booted, with nobody else using it.
    shelf
        Where its light sheets put their frames.
    calibrations
        Those that were measured, already in use.
    storage
        The storage folder.
    """

    instrument: Instrument
    shelf: Shelf
    calibrations: Calibrations
    storage: Path

    @property
    def source(self) -> str:
        """The name of the instrument file."""
        return f"{self.instrument.name}.yml"

    @property
    def lights(self) -> tuple[LightSource, ...]:
        """All that can shine onto the sample."""
        return self.instrument.lights

    def all_of(self, kind: type[D]) -> list[D]:
        """Return the devices of a kind, in the order of the instrument file."""
        return [one for one in self.instrument.devices.values() if isinstance(one, kind)]

    def take(self, sheet: LightSheet, request: VolumeRequest) -> Mapping[str, Taken]:
        """Take volumes and return them by view; nothing is stored.

        Raises
        ------
        DeviceError
            If they are not whole.
        """
        self.shelf.clear()
        try:
            sheet.prepare(request).wait()
            sheet.trigger().wait()
        finally:
            sheet.unstage().wait()
            self._count_light(sheet)
        return dict(self.shelf.latest)

    def _count_light(self, sheet: LightSheet) -> None:
        for taken in self.shelf.latest.values():
            if taken.is_lit:
                light = taken.planned.metadata["light"]
                source = f"{sheet.slicer.light.name} {light.get('line', '')}".rstrip()
                self.shelf.shine(source, light.get("percent"), light["lit_ms"])


@contextmanager
def moved(stage: XYStage, name: str, way_um: float) -> Iterator[float]:
    """Have an axis elsewhere for a while; gives how far it went, as it was read back."""
    stage.read()
    start = _axis(stage, name)
    stage.set(start.asked(start.value + way_um)).wait()
    yield _axis(stage, name).value - start.value
    # What comes in between is an error, after which the end of the check brings it back.
    stage.set(start.asked(start.value)).wait()


def _axis(device: HardwareDevice, name: str) -> Axis:
    return next(axis for axis in axes_of(device) if axis.name == name)


def axes_of(device: HardwareDevice) -> Iterator[Axis]:
    """Yield what a device has limits of, as it was read last; nothing of one that never was."""
    last = {key: reading["value"] for key, reading in device.last_reading().items()}
    if not last:
        return
    if isinstance(device, Stage):
        yield from _of_stage(device, last)
    elif isinstance(device, Camera):
        limits = device.limits["exposure_ms"]
        yield Axis("exposure_ms", last[f"{device.name}_exposure"], limits, float)
    elif isinstance(device, Scanner):
        yield Axis("y", last[f"{device.name}_y"], device.limits["y"], float)
    elif isinstance(device, Lasers):
        for line, one in device.lines.items():
            percent = last[f"{device.name}_{line}"]
            yield Axis(line, percent, one.limits, partial(_keyed, {}, line))


def _of_stage(stage: Stage, last: Mapping[str, float]) -> Iterator[Axis]:
    present = dict(zip(stage.limits, last.values(), strict=True))
    for axis, limits in stage.limits.items():
        asked = partial(_keyed, present, axis) if isinstance(stage, XYStage) else float
        yield Axis(axis, present[axis], limits, asked)


def _keyed(present: Mapping[str, float], key: str, value: float) -> dict[str, float]:
    """Return what is there, with another value of one."""
    return {**present, key: value}
