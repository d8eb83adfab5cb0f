"""The light sheet as a plan would leave it: what its volumes come to, without taking one."""

from typing import TYPE_CHECKING, Any, cast

from devices.frames import VolumeRequest
from devices.model import DeviceModel, Models
from devices.shutter import ShutterModel
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
        self._camera = models.of(device.camera)
        self._drive = cast("StageModel", models.of(device.slice_drive))
        self._shutter = cast("ShutterModel", models.of(device.shutter))
        self._request: VolumeRequest | None = None
        self._is_refused = False
        self._busy_until_s = 0.0
        self._uid = ""

    def read(self) -> dict[str, Any]:
        """Return the uid of a volume that will have another, and the exposure."""
        (exposure_ms,) = self._camera.read().values()
        return {f"{self.device.name}_uid": self._uid, f"{self.device.name}_exposure": exposure_ms}

    def prepare(self, value: VolumeRequest) -> float:
        """Take the request for a volume."""
        (drive_um,) = self._drive.position_um
        self._request, self._is_refused = None, True
        self.device.check_prepare(value, drive_um)
        self._request, self._is_refused = value, False
        return self._camera.set(value.exposure_ms)

    def trigger(self) -> float:
        """Take the volume."""
        request, now_s = self._request, self._models.now_s
        if self._is_refused:
            return 0.0  # which was told when it was prepared
        if request is None:
            raise self.device.unprepared()
        if now_s < self._busy_until_s:
            raise self.device.busy()
        (drive_um,) = self._drive.position_um
        course = self.device.slicer.course(request, drive_um)
        self._drive.went((drive_um,), *((station_um,) for station_um in course.stations_um))
        lit_s = course.lit_s + max(0.0, self.device.light_pace.seconds(0))
        self._shutter.light_up(lit_s, request.labels.embryo)
        self._uid = "0" * 32
        self.use.volumes += 1
        self.use.frames += request.num_slices
        self.use.frame_bytes = max(self.use.frame_bytes, self.device.camera.last_frame_bytes)
        volume_bytes = self.device.volume_bytes(request)
        self.use.disk_bytes += volume_bytes
        seconds = course.seconds + self.device.paces[request.file_format].seconds(volume_bytes)
        self._busy_until_s = now_s + seconds
        return max(0.0, seconds)

    def unstage(self) -> None:
        """Forget the request."""
        self._request, self._is_refused = None, False
