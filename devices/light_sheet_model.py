"""The light sheet as a plan would leave it: what its volumes come to, without taking one."""

import time
from typing import TYPE_CHECKING, Any, cast

from devices.errors import LimitError
from devices.frames import ViewName, VolumeRequest
from devices.lasers import LasersModel
from devices.model import DeviceModel, Models
from devices.shutter import ShutterModel
from devices.slicing import Places
from devices.stage import StageModel

if TYPE_CHECKING:
    from devices.light_sheet import LightSheet

__all__ = ["LightSheetModel"]


class LightSheetModel(DeviceModel):
    """A light sheet that takes volumes of which only the size is known.

    The readings name a volume that does not exist: its uid is all zeros.
    """

    device: "LightSheet"

    def __init__(self, device: "LightSheet", models: Models) -> None:
        super().__init__(device)
        self._models = models
        views = device.slicer.views
        self._cameras = {view: models.of(one.camera) for view, one in views.items()}
        self._drives = {
            view: cast("StageModel", models.of(one.drive)) for view, one in views.items()
        }
        self._light = cast("ShutterModel | LasersModel", models.of(device.slicer.light))
        self._views: tuple[ViewName, ...] = ("a",)
        self._request: VolumeRequest | None = None
        self._is_refused = False
        self._before: VolumeRequest | None = None
        self._busy_until_s = 0.0
        self._uid = ""
        self._renewed: set[ViewName] = set()
        self._last_lit: VolumeRequest | None = None

    def read(self) -> dict[str, Any]:
        """Return the uids of volumes that will have others, and the exposure."""
        (exposure_ms,) = self._cameras[self._views[0]].read().values()
        keys = self.device.data_keys(self._views)
        uids = {f"{key}_uid": self._uid for key in keys.values()}
        return {**uids, f"{self.device.name}_exposure": exposure_ms}

    def prepare(self, value: VolumeRequest) -> float:
        """Take the request for a volume."""
        self._request, self._is_refused = None, True
        self.device.check_prepare(value, self._drives_um())
        self.device.check_calibrated(value, self._clock_s, self._renewed)
        self._request, self._is_refused, self._views = value, False, value.views
        return max(self._cameras[view].set(value.exposure_ms) for view in value.views)

    def trigger(self) -> float:
        """Take the volume."""
        request, now_s = self._request, self._models.now_s
        if self._is_refused:
            return 0.0  # which was told when it was prepared
        if request is None:
            raise self.device.unprepared()
        if now_s < self._busy_until_s:
            raise self.device.busy()
        if request.sheet_um is None:
            self._last_lit = request
        drives_um = self._drives_um()
        course = self.device.slicer.course(request, drives_um)
        for view, stations_um in course.stations_um.items():
            stations = ((station_um,) for station_um in stations_um)
            self._drives[view].went((drives_um[view],), *stations)
        self._light.light_up(
            course.lit_s, request.line, request.power_percent, request.labels.embryo
        )
        self._uid = "0" * 32
        self.use.volumes += len(request.views)
        self.use.frames += request.num_slices * len(request.views)
        frame_bytes = (self.device.slicer.views[v].camera.last_frame_bytes for v in request.views)
        self.use.frame_bytes = max(self.use.frame_bytes, *frame_bytes)
        volume_bytes = self.device.volume_bytes(request)
        self.use.disk_bytes += volume_bytes
        seconds = course.seconds
        if not self._follows(request):  # the file of one is finished while the next is taken
            seconds += self.device.paces[request.file_format].seconds(volume_bytes)
        self._before = request
        self._busy_until_s = now_s + seconds
        return max(0.0, seconds)

    def calibrate(self, view: ViewName) -> None:
        """Have a side calibrated."""
        self._renewed.add(view)

    def finish(self) -> None:
        """Say if what the plan takes at its end, which may not have been followed, is refused."""
        if self._last_lit is None:
            return
        try:
            self.device.check_calibrated(self._last_lit, self._clock_s, self._renewed)
        except LimitError as error:
            self._models.complaints.append(f"lasts longer than it may: {error}")

    def unstage(self) -> None:
        """Forget the request."""
        self._request, self._is_refused, self._before = None, False, None

    def _follows(self, request: VolumeRequest) -> bool:
        """Whether a volume is taken without a pause after the one before it."""
        before = self._before
        return self.device.slicer.repeats and bool(before and before.is_followed_by(request))

    @property
    def _clock_s(self) -> float:
        return time.time() + self._models.now_s

    def _drives_um(self) -> Places:
        return {view: drive.position_um[0] for view, drive in self._drives.items()}
