"""The light sheet: cameras, slice drives and light working together to take volumes."""

import logging
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, ClassVar, get_args
from uuid import uuid4

from devices.base import ActionStatus, HardwareDevice
from devices.core import Core
from devices.errors import AcquisitionError, DeviceError, LimitError
from devices.frames import (
    AcquiredVolume,
    FileFormat,
    FrameSink,
    Labels,
    OpenSink,
    PlannedVolume,
    ViewName,
    VolumeRequest,
)
from devices.light_sheet_model import LightSheetModel
from devices.limits import is_finite_number
from devices.model import Models
from devices.pace import Line, Pace
from devices.progress import VolumeStatus
from devices.slicing import Places, Slicer
from devices.stage import Stage
from devices.stage_space import to_stage_um
from devices.stream_documents import stream_documents
from devices.triggered import Calibration, TriggeredSlicer

__all__ = ["LightSheet"]

LOGGER = logging.getLogger(__name__)
_PAUSE_S = 2.0
_REST_S = 1.0
# Until a volume was taken: as an ordinary disk does.
_SET_UP_S = 0.05
_BYTE_S = 1e-9


class LightSheet(HardwareDevice):
    """Takes volumes: `prepare` with a `VolumeRequest`, then `trigger`.

    One volume, or one from each of two sides at once. The frames go from the core's buffer to
    the sinks on a thread of their own; the status of `trigger` is done when the files are
    published. The light is on from the first frame to the last, and off again (read back)
    whatever happens; what takes time before and after, as moving the drive, arming it and
    closing the file, is done in the dark.

    Parameters
    ----------
    slicer
        What takes the slices, and from which sides.
    stages
        Whose positions are recorded with each volume.
    open_sink
        Where the frames go.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"Camera"})

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        slicer: Slicer,
        stages: tuple[Stage, ...],
        open_sink: OpenSink,
    ) -> None:
        first = slicer.views["a"].camera
        super().__init__(name, core=core, label=first.label)
        self.limits = first.limits
        self.slicer = slicer
        self.paces: Mapping[FileFormat, Pace] = {
            name: Pace(Line(_SET_UP_S, _BYTE_S)) for name in get_args(FileFormat)
        }
        """What a volume takes beyond its course: setting up, and the file, by its bytes."""
        self._stages = stages
        self._open_sink = open_sink
        self._request: VolumeRequest | None = None
        self._taken: VolumeRequest | None = None
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None
        self._under_way: VolumeStatus | None = None
        self._documents: list[tuple[str, dict[str, Any]]] = []
        self._views: tuple[ViewName, ...] = ("a",)
        self._shape: tuple[int, ...] = ()
        self._dtype = ""
        self.published: Mapping[ViewName, AcquiredVolume] = {}
        """What came of the latest request, by view."""

    # ------------------------------------------------------------------ bluesky's verbs

    def check_prepare(self, request: VolumeRequest, drives_um: Places | None = None) -> None:
        """Raise `LimitError` if the request cannot be carried out. Never asks the hardware.

        Parameters
        ----------
        request
            For a volume.
        drives_um
            Where the slice drives are by then; None takes where they were read last.
        """
        if missing := [view for view in request.views if view not in self.slicer.views]:
            raise LimitError(
                f"{self.name} does not see from side {' or '.join(missing)}; it sees from: "
                f"{', '.join(self.slicer.views)}",
                field="view",
            )
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
        for view in request.views:
            self.slicer.views[view].camera.check_value(request.exposure_ms)
        self.slicer.check(request, self._places_read_last() if drives_um is None else drives_um)

    def prepare(self, request: VolumeRequest) -> ActionStatus:
        """Check the request and set the exposure; returns at once."""
        self.check_prepare(request)
        self.check_calibrated(request, time.time())
        self._request, self._views = request, request.views
        first, *others = (self.slicer.views[view].camera for view in request.views)
        status = first.set(request.exposure_ms)
        for camera in others:
            status = status & camera.set(request.exposure_ms)
        return status

    def trigger(self) -> ActionStatus:
        """Take the prepared volume; returns at once, done when it is published."""
        if self._request is None:
            raise self.unprepared()
        if self._under_way is not None and not self._under_way.done:
            raise self.busy()
        if self._request.is_only_of_run and self._request == self._taken and self.published:
            return self._there()
        frames = self._request.num_slices * len(self._request.views)
        self._under_way = status = VolumeStatus(self, frames)
        self._cancelled = threading.Event()
        self.published, self._taken = {}, self._request
        self._documents.clear()  # of a volume that was given up when it was published already
        self._thread = threading.Thread(
            target=self._run,
            args=(self._request, status, self._cancelled),
            name=self.name,
            daemon=True,
        )
        self._thread.start()
        return status

    def _there(self) -> ActionStatus:
        """Return a status that is done: a pause came between the volume and its event."""
        status = ActionStatus(self)
        status.set_finished()
        return status

    @property
    def has_sheet(self) -> bool:
        """Whether its light is a sheet that can stay while the focal plane moves."""
        return isinstance(self.slicer, TriggeredSlicer)

    def calibrate(self, view: ViewName, calibration: Calibration) -> None:
        """Use a calibration of piezo and scanner from the next volume on; raises `LimitError`."""
        self._triggered().calibrate(view, calibration)

    def calibration(self, view: ViewName) -> Calibration:
        """Return the calibration of a side that is in use; raises `LimitError`."""
        return self._triggered().views[view].calibration

    def check_calibrated(
        self, request: VolumeRequest, now_s: float, renewed: Collection[ViewName] = ()
    ) -> None:
        """Raise `LimitError` if slices would be lit by a calibration that has come to its end.

        Where the sheet stays, what is to be found out is where it lies: that needs none.

        Parameters
        ----------
        request
            For a volume.
        now_s
            When it would be taken, in s since 1970.
        renewed
            Sides that will have been calibrated again by then.
        """
        if not self.has_sheet or request.sheet_um is not None:
            return
        for view in request.views:
            until_s = self.calibration(view).valid_until_s
            if until_s is not None and now_s > until_s and view not in renewed:
                raise LimitError(
                    f"the calibration of view {view} may be used until {_clock(until_s)}, and "
                    "nobody knows where the sheet is after that. Calibrate again "
                    f"(calibrate_piezo_galvo view={view}).",
                    field="light_sheet",
                )

    def galvo_deg(self, view: ViewName, piezo_um: float) -> float:
        """Return the scanner's y for a place of the piezo, as it is calibrated now."""
        return self.calibration(view).deg(piezo_um)

    def _triggered(self) -> TriggeredSlicer:
        if not isinstance(self.slicer, TriggeredSlicer):
            raise LimitError(
                f"{self.name} has no scanner that could be calibrated", field="light_sheet"
            )
        return self.slicer

    def _calibrated(self, view: ViewName) -> dict[str, Any]:
        """Return what is told of the calibration of a side, as JSON has it; nothing without one."""
        if not self.has_sheet:
            return {}
        return {"calibration": asdict(self.calibration(view))}

    @property
    def field_um(self) -> tuple[float, float]:
        """Width and height of what a frame of view a shows, at the camera's last known format."""
        camera = self.slicer.views["a"].camera
        height, width = camera.last_shape
        return width * camera.pixel_size_um, height * camera.pixel_size_um

    def volume_bytes(self, request: VolumeRequest) -> int:
        """Return the size of the pixels asked for, at the camera's last known format."""
        cameras = (self.slicer.views[view].camera for view in request.views)
        return request.num_slices * sum(camera.last_frame_bytes for camera in cameras)

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
        return f"{self.slicer.pace_source}; setting up and file: {files}"

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data keys of what it was prepared for last.

        Of each volume there is one outside of the documents, and its uid. A volume alone has the
        name of the light sheet; of two, each has its view's besides.
        """
        keys: dict[str, dict[str, Any]] = {f"{self.name}_exposure": self._key("ms")}
        for view, name in self.data_keys(self._views).items():
            keys[f"{name}_uid"] = self._key("", "string")
            keys[name] = {
                "source": f"mmcore://{self.slicer.views[view].camera.label}",
                "dtype": "array",
                "dtype_numpy": self._dtype,
                # Of one event; tiled's writer stacks them, which is the 1 in chunk_shape.
                "shape": list(self._shape),
                "external": "STREAM:",
            }
        return keys

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
        """Put out the light and end the sequence, at once."""
        self._cancelled.set()
        self.slicer.light.stop()

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
        published = self.published
        uids = {
            f"{key}_uid": published[view].uid if view in published else ""
            for view, key in self.data_keys(self._views).items()
        }
        return {
            **uids,
            f"{self.name}_exposure": self._core.exposure_ms(
                self.slicer.views[self._views[0]].camera.label
            ),
        }

    def data_keys(self, views: tuple[ViewName, ...]) -> Mapping[ViewName, str]:
        """Return what volumes that are taken at once are called in the documents, by view."""
        if len(views) == 1:
            return {views[0]: self.name}
        return {view: f"{self.name}_{view}" for view in views}

    def _places_read_last(self) -> Places:
        drives = {view: one.drive for view, one in self.slicer.views.items()}
        return {view: drive.last_reading()[drive.name]["value"] for view, drive in drives.items()}

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
            volumes = self._take(request, status, cancelled)
            keys = self.data_keys(request.views)
            for view, volume in volumes.items():
                self._documents += stream_documents(
                    volume, request, data_key=keys[view], shape=self._shape
                )
            self.published = volumes
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
    ) -> Mapping[ViewName, AcquiredVolume]:
        began = time.monotonic()
        found_um = self._positions_um()
        drives_um: Places = {
            view: found_um[f"{one.drive.name}.z"] for view, one in self.slicer.views.items()
        }
        self.slicer.check(request, drives_um)
        self.check_calibrated(request, time.time())
        centers_um = self.slicer.centers_um(request, drives_um)
        planned = self._plan(request, centers_um, found_um)
        course = self.slicer.course(request, drives_um)
        came = dict.fromkeys(request.views, 0)
        with ExitStack() as shelf:
            sinks = {
                view: shelf.enter_context(self._open_sink(one)) for view, one in planned.items()
            }
            try:
                with self.slicer.slices(request, centers_um, planned, cancelled) as slices:
                    for sink in sinks.values():
                        sink.lit()
                    for one in slices:
                        sinks[one.view].write(
                            one.pixels, index=one.index, delta_t_s=one.elapsed_s, z_um=one.z_um
                        )
                        came[one.view] += 1
                        status.progress(sum(came.values()))
            except AcquisitionError as error:
                raise self._short(request, sinks, came, error) from error
            volumes = {view: sink.finish() for view, sink in sinks.items()}
        left_out_s = time.monotonic() - began - course.seconds
        self.paces[request.file_format].learn(self.volume_bytes(request), left_out_s)
        return volumes

    def _short(
        self,
        request: VolumeRequest,
        sinks: Mapping[ViewName, FrameSink],
        came: Mapping[ViewName, int],
        error: AcquisitionError,
    ) -> AcquisitionError:
        """Say why volumes fell short, and keep what came of them if that was asked for."""
        why = str(error)
        if waited_s := sum(sink.back_pressure_s for sink in sinks.values()):
            why += f" The camera had waited {waited_s:.3g} s for the disk."
        if not any(came.values()) or request.on_short == "discard":
            return AcquisitionError(f"{why} Nothing of the volume is kept.")
        kept = [sinks[view].keep(why).uid for view, frames in came.items() if frames]
        return AcquisitionError(
            f"{why} What came is kept as the incomplete volume {' and '.join(kept)}."
        )

    def _plan(
        self, request: VolumeRequest, centers_um: Places, found_um: Mapping[str, float]
    ) -> Mapping[ViewName, PlannedVolume]:
        """Read from the hardware all that has to be known before the light goes on."""
        light = self.slicer.arm(request, centers_um)
        uids = {view: uuid4().hex for view in request.views}
        planned: dict[ViewName, PlannedVolume] = {}
        for view, center_um in centers_um.items():
            camera, drive = self.slicer.views[view].camera, self.slicer.views[view].drive
            height, width, dtype = camera.frame_format()
            self._shape, self._dtype = (request.num_slices, height, width), dtype.str
            siblings = [uid for other, uid in uids.items() if other != view]
            planned[view] = PlannedVolume(
                shape=(request.num_slices, height, width),
                dtype=dtype.name,
                pixel_size_um=camera.pixel_size_um,
                step_um=request.step_um,
                exposure_ms=float(camera.read()[f"{camera.name}_exposure"]["value"]),
                positions_um=found_um,
                first_z_um=request.position_um(center_um, 0),
                z_tolerance_um=drive.tolerance_um,
                significant_bits=camera.significant_bits(),
                frames_differ=camera.frames_differ,
                camera=camera.name,
                run_uid=request.run_uid,
                file_format=request.file_format,
                compression=request.compression,
                uid=uids[view],
                labels=_labels(request, view, str(light.get("line", ""))),
                metadata={
                    "view": view,
                    "siblings": siblings,
                    "light": dict(light),
                    **self._calibrated(view),
                    **self._in_stage_space(view, request, center_um, (height, width), found_um),
                },
            )
        return planned

    def _in_stage_space(
        self,
        view: ViewName,
        request: VolumeRequest,
        center_um: float,
        size_px: tuple[int, int],
        found_um: Mapping[str, float],
    ) -> dict[str, Any]:
        """Return where the voxels of a side lie on the stage; nothing if that is not known."""
        side = self.slicer.views[view]
        found = to_stage_um(
            side.axes,
            request,
            drive=side.drive.name,
            center_um=center_um,
            size_px=size_px,
            pixel_size_um=side.camera.pixel_size_um,
            positions_um=found_um,
        )
        return {} if found is None else {"to_stage_um": found}

    def _positions_um(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for stage in self._stages:
            values = [reading["value"] for reading in stage.read().values()]
            for axis, value in zip(stage.limits, values, strict=True):
                found[f"{stage.name}.{axis}"] = float(value)
        return found


def _clock(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d %H:%M} UTC"


def _labels(request: VolumeRequest, view: ViewName, line: str) -> Labels:
    """Return by what the volume of one view is to be found."""
    channel = request.labels.channel or line
    if len(request.views) > 1:
        channel = f"{channel} {view}".strip()
    return replace(request.labels, channel=channel)
