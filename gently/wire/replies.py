"""What the device layer answers over HTTP, as frozen values.

A reply may carry more keys than are named here: a newer device layer adds keys, and
a client that reads these keeps working.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError

ItemPhase = Literal[
    "queued",
    "running",
    "paused",
    "completed",
    "failed",
    "aborted",
    "stopped",
    "halted",
    "cancelled",
    "interrupted",
]
FINISHED: Final = frozenset(
    {"completed", "failed", "aborted", "stopped", "halted", "cancelled", "interrupted"},
)


_KINDS: Final = {"person": "a person", "agent": "an agent"}


class Reply(BaseModel):
    """A part of an answer: immutable, and indifferent to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FieldError(Reply):
    """What is wrong with one field of a request."""

    field: str
    message: str


class Status(Reply):
    """What the plan manager and the RunEngine are doing."""

    manager_state: str
    re_state: str | None = None
    worker_environment_state: str | None = None
    items_in_queue: int = 0
    items_in_history: int = 0
    running_item_uid: str | None = None
    queue_stop_pending: bool = False
    msg: str = ""


class Device(Reply):
    """One device of the instrument, as the plans see it."""

    name: str
    classname: str = ""
    is_readable: bool = False
    is_movable: bool = False
    is_flyable: bool = False


class Item(Reply):
    """A request to run a plan."""

    item_uid: str
    name: str
    kwargs: Mapping[str, JsonValue] = {}
    meta: Mapping[str, JsonValue] = {}


class Volume(BaseModel):
    """A published volume: never its pixels, only where they are and what they are of."""

    model_config = ConfigDict(frozen=True, extra="allow")

    uid: str
    path: Path
    shape: tuple[int, ...]
    dtype: str
    session_id: str

    def metadata(self) -> dict[str, JsonValue]:
        """All that the device layer told about the volume, ready for JSON."""
        return self.model_dump(mode="json")


_VOLUMES: Final = TypeAdapter(tuple[Volume, ...])


class Result(Reply):
    """How an item ended, and what its plan returned."""

    exit_status: str
    run_uids: tuple[str, ...] = ()
    time_start: float | None = None
    time_stop: float | None = None
    msg: str = ""
    return_value: JsonValue = None

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """The volumes that the plan returned: one, several that belong together, or none."""
        value = self.return_value
        told = value.get("volumes", [value]) if isinstance(value, dict) else []
        try:
            return _VOLUMES.validate_python(told)
        except ValidationError:
            return ()

    @property
    def volume(self) -> Volume | None:
        """The volume that the plan returned, if it returned a single one."""
        return self.volumes[0] if len(self.volumes) == 1 else None


class HistoryItem(Item):
    """A request that has ended."""

    result: Result


class Queue(Reply):
    """The requests that wait, in their order, and the one that runs."""

    items: tuple[Item, ...] = ()
    running_item: Item | None = None


class Progress(Reply):
    """How far the running plan has come."""

    name: str = ""
    fraction: float | None = None
    current: float | None = None
    target: float | None = None
    unit: str | None = None
    seconds_left: float | None = None


class ItemState(Reply):
    """Where one request stands."""

    item: Item
    state: ItemPhase
    progress: Progress | None = None
    result: Result | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.state in FINISHED


class Reading(Reply):
    """One value read back from the hardware."""

    value: JsonValue
    units: str | None = None
    timestamp: float | None = None
    age_s: float | None = None

    def __str__(self) -> str:
        return f"{self.value} {self.units or ''}".rstrip()


class DeviceReading(Reply):
    """All values of one device; stale when the hardware has not confirmed them of late."""

    name: str
    readings: Mapping[str, Reading]
    stale: bool = False


class StoppedDevice(Reply):
    """What one device answered to the stop, and what was read back from it."""

    stopped: bool
    readings: Mapping[str, Reading] = {}
    error: str | None = None

    def __str__(self) -> str:
        how = "stopped" if self.stopped else f"did NOT stop: {self.error or 'no reason given'}"
        read_back = ", ".join(f"{key} {reading}" for key, reading in self.readings.items())
        return f"{how} ({read_back})" if read_back else how


class StopReport(Reply):
    """The state that a stop left the microscope in."""

    success: bool
    devices: Mapping[str, StoppedDevice] = {}
    item_uid: str | None = None
    msg: str = ""

    def sentences(self) -> list[str]:
        """Return it in words: the whole first, then each device with what was read back."""
        whole = "everything stopped" if self.success else "NOT everything stopped"
        found = [whole, *(f"  {name} {device}" for name, device in self.devices.items())]
        if self.item_uid is not None:
            found.append(f"  item {self.item_uid} was ended")
        return [*found, self.msg] if self.msg else found


class Finding(Reply):
    """Something that was found out about a plan before it moved anything.

    Attributes
    ----------
    field : str
        The argument at fault; empty if none is.
    step : int or None
        The number of the plan's message at which it was found.
    """

    field: str = ""
    message: str
    step: int | None = None

    def __str__(self) -> str:
        where = f" (step {self.step})" if self.step is not None else ""
        return f"{self.field}: {self.message}{where}" if self.field else f"{self.message}{where}"


