"""What a check found: the report, as it is written to ``report.json``."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

__all__ = ["Finding", "Group", "LightUsed", "Measured", "Report", "Status", "measured"]

Value = bool | int | float | str
_SHOWN = {"um": "µm", "um/deg": "µm/deg", "percent": "%"}
_FEW = 5


class Status(StrEnum):
    """What is to be thought of a finding."""

    OK = "ok"
    ATTENTION = "attention"
    FAILED = "failed"
    NOT_DONE = "not done"


class Group(StrEnum):
    """What findings are about, in the order in which they are made."""

    START = "start"
    DEVICES = "devices"
    LIMITS = "limits"
    CAMERAS = "cameras"
    LIGHT = "light"
    CALIBRATION = "calibration"
    TIMING = "timing"
    DISK = "disk"
    AXES = "axes"
    LIT = "light on and off"
    DIRECTIONS = "directions"
    VOLUMES = "volumes"
    STOP = "stop"
    AFTERWARDS = "afterwards"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Measured(_Frozen):
    """Something that was read or measured.

    Attributes
    ----------
    name
        What it is.
    value, units
        Its value; the units are empty where it has none.
    """

    name: str
    value: Value
    units: str = ""

    def __str__(self) -> str:
        if isinstance(self.value, bool):
            shown = "yes" if self.value else "no"
        elif isinstance(self.value, float):
            shown = f"{round(self.value, 3) + 0.0:.7g}"  # no "-0"
        else:
            shown = str(self.value)
        units = _SHOWN.get(self.units, self.units)
        return f"{self.name} {shown} {units}".rstrip()


def measured(name: str, value: Value, units: str = "") -> Measured:
    """Return something that was measured."""
    return Measured(name=name, value=value, units=units)


class Finding(_Frozen):
    """One thing that was looked at.

    Attributes
    ----------
    group, name
        What it is about; the name begins with that of the device, if it is about one.
    status
        What is to be thought of it.
    says
        What happened, where measured values do not say all; of an error its own words.
    measured
        What was found.
    expected, source
        What was to be found, and who says so.
    remedy
        What to do; empty if there is nothing to be done.
    """

    group: Group
    name: str
    status: Status
    says: str = ""
    measured: tuple[Measured, ...] = ()
    expected: str = ""
    source: str = ""
    remedy: str = ""

    @property
    def device(self) -> str:
        """The name of the device that it is about."""
        return self.name.partition(" ")[0].partition(".")[0]

    @property
    def found(self) -> str:
        """What was found, in one line: in words, or else the first of what was measured."""
        return self.says or ", ".join(map(str, self.measured[:_FEW]))


class LightUsed(_Frozen):
    """Light that the check was given leave to put into the sample.

    Attributes
    ----------
    source
        The name of the lamp, or of the lasers and the line.
    percent
        The power that was read back; None where it cannot be set.
    lit_ms
        For how long it was let onto the sample in all.
    """

    source: str
    percent: float | None = None
    lit_ms: float


class Report(_Frozen):
    """All that a check found.

    Attributes
    ----------
    version
        Of this form; it changes when a key changes its meaning or goes.
    instrument, description, config
        What was checked: the instrument's name, its description, and what ``config`` said.
    storage
        The storage folder.
    gently_version, versions
        Of gently, and of what it drives the hardware with.
    computer, operator
        Where it ran, and who was logged in.
    consent
        Who was asked before anything moved.
    began, seconds
        When, in s since 1970, and how long it took.
    ended_early
        Why it did not come to its end; empty if it did.
    light
        What the sample got.
    findings
        In the order in which they were made.
    """

    version: Literal[1] = 1
    instrument: str
    description: str
    config: str
    storage: str
    gently_version: str
    versions: dict[str, str]
    computer: str
    operator: str
    consent: Literal["yes to all", "asked", "nobody to ask"]
    began: float
    seconds: float
    ended_early: str = ""
    light: tuple[LightUsed, ...] = ()
    findings: Annotated[tuple[Finding, ...], Field(min_length=1)]

    @computed_field(description="How many findings there are of each status.")  # type: ignore[prop-decorator]
    @property
    def counts(self) -> dict[str, int]:
        """How many findings there are of each status."""
        return counts(self.findings)

    @property
    def has_failed(self) -> bool:
        """Whether something is not as it has to be."""
        return any(finding.status is Status.FAILED for finding in self.findings)


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many there are of each status, also of those of which there is none."""
    found = Counter(str(finding.status) for finding in findings)
    return {str(status): found[str(status)] for status in Status}
