"""The light sheet: camera, slice drive and shutter working together to take a volume."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, get_args

from devices.base import ActionStatus, HardwareDevice
from devices.camera import Camera
from devices.core import Core
from devices.errors import AcquisitionError, DeviceError, LimitError, StoppedError
from devices.frames import (
    AcquiredVolume,
    FileFormat,
    FrameSink,
    OpenSink,
    PlannedVolume,
    VolumeRequest,
)
from devices.light_sheet_model import LightSheetModel
from devices.limits import is_finite_number
from devices.model import Models
from devices.pace import Line, Pace
from devices.progress import VolumeStatus
from devices.shutter import Shutter
from devices.slicing import Slicer, Slicing
from devices.stage import FocusDrive, Stage
from devices.stream_documents import stream_documents

__all__ = ["LightSheet"]

LOGGER = logging.getLogger(__name__)
_PAUSE_S = 2.0
_REST_S = 1.0
# Until a volume was taken: as an ordinary disk does.
_SET_UP_S = 0.05
_BYTE_S = 1e-9


class LightSheet(HardwareDevice):
    """Takes volumes: `prepare` with a `VolumeRequest`, then `trigger`.

    The frames go from the core's buffer to the sink on a thread of their own; the status
    of `trigger` is done when the file is published. The light is on from the first frame to
    the last, and off again (read back) whatever happens; what takes time before and after,
    as moving the drive, arming it and closing the file, is done in the dark.

    Parameters
    ----------
    camera, slice_drive, shutter
        The devices it works with.
    stages
        Whose positions are recorded with each volume.
    slicing
        As of `Slicer`.
    open_sink
        Where the frames go.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"Camera"})

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        camera: Camera,
        slice_drive: FocusDrive,
        shutter: Shutter,
        stages: tuple[Stage, ...],
        slicing: Slicing,
        open_sink: OpenSink,
    ) -> None:
        super().__init__(name, core=core, label=camera.label)
        self.limits = camera.limits
        self.camera = camera
        self.slice_drive = slice_drive
        self.shutter = shutter
        self.slicer = Slicer(core, camera, slice_drive, slicing)
        self.paces: Mapping[FileFormat, Pace] = {
            name: Pace(Line(_SET_UP_S, _BYTE_S)) for name in get_args(FileFormat)
        }
        """What a volume takes beyond its course: setting up, and the file, by its bytes."""
        self.light_pace = Pace(Line(0.0))
        """For how long the light is on before the first frame and after the last."""
        self._stages = stages
        self._open_sink = open_sink
        self._request: VolumeRequest | None = None
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        self._under_way: VolumeStatus | None = None
        self._documents: list[tuple[str, dict[str, Any]]] = []
        self._shape: tuple[int, ...] = ()
        self._dtype = ""
        self.published: AcquiredVolume | None = None

    # ------------------------------------------------------------------ bluesky's verbs

    def check_prepare(self, request: VolumeRequest, drive_um: float | None = None) -> None:
        """Raise `LimitError` if the request cannot be carried out. Never asks the hardware.

        Parameters
        ----------
        request
            For a volume.
        drive_um
            Where the slice drive is by then; None takes where it was read last.
        """
        if type(request.num_slices) is not int or request.num_slices < 1:
            raise LimitError(
                f"{self.name} takes 1 slice or more, not {request.num_slices!r}", field="num_slices"
            )
        if not is_finite_number(request.step_um):
            raise LimitError(
                f"{self.name} steps by a finite number of µm, not {request.step_um!r}",
                field="step_um",
            )
        if request.compression != "none" and request.file_format != "ome-zarr":
            raise LimitError(
                f"{request.file_format} is not compressed; ask for ome-zarr with "
                f"{request.compression}, or for no compression",
                field="compression",
            )
        self.camera.check_value(request.exposure_ms)
        if drive_um is None:
            drive_um = self.slice_drive.last_reading()[self.slice_drive.name]["value"]
        self.slicer.check(request, drive_um)

    def prepare(self, request: VolumeRequest) -> ActionStatus:
        """Check the request and set the exposure; returns at once."""
        self.check_prepare(request)
        self._request = request
        return self.camera.set(request.exposure_ms)

    def trigger(self) -> VolumeStatus:
        """Take the prepared volume; returns at once, done when it is published."""
        if self._request is None:
            raise self.unprepared()
        if self._under_way is not None and not self._under_way.done:
            raise self.busy()
        self._under_way = status = VolumeStatus(self, self._request.num_slices)
        self._cancelled = threading.Event()
        self.published = None
        self._documents.clear()  # of a volume that was given up when it was published already
        self._thread = threading.Thread(
            target=self._run,
            args=(self._request, status, self._cancelled),
            name=self.name,
            daemon=True,
        )
        self._thread.start()
        return status

    def volume_bytes(self, request: VolumeRequest) -> int:
        """Return the size of the pixels asked for, at the camera's last known format."""
        return request.num_slices * self.camera.last_frame_bytes

    def unprepared(self) -> AcquisitionError:
        """Return why it cannot be triggered before it was prepared."""
        return AcquisitionError(f"{self.name} was triggered before it was prepared")

    def busy(self) -> AcquisitionError:
        """Return why it cannot be triggered twice at once."""
        return AcquisitionError(f"{self.name} is still taking a volume")

    def model(self, models: Models) -> LightSheetModel:
        """Return a model that takes volumes, with the models of its parts."""
        return LightSheetModel(self, models)

    @property
    def pace_source(self) -> str:
        """Where the times of its volumes come from."""
        files = "; ".join(f"{name} {pace.source}" for name, pace in self.paces.items())
        return f"readout of a frame {self.camera.readout.source}; setting up and file: {files}"

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data keys: the volume, outside of the documents, and its uid."""
        return {
            f"{self.name}_uid": self._key("", "string"),
            f"{self.name}_exposure": self._key("ms"),
            self.name: {
                "source": f"mmcore://{self.label}",
                "dtype": "array",
                "dtype_numpy": self._dtype,
                # Of one event; tiled's writer stacks them, which is the 1 in chunk_shape.
                "shape": list(self._shape),
                "external": "STREAM:",
            },
        }

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the stream documents that say where the published volume lies."""
        while self._documents:
            yield self._documents.pop(0)

    def unstage(self) -> ActionStatus:
        """End what is under way; the status is done when the light is off and the file closed."""
        super().unstage()
        self._request = None
        self._give_up()
        return self._ended()

    def pause(self) -> None:
        """Give up the volume under way: after a pause it is taken again from its first slice."""
        self._give_up()
        if self._thread is not None:
            self._thread.join(_PAUSE_S)

    def resume(self) -> None:
        """Nothing to do: the plan prepares and triggers again."""

    def check_value(self, value: Any) -> None:
        """Refuse: a light sheet is prepared and triggered, not set."""
        raise LimitError(f"{self.name} cannot be set to {value!r}", field=self.name)

    def stop(self, *, success: bool = False) -> None:  # noqa: ARG002 - bluesky's signature
        """Close the shutter and end the sequence, at once."""
        self._cancelled.set()
        self.shutter.stop()

    def check_safe(self) -> None:
        """Raise `DeviceError` if a volume is still under way, after a moment to end."""
        if self._thread is None:
            return
        self._thread.join(_REST_S)
        if self._thread.is_alive():
            raise DeviceError(
                f"{self.name} has not ended its volume {_REST_S:g} s after it was told to stop. "
                "Wait until it has; the camera or the disk is still busy."
            )

    def _read_hardware(self) -> Mapping[str, Any]:
        return {
            f"{self.name}_uid": self.published.uid if self.published else "",
            f"{self.name}_exposure": self._core.exposure_ms(self.label),
        }

    def _give_up(self) -> None:
        """End what is under way without an error: whoever ends it knows why."""
        if self._under_way is not None:
            self._under_way.is_given_up = True
        self._cancelled.set()

    def _ended(self) -> ActionStatus:
        status = ActionStatus(self)
        thread = self._thread
        if thread is None or not thread.is_alive():
            status.set_finished()
            return status

        def wait() -> None:
            thread.join()
            status.set_finished()

        threading.Thread(target=wait, name=f"{self.name} unstage", daemon=True).start()
        return status

    # ------------------------------------------------------------------ the volume's thread

    def _run(
        self, request: VolumeRequest, status: VolumeStatus, cancelled: threading.Event
    ) -> None:
        try:
            self.published = self._take(request, status, cancelled)
            self._documents += stream_documents(
                self.published, request, data_key=self.name, shape=self._shape
            )
        except Exception as error:  # noqa: BLE001 - the top of a thread
            LOGGER.info("%s gave up its volume: %s", self.name, error)
            if status.is_given_up:
                status.set_finished()
            else:
                status.set_exception(error)
        else:
            status.set_finished()

    def _take(
        self, request: VolumeRequest, status: VolumeStatus, cancelled: threading.Event
    ) -> AcquiredVolume:
        began = time.monotonic()
        planned, positions_um = self._plan(request)
        drive_um = planned.positions_um[f"{self.slice_drive.name}.z"]
        course = self.slicer.course(request, drive_um)
        came = 0
        with self._open_sink(planned) as sink:
            try:
                with (
                    self.slicer.slices(request, positions_um, planned, cancelled) as slices,
                    self._lit(cancelled, course.lit_s),
                ):
                    for came, (pixels, elapsed_s, z_um) in enumerate(slices, start=1):
                        sink.write(pixels, index=came - 1, delta_t_s=elapsed_s, z_um=z_um)
                        status.progress(came)
            except AcquisitionError as error:
                raise self._short(request, sink, came, error) from error
            volume = sink.finish()
        left_out_s = time.monotonic() - began - course.seconds
        self.paces[request.file_format].learn(self.volume_bytes(request), left_out_s)
        return volume

    def _short(
        self, request: VolumeRequest, sink: FrameSink, came: int, error: AcquisitionError
    ) -> AcquisitionError:
        """Say why a volume fell short, and keep what came of it if that was asked for."""
        why = str(error)
        if sink.back_pressure_s:
            why += f" The camera had waited {sink.back_pressure_s:.3g} s for the disk."
        if not came or request.on_short == "discard":
            return AcquisitionError(f"{why} Nothing of the volume is kept.")
        kept = sink.keep(why)
        return AcquisitionError(f"{why} What came is kept as the incomplete volume {kept.uid}.")

    def _plan(self, request: VolumeRequest) -> tuple[PlannedVolume, list[float]]:
        """Read from the hardware all that has to be known before the light goes on."""
        height, width, dtype = self.camera.frame_format()
        self._shape, self._dtype = (request.num_slices, height, width), dtype.str
        found_um = self._positions_um()
        drive_um = found_um[f"{self.slice_drive.name}.z"]
        self.slicer.check(request, drive_um)
        positions_um = request.positions_um(self.slicer.center_um(request, drive_um))
        planned = PlannedVolume(
            shape=(request.num_slices, height, width),
            dtype=dtype.name,
            pixel_size_um=self.camera.pixel_size_um,
            step_um=request.step_um,
            exposure_ms=float(self.camera.read()[f"{self.camera.name}_exposure"]["value"]),
            positions_um=found_um,
            first_z_um=positions_um[0],
            z_tolerance_um=self.slice_drive.tolerance_um,
            significant_bits=self.camera.significant_bits(),
            frames_differ=self.camera.frames_differ,
            camera=self.camera.name,
            run_uid=request.run_uid,
            file_format=request.file_format,
            compression=request.compression,
        )
        return planned, positions_um

    def _positions_um(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for stage in self._stages:
            values = [reading["value"] for reading in stage.read().values()]
            for axis, value in zip(stage.limits, values, strict=True):
                found[f"{stage.name}.{axis}"] = float(value)
        return found

    @contextmanager
    def _lit(self, cancelled: threading.Event, frames_s: float) -> Iterator[None]:
        """Have the light on for frames that take so long."""
        if cancelled.is_set():
            raise StoppedError(f"{self.name} was stopped before the light went on")
        began = time.monotonic()
        try:
            self.shutter.set("open").wait_answered(self.shutter.timeout_s)
            yield
        finally:
            # Past the queue of ordinary calls: a drive that hangs must not keep the light on.
            self.shutter.stop()
            lit_s = time.monotonic() - began
            self.shutter.check_safe()
        self.light_pace.learn(0, lit_s - frames_s)
