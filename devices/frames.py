"""What leaves the devices: a request for a volume goes in, frames go out to a sink."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "AcquiredVolume",
    "Compression",
    "FileFormat",
    "FrameSink",
    "Labels",
    "OnShort",
    "OpenSink",
    "PlannedVolume",
    "ViewName",
    "Views",
    "VolumeRequest",
]

FileFormat = Literal["ome-tiff", "ome-zarr"]
"""How a volume is kept: one file, or a folder."""

Compression = Literal["none", "blosc-lz4", "blosc-zstd"]
"""How a volume's pixels are packed; only a folder can hold packed ones."""

ViewName = Literal["a", "b"]
"""A side from which the sample is seen."""

Views = Literal["a", "b", "dual"]
"""The sides of which volumes are taken: one, or both at once."""

OnShort = Literal["discard", "keep"]
"""What becomes of a volume of which the camera did not deliver all: it never is complete."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The place of a volume among those that are taken with it; empty where nothing is said.

    Parameters
    ----------
    embryo
        What it shows.
    acquisition_uid
        Of the series that it belongs to.
    time_point, channel
        Its place in that. Without a channel it has the name of its laser line; of two views
        taken at once, each has its view's besides.
    """

    embryo: str = ""
    acquisition_uid: str = ""
    time_point: int = 0
    channel: str = ""


@dataclass(frozen=True, kw_only=True)
class VolumeRequest:
    """What a plan asks of a light sheet.

    Parameters
    ----------
    num_slices
        How many frames.
    exposure_ms
        Of each frame.
    step_um
        Between two slices, along the slice drive; 0 takes all frames at one place.
    center_um
        Of the sweep, or the place of all frames if nothing is swept, on the slice drive; None
        takes its present position.
    on_short
        Whether what came of a volume that fell short is kept, as incomplete.
    sheet_um
        Where the sheet stays while the focal plane sweeps, as a place of the slice drive that it is
        calibrated to; None lets it follow. Where there is no sheet it is not taken.
    view
        From which side, or from both at once.
    line, power_percent
        The laser line by its name, and its power; by default the first one, and the one in the
        instrument file.
        Where there are no lasers neither is taken.
    num_following
        How many volumes like it follow at once, each asked for by itself: a controller that can
        takes them without a pause. See `is_followed_by`.
    run_uid
        Of the Bluesky run it belongs to.
    is_only_of_run
        Whether that run has no other: triggered again after a pause when it was published
        already, it is not taken again.
    file_format, compression
        How the volume is to be kept.
    labels
        By what it is to be found.
    """

    num_slices: int
    exposure_ms: float
    step_um: float
    center_um: float | None = None
    sheet_um: float | None = None
    view: Views = "a"
    line: str = ""
    power_percent: float | None = None
    on_short: OnShort = "discard"
    num_following: int = 0
    run_uid: str = ""
    is_only_of_run: bool = False
    file_format: FileFormat = "ome-tiff"
    compression: Compression = "none"
    labels: Labels = Labels()

    @property
    def views(self) -> tuple[ViewName, ...]:
        """The sides of which there will be a volume each."""
        return ("a", "b") if self.view == "dual" else (self.view,)

    @property
    def is_sweep(self) -> bool:
        """Whether its slices lie at different places."""
        return self.num_slices > 1 and self.step_um != 0

    @property
    def goes_somewhere(self) -> bool:
        """Whether the slice drive is sent anywhere."""
        return self.is_sweep or self.center_um is not None

    def is_followed_by(self, other: "VolumeRequest") -> bool:
        """Whether another request is for the volume that follows this one at once.

        It asks for the same, for a run and by labels of its own, with one less to follow.
        """
        following = self.num_following - 1
        return following >= 0 and other == replace(
            self, num_following=following, run_uid=other.run_uid, labels=other.labels
        )

    def position_um(self, center_um: float, index: int) -> float:
        """Return where a slice is taken, around `center_um`."""
        first_um = center_um - self.step_um * (self.num_slices - 1) / 2
        return first_um + index * self.step_um

    def positions_um(self, center_um: float) -> list[float]:
        """Return where each slice is taken, around `center_um`."""
        return [self.position_um(center_um, index) for index in range(self.num_slices)]

    def ends_um(self, center_um: float) -> tuple[float, float]:
        """Return where the first and the last slice are taken."""
        return self.position_um(center_um, 0), self.position_um(center_um, self.num_slices - 1)


@dataclass(frozen=True, kw_only=True)
class PlannedVolume:
    """What a light sheet is about to take, as read from the hardware just before.

    Parameters
    ----------
    shape
        (z, y, x).
    dtype
        Of the camera, as numpy names it.
    pixel_size_um, step_um
        In the sample, in the plane and between slices.
    exposure_ms
        As the camera has really taken it.
    positions_um
        Every axis by ``"device.axis"``, as read back.
    first_z_um, z_tolerance_um
        Where the first slice was asked for, and how far from its place each slice may lie.
    significant_bits
        Of each pixel, as the camera says.
    frames_differ
        Whether the camera's noise rules out that two frames are the same.
    camera
        The camera's name.
    run_uid
        Of the Bluesky run.
    file_format, compression
        How it is to be kept.
    uid
        Its name to be.
    labels
        By what it is to be found.
    metadata
        What else is known of it, as JSON has it.
    """

    shape: tuple[int, int, int]
    dtype: str
    pixel_size_um: float
    step_um: float
    exposure_ms: float
    positions_um: Mapping[str, float]
    first_z_um: float
    z_tolerance_um: float
    significant_bits: int
    frames_differ: bool
    camera: str
    run_uid: str
    file_format: FileFormat
    compression: Compression
    uid: str
    labels: Labels
    metadata: Mapping[str, Any]

    @property
    def bytes(self) -> int:
        """The size of its pixels."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class AcquiredVolume(Protocol):
    """A volume that is whole, checked and found again."""

    @property
    def uid(self) -> str:
        """Its name, 32 hexadecimal characters."""

    @property
    def path(self) -> Path:
        """Its file or folder."""

    def metadata(self) -> dict[str, Any]:
        """Return what may be told about it over HTTP."""


class FrameSink(Protocol):
    """Takes the frames of one volume; leaving its context before it is published discards them."""

    @property
    def back_pressure_s(self) -> float:
        """How long `write` has waited for the disk, in all."""

    def write(self, frame: NDArray[Any], *, index: int, delta_t_s: float, z_um: float) -> None:
        """Take one (y, x) frame; may wait for the disk."""

    def lit(self) -> None:
        """Take note that the light is on, for which the volume was planned."""

    def finish(self) -> AcquiredVolume:
        """Check, sync and publish the volume."""

    def keep(self, reason: str) -> AcquiredVolume:
        """Sync and publish what came of a volume that fell short, as incomplete."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


OpenSink = Callable[[PlannedVolume], FrameSink]
"""Reserves the space for a volume and returns its sink, before the light goes on."""
