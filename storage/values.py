"""The values of the store: what is asked for, what a frame knows, what was written.

No file is touched here.
"""

import json
import math
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol, Self

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    model_validator,
)
from pydantic_core import from_json

from storage.errors import InvalidUidError, ranges

_UID: Final = re.compile(r"[0-9a-f]{32}")
DTYPES: Final = ("uint8", "uint16", "float32")
MOST_METADATA_BYTES: Final = 1 << 20
MOST_REASON_CHARACTERS: Final = 300
MOST_TAGS: Final = 50

Shape = tuple[int, int, int]
"""Slices, rows, columns."""


class Voxels(Protocol):
    """A volume's pixels, (z, y, x), which are read when they are indexed; numpy takes them too."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Slices, rows, columns."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return a part as numpy would: by integers and slices."""

    def __len__(self) -> int:
        """Return the number of slices."""

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Return the slices one by one."""

    def __array__(self) -> NDArray[Any]:
        """Read everything."""


def new_uid() -> str:
    """Return a fresh UID: a random UUID as 32 lower-case hexadecimal characters."""
    return uuid.uuid4().hex


def checked_uid(uid: str) -> str:
    """Return `uid` unchanged, or raise InvalidUidError."""
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise InvalidUidError(uid)
    return uid


def _uid(value: str) -> str:
    try:
        return checked_uid(value)
    except InvalidUidError as error:
        raise ValueError(str(error)) from None


def _uid_or_none(value: str) -> str:
    return value and _uid(value)


def _dtype(value: str) -> str:
    if value not in DTYPES:
        raise ValueError(f"the store writes {', '.join(DTYPES)}, not {value!r}")
    return value


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("control characters cannot be kept in the file's XML")
    return value


def _small_json(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    if len(text) > MOST_METADATA_BYTES:
        raise ValueError(
            f"{len(text)} bytes of JSON; at most {MOST_METADATA_BYTES} go into the file"
        )
    from_json(text)  # refuses what is nested so deep that others could not read it
    return value


def as_reason(text: str) -> str:
    """Return `text` as it can be kept as the reason of a record."""
    return "".join(c if c.isprintable() else " " for c in text)[:MOST_REASON_CHARACTERS]


FileFormat = Literal["ome-tiff", "ome-zarr"]
Status = Literal["complete", "incomplete", "trashed"]
Compression = Literal["none", "blosc-lz4", "blosc-zstd"]

Text = Annotated[str, Field(max_length=200), AfterValidator(_printable)]
Extent = Annotated[int, Field(ge=1, le=1_000_000)]
Positive = Annotated[FiniteFloat, Field(gt=0)]
NotNegative = Annotated[FiniteFloat, Field(ge=0)]


class VolumeLabels(BaseModel):
    """By what people find a volume, and its place among others that were taken with it.

    Attributes
    ----------
    embryo, tags
        What it shows, and what was said of it beforehand.
    acquisition_uid
        Of the time series, or the channels, to which it belongs; empty if to none.
    time_point, channel
        Its place in that: the number of the time point, 0-based, and the channel's name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    session_id: Text = ""
    embryo: Text = ""
    tags: Annotated[tuple[Text, ...], Field(max_length=MOST_TAGS)] = ()
    acquisition_uid: Annotated[str, AfterValidator(_uid_or_none)] = ""
    time_point: Annotated[int, Field(ge=0, lt=1_000_000)] = 0
    channel: Text = ""


class VolumeSpec(VolumeLabels):
    """What is asked for: everything about a volume that is known before its first frame.

    Validated at construction; a ``pydantic.ValidationError`` (a ValueError) names the field.

    Attributes
    ----------
    shape
        Slices, rows, columns: (z, y, x).
    step_um
        Distance of two slices; 0 when nothing moved between them.
    format, compression
        How the volume is kept on the disk; OME-TIFF is not compressed.
    positions_um
        Readback at the start by ``device.axis``. The first key that ends with ``.x`` or ``.y``
        is where the planes are in X and Y.
    first_z_um, z_tolerance_um
        Where slice 0 was asked for, and how far from ``first_z_um + n * step_um`` slice n may lie;
        the slices are then also taken one after the other. None if no place was asked for.
    significant_bits
        Of the camera's range, where it is less than the dtype's.
    frames_differ
        Whether noise rules out that two slices in a row have the same pixels.
    metadata
        Anything else that JSON can say, up to 1 MiB; kept in the file.
    """

    uid: Annotated[str, AfterValidator(_uid)]
    shape: tuple[Extent, Extent, Extent]
    dtype: Annotated[str, AfterValidator(_dtype)]
    pixel_size_um: Positive
    step_um: NotNegative
    exposure_ms: NotNegative
    format: FileFormat = "ome-tiff"
    compression: Compression = "none"
    item_uid: Text = ""
    run_uid: Text = ""
    plan_name: Text = ""
    instrument: Text = ""
    camera: Text = ""
    positions_um: dict[Text, FiniteFloat] = Field(default_factory=dict)
    first_z_um: FiniteFloat | None = None
    z_tolerance_um: NotNegative = 0.0
    significant_bits: Annotated[int, Field(ge=1, le=32)] | None = None
    frames_differ: bool = False
    metadata: Annotated[dict[str, JsonValue], AfterValidator(_small_json)] = Field(
        default_factory=dict
    )

    @model_validator(mode="after")
    def _can_be_compressed(self) -> Self:
        if self.format == "ome-tiff" and self.compression != "none":
            raise ValueError(f"an OME-TIFF is not compressed; {self.compression} needs ome-zarr")
        return self

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's pixels."""
        return self.shape[1] * self.shape[2] * np.dtype(self.dtype).itemsize

    @property
    def volume_bytes(self) -> int:
        """Bytes of all pixels."""
        return self.shape[0] * self.frame_bytes

    def start_um(self, axis: str) -> float | None:
        """Return the position of the first device that has this axis, or None."""
        found = (um for name, um in self.positions_um.items() if name.endswith(f".{axis}"))
        return next(found, None)


