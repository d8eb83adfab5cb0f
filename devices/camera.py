"""The camera, as a thing that is read and whose exposure is set; frames go another way."""

from typing import Any, ClassVar

import numpy as np

from devices.base import ActionStatus, HardwareDevice
from devices.core import Core
from devices.errors import AcquisitionError, LimitError
from devices.limits import Limits
from devices.model import DeviceModel, Models
from devices.pace import Line, Pace
from devices.timing import CameraClock

__all__ = ["Camera", "CameraModel"]

# How far an exposure may be from the one that was asked for, as a part of it.
_CLOSE = 0.01


class Camera(HardwareDevice):
    """A camera. Setting it sets its exposure in ms; its frames are taken by a light sheet.

    Parameters
    ----------
    exposure_limits
        In ms.
    pixel_size_um
        The edge of a pixel in the sample, in µm.
    frame_counter
        The tag in which the camera itself counts its frames; None if it does not.
    frames_differ
        Whether its noise rules out that two frames in a row are the same.
    roi
        The part of the sensor that is read, as (x, y, width, height) in pixels; None for all.
    row_us, reset_ms
        How long it takes to read a row, and from a trigger until all rows expose; None if it is
        never triggered.
    """

    core_kinds: ClassVar[frozenset[str]] = frozenset({"Camera"})

    def __init__(
        self,
        name: str,
        *,
        core: Core,
        label: str,
        exposure_limits: Limits,
        pixel_size_um: float,
        frame_counter: str | None = None,
        frames_differ: bool = True,
        roi: tuple[int, int, int, int] | None = None,
        row_us: float | None = None,
        reset_ms: float = 0.0,
    ) -> None:
        super().__init__(name, core=core, label=label)
        self.limits = {"exposure_ms": exposure_limits}
        self.pixel_size_um = pixel_size_um
        self.frame_counter = frame_counter
        self.frames_differ = frames_differ
        self.roi = roi
        self._row_us = row_us
        self._reset_ms = reset_ms
        self._last_rows = 0
        self.last_frame_bytes = 0
        """Of a frame of the format that was asked for last; 0 before that."""
        self.last_shape = (0, 0)
        """Height and width of it in pixels."""
        self.readout = Pace(Line(0.0))
        """What a frame takes beyond its exposure."""
        self._exposure = f"{name}_exposure"

    def set(self, value: float) -> ActionStatus:
        """Set the exposure in ms; returns at once. The status fails if another is read back."""
        asked_ms = self.checked(value)

        def took(found_ms: float) -> None:
            self._remember({self._exposure: found_ms})
            if not abs(found_ms - asked_ms) <= _CLOSE * asked_ms:
                raise AcquisitionError(
                    f"{self.name} was asked to expose for {asked_ms:g} ms and takes "
                    f"{found_ms:g} ms. Lower exposure_ms: with a progressive readout it has a cap."
                )

        return self._status(self._core.set_exposure_ms(self.label, asked_ms), took)

    def expose(self, exposure_ms: float) -> None:
        """See that it exposes as it was asked to, in the mode in which it is by now; blocks.

        Raises
        ------
        AcquisitionError
            If it does not.
        """
        (reading,) = self.read().values()
        if not abs(reading["value"] - exposure_ms) <= _CLOSE * exposure_ms:
            self.set(exposure_ms).wait()

    def check_value(self, value: Any) -> None:
        """Raise `LimitError` unless `value` is an exposure within the limits."""
        self.checked(value)

    def frame_format(self) -> tuple[int, int, np.dtype[Any]]:
        """Return the height and width in pixels, and the dtype, of a frame; asks the hardware."""
        height, width, dtype = self._core.frame_format(self.label)
        self.last_shape = (height, width)
        self.last_frame_bytes = height * width * dtype.itemsize
        self._last_rows = height
        return height, width, dtype

    def clock(self) -> CameraClock:
        """Return how long it takes besides its exposure, of the format that was asked for last.

        Raises
        ------
        LimitError
            If nobody has said how long a row takes.
        """
        if self._row_us is None:
            raise LimitError(
                f"{self.name} cannot be triggered: how long it takes to read a row is not known. "
                "Add row_us to the instrument file.",
                field="camera",
            )
        return CameraClock(
            readout_ms=self._last_rows * self._row_us / 1000, reset_ms=self._reset_ms
        )

    def read_region(self) -> None:
        """Have the camera read the part of the sensor that the instrument file says, and see it.

        Raises
        ------
        CoreError
            If it reads another part.
        """
        if self.roi is not None:
            self._core.set_roi(self.label, self.roi)

    def region(self) -> tuple[int, int, int, int]:
        """Return the (x, y, width, height) of the sensor that it reads; asks the hardware."""
        return self._core.roi(self.label)

    def significant_bits(self) -> int:
        """Return how many bits of a pixel the camera uses; asks the hardware."""
        return self._core.significant_bits(self.label)

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return the data key of the exposure, in ms."""
        return {self._exposure: self._key("ms")}

    def model(self, models: Models) -> "CameraModel":  # noqa: ARG002
        """Return a model that takes an exposure."""
        return CameraModel(self)

    def checked(self, value: Any) -> float:
        """Return an exposure in ms, or raise `LimitError`."""
        return self.limits["exposure_ms"].check(f"{self.name}.exposure_ms", value)

    def _read_hardware(self) -> dict[str, float]:
        return {self._exposure: self._core.exposure_ms(self.label)}


class CameraModel(DeviceModel):
    """A camera whose exposure follows the plan."""

    device: Camera

    def set(self, value: Any) -> float:
        """Set the exposure in ms."""
        (key,) = self.device.describe()
        self.values[key] = self.device.checked(value)
        return 0.0
