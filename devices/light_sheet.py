"""The light sheet: cameras, slice drives and light working together to take volumes."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, get_args

import numpy as np

from devices.base import ActionStatus, HardwareDevice
from devices.core import Core
from devices.dose import Dose
from devices.errors import AcquisitionError, DeviceError, LimitError
from devices.frames import AcquiredVolume, FileFormat, OpenSink, ViewName, VolumeRequest
from devices.light_sheet_model import LightSheetModel
from devices.limits import is_finite_number
from devices.model import Models
from devices.pace import Line, Pace
from devices.planning import Plans
from devices.progress import VolumeStatus
from devices.slicing import Places, Slicer
from devices.stage import Stage
from devices.stream_documents import stream_documents
from devices.taking import Order, Parts, Taking
from devices.triggered import TriggeredSlicer
from devices.triggered_view import Calibration

__all__ = ["LightSheet"]

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
        self._parts = Parts(name, slicer, stages, open_sink, self.paces)
        self._request: VolumeRequest | None = None
        self._taken: VolumeRequest | None = None
        self._taking: Taking | None = None
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
        if type(request.num_following) is not int or request.num_following < 0:
            raise LimitError(
                f"{self.name} lets 0 volumes or more follow, not {request.num_following!r}",
                field="num_following",
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
        """Check the request and set the exposure; returns at once.

        The exposure of a volume that follows another at once is set: its camera is at work.
        """
        self.check_prepare(request)
        self.check_calibrated(request, time.time())
        self._request, self._views = request, request.views
        if self._taking is not None:
            if self._taking.awaits(request):
                return self._there()
            self._taking.leave()
        first, *others = (self.slicer.views[view].camera for view in request.views)
        status = first.set(request.exposure_ms)
        for camera in others:
            status = status & camera.set(request.exposure_ms)
        return status

    def trigger(self) -> ActionStatus:
        """Take the prepared volume; returns at once, done when it is published."""
        request = self._request
        if request is None:
            raise self.unprepared()
        if self._under_way is not None and not self._under_way.done:
            raise self.busy()
        if request.is_only_of_run and request == self._taken and self.published:
            return self._there()
        self._under_way = status = VolumeStatus(self, request.num_slices * len(request.views))
        self.published, self._taken = {}, request
        self._documents.clear()  # of a volume that was given up when it was published already
        if not self.slicer.repeats:
            request = replace(request, num_following=0)
        order = Order(request, status)
        if self._taking is None or not self._taking.go_on(order):
            self._taking = Taking(self._parts, self._note, order, self._taking)
            self._taking.start()
        return status

    def _there(self) -> ActionStatus:
        """Return a status that is done: there is nothing left to do."""
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

        As of `TriggeredSlicer.check_calibrated`; without a scanner there is none.
        """
        if isinstance(self.slicer, TriggeredSlicer):
            self.slicer.check_calibrated(request, now_s, renewed)

    def galvo_deg(self, view: ViewName, piezo_um: float) -> float:
        """Return the scanner's y for a place of the piezo, as it is calibrated now."""
        return self.calibration(view).deg(piezo_um)

    def _triggered(self) -> TriggeredSlicer:
        if not isinstance(self.slicer, TriggeredSlicer):
            raise LimitError(
                f"{self.name} has no scanner that could be calibrated", field="light_sheet"
            )
        return self.slicer

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

    def dose(self, request: VolumeRequest) -> Dose:
        """Return the light that the volumes of a request take, by the power that is asked for."""
        lit_s = self.slicer.course(request, self._places_read_last()).lit_s
        return Dose.of(lit_s, self.slicer.power_mw(request))

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
        if self._taking is not None:
            self._taking.join(_PAUSE_S)

    def resume(self) -> None:
        """Nothing to do: the plan prepares and triggers again."""

    def check_value(self, value: Any) -> None:
        """Refuse: a light sheet is prepared and triggered, not set."""
        raise LimitError(f"{self.name} cannot be set to {value!r}", field=self.name)

    def stop(self, *, success: bool = False) -> None:  # noqa: ARG002 - bluesky's signature
        """Put out the light and end the sequence, at once."""
        if self._taking is not None:
            self._taking.cancel()
        self.slicer.light.stop()

    def check_safe(self) -> None:
        """Raise `DeviceError` if a volume is still under way, after a moment to end."""
        if self._taking is None:
            return
        self._taking.join(_REST_S)
        if self._taking.is_alive:
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
        if self._taking is not None:
            self._taking.cancel()

    def _ended(self) -> ActionStatus:
        """Return a status that ends with what is under way, and with what went wrong in it."""
        status = ActionStatus(self)
        taking = self._taking
        if taking is None:
            status.set_finished()
            return status

        def wait() -> None:
            taking.join()
            error, taking.error = taking.error, None  # told once
            if error is not None:
                status.set_exception(error)
            else:
                status.set_finished()

        threading.Thread(target=wait, name=f"{self.name} unstage", daemon=True).start()
        return status

    def _note(
        self, order: Order, planned: Plans, volumes: Mapping[ViewName, AcquiredVolume]
    ) -> None:
        """Take note of what was published, before its status ends."""
        keys = self.data_keys(order.request.views)
        for view, volume in volumes.items():
            self._shape, self._dtype = planned[view].shape, np.dtype(planned[view].dtype).str
            self._documents += stream_documents(
                volume, order.request, data_key=keys[view], shape=self._shape
            )
        self.published = volumes