class PreflightReport(Reply):
    """What a plan would do, found out without moving anything.

    Attributes
    ----------
    ok : bool
        Whether nothing speaks against it.
    is_whole : bool
        Whether it was followed to its end.
    seconds : float
        Estimate of how long it takes.
    bytes_needed, bytes_free : int
        On the disk.
    light_ms : float
        For how long the sample is illuminated.
    dose_percent_ms : mapping
        Power in percent × ms of light, by laser line.
    energy_mj : float or None
        Light onto the sample; None where its power is not known.
    travel_um : mapping
        How far each axis goes, by `device.axis`.
    """

    plan: str
    ok: bool
    refusals: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    steps: int = 0
    is_whole: bool = False
    seconds: float = 0.0
    volumes: int = 0
    frames: int = 0
    bytes_needed: int = 0
    bytes_free: int = 0
    memory_bytes: int = 0
    light_ms: float = 0.0
    energy_mj: float | None = None
    dose_percent_ms: Mapping[str, float] = {}
    travel_um: Mapping[str, float] = {}

    def sentences(self) -> list[str]:
        """Return it in words: the verdict first, then what it would take, then what was found."""
        verdict = f"{self.plan} would run" if self.ok else f"{self.plan} is refused"
        least = "" if self.is_whole else "at least "
        dose = "" if self.energy_mj is None else f", {self.energy_mj:.3g} mJ"
        axes = ", ".join(f"{axis} {um:.4g} µm" for axis, um in self.travel_um.items() if um)
        return [
            verdict,
            f"  takes {least}{self.seconds:.3g} s, in {self.steps} steps",
            f"  volumes: {self.volumes}, frames: {self.frames}",
            f"  disk: {self.bytes_needed / 1e6:.4g} MB; {self.bytes_free / 1e9:.4g} GB are free",
            f"  light on the sample: {self.light_ms:.4g} ms{dose}",
            *([f"  travel: {axes}"] if axes else []),
            *(f"  refused: {refusal}" for refusal in self.refusals),
            *(f"  warning: {warning}" for warning in self.warnings),
        ]


class ProposedItem(Reply):
    """What is to be done, as it was proposed."""

    name: str
    args: tuple[JsonValue, ...] = ()
    kwargs: Mapping[str, JsonValue] = {}
    meta: Mapping[str, JsonValue] = {}


class Proposal(Reply):
    """A plan that waits for the approval of a person, or what became of it.

    Attributes
    ----------
    digest : str
        Of exactly what `item` says; who approves sends it back.
    item_uid : str
        Of the request that it becomes when it is approved.
    by, decided_by : str
        Who has proposed it, and who has decided.
    made, expires, decided : float
        Seconds since 1970.
    """

    proposal_uid: str
    digest: str
    item: ProposedItem
    item_uid: str
    state: Literal["proposed", "approving", "approved", "rejected", "expired"]
    by: str
    note: str | None = None
    preflight: Mapping[str, JsonValue] = {}
    made: float
    expires: float
    decided_by: str | None = None
    decided: float | None = None
    reason: str | None = None

    def approved_item(self) -> Item:
        """Return the request that it becomes when it is approved."""
        item = self.item
        return Item(item_uid=self.item_uid, name=item.name, kwargs=item.kwargs, meta=item.meta)


class DetectedObject(Reply):
    """An object of a detection.

    Attributes
    ----------
    label : int
        Its number in the label image.
    name : str
        The same for the same object as long as the session lasts.
    x_um, y_um : float
        Where it is: on the stage, if the detection's `result` says `on_stage`.
    certain : bool
        Whether outline and place can be relied on.
    """

    label: int
    name: str
    x_um: float
    y_um: float
    row_px: float
    column_px: float
    area_um2: float
    length_um: float
    width_um: float
    scores: Mapping[str, float]
    mask: str
    certain: bool


class DetectionResult(Reply):
    """What was found.

    Attributes
    ----------
    path : Path
        Of the label image.
    detector, fallback_reason : str
        Whose result this is, and why it is not that of the one who was asked.
    absent : tuple of str
        Who should have been in the picture.
    """

    path: Path
    detector: str
    fallback_reason: str = ""
    on_stage: bool
    objects: tuple[DetectedObject, ...] = ()
    absent: tuple[str, ...] = ()
    seconds: float


class Detection(Reply):
    """A detection, and what became of it; its uid is that of its label image."""

    detection_uid: str
    state: Literal["queued", "running", "completed", "failed", "cancelled"]
    source_uid: str
    detector: str
    session_id: str = ""
    error: str = ""
    result: DetectionResult | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more will become of it."""
        return self.state not in {"queued", "running"}


class Lease(Reply):
    """Who has control of the microscope; without a holder, whoever commands has it.

    Attributes
    ----------
    number : int
        Rises with each acquisition; a command says under which it comes.
    since, expires : float or None
        Seconds since 1970.
    """

    number: int
    holder: str | None = None
    kind: Literal["person", "agent"] | None = None
    since: float | None = None
    expires: float | None = None
    note: str | None = None

    def __str__(self) -> str:
        if self.holder is None:
            return "nobody has control: whoever may command does"
        until = "" if self.expires is None else f" until {_clock(self.expires)}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.holder}, {_KINDS.get(self.kind or '', 'a key')}, has control{until}{note}"


class AuditEntry(Reply):
    """Something that somebody made the device layer do, or tried to."""

    n: int
    time: str
    what: str
    name: str
    kind: str
    item_uid: str = ""
    outcome: str
    detail: str = ""


class ServerSettings(Reply):
    """Where the device layer writes, and which instrument it drives."""

    storage: Path
    instrument: str
    session_id: str
    version: str = ""


class Event(Reply):
    """One message of the event stream; `data` is the whole of it."""

    seq: int
    kind: str
    item_uid: str | None = None
    data: Mapping[str, JsonValue]


def _clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%H:%M:%S}"