@dataclass(frozen=True, kw_only=True)
class FrameInfo:
    """What is known about one frame when it is written.

    Attributes
    ----------
    index
        The slice, 0-based; frames may come in any order.
    delta_t_s
        Time since the start of the acquisition.
    z_um
        Where the slice lies.
    """

    index: int
    delta_t_s: float
    z_um: float

    def __post_init__(self) -> None:
        for name in ("delta_t_s", "z_um"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} of frame {self.index} is {getattr(self, name)}")


def volume_checksum(digests: Iterable[bytes]) -> str:
    """Return the checksum of a volume from its frames' digests, in the order of the slices."""
    return f"xxh3_64:{xxhash.xxh3_64_hexdigest(b''.join(digests))}"


class VolumeRecord(BaseModel):
    """What was written: the spec as it was asked for, and how the writing went.

    Attributes
    ----------
    created
        When the volume was begun, UTC.
    checksum
        ``xxh3_64:`` and 16 hexadecimal digits: XXH3 (64 bits, seed 0) over the frames' own XXH3
        digests, each 8 bytes big-endian, in the order of the slices.
    waits, back_pressure_s
        How often, and how long in all, the camera's thread waited for the disk.
    saturated
        How many pixels are at the top of the camera's range.
    repeated
        How many slices have exactly the pixels of the slice before.
    missing
        The slices that never came; their pixels are 0.
    reason
        Why the volume is incomplete; empty if it is complete.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: VolumeSpec
    path: Path
    created: AwareDatetime
    checksum: str
    waits: int
    back_pressure_s: float
    saturated: int = 0
    repeated: int = 0
    missing: tuple[int, ...] = ()
    reason: Annotated[str, Field(max_length=MOST_REASON_CHARACTERS)] = ""

    @model_validator(mode="after")
    def _gaps_are_explained(self) -> Self:
        if self.missing and not self.reason:
            raise ValueError("slices are missing and no reason is given")
        if not all(0 <= index < self.shape[0] for index in self.missing):
            raise ValueError("slices are missing that were never asked for")
        return self

    @property
    def status(self) -> Literal["complete", "incomplete"]:
        """Complete: it was proven to be what was asked for."""
        return "incomplete" if self.reason else "complete"

    @property
    def uid(self) -> str:
        """The volume's UID, also what its file's name begins with."""
        return self.spec.uid

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        return self.spec.shape

    @property
    def dtype(self) -> str:
        """Name of the pixels' type."""
        return self.spec.dtype

    @property
    def session_id(self) -> str:
        """The session that the volume belongs to."""
        return self.spec.session_id

    def metadata(self) -> dict[str, JsonValue]:
        """Return what others need to know, as plain JSON values.

        Its size does not grow with the volume's: per-plane values and the free ``spec.metadata``
        stay in the file.
        """
        described: dict[str, JsonValue] = {"uid": self.uid, "path": str(self.path)}
        described |= self.spec.model_dump(mode="json", exclude={"uid", "metadata"})
        described |= {
            "created": self.created.isoformat(timespec="milliseconds"),
            "status": self.status,
            "frames": self.shape[0] - len(self.missing),
            "dropped": len(self.missing),
            "missing": ranges(self.missing),
            "repeated": self.repeated,
            "saturated": self.saturated,
            "reason": self.reason,
            "bytes": self.spec.volume_bytes,
            "checksum": self.checksum,
            "waits": self.waits,
            "back_pressure_s": self.back_pressure_s,
        }
        return described
