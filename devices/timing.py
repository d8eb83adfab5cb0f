"""When, within a slice, the sheet scans, the laser is lit and the camera is triggered.

The controller counts in quarters of a millisecond. The camera is triggered when it has read the
frame before; when all its rows expose, the laser is lit for the exposure; and the sheet scans from
a little before the laser to a little after it, begun earlier by what the mirror's filter holds it
back.
"""

import math
from dataclasses import dataclass

from devices.errors import LimitError

__all__ = ["CameraClock", "Timing", "slice_timing"]

_STEP_MS = 0.25
_MARGIN_MS = 0.25
"""By which the sheet scans before and after the laser."""
_PULSE_MS = 1.0
"""The camera's trigger; one of 0 ms triggers nothing."""
_FILTER_LAG_KHZ_MS = 0.39
"""The group delay of the mirrors' Bessel filter of fifth order, in ms, times its frequency."""
_LOGIC_LAG_MS = 0.25
"""By which the logic card delays the camera's and the laser's pulses, but not the mirrors."""


@dataclass(frozen=True, kw_only=True)
class CameraClock:
    """How long a camera takes besides its exposure.

    Parameters
    ----------
    readout_ms
        To read a frame, of which nothing can be triggered before its end.
    reset_ms
        From the trigger until all its rows expose.
    """

    readout_ms: float
    reset_ms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One slice, in ms: how long after its start each thing begins, and how long it takes."""

    scan_delay_ms: float
    scan_ms: float
    laser_delay_ms: float
    laser_ms: float
    camera_delay_ms: float
    camera_pulse_ms: float

    @property
    def slice_ms(self) -> float:
        """From the start of a slice to that of the next."""
        return max(
            self.scan_delay_ms + self.scan_ms,
            self.laser_delay_ms + self.laser_ms,
            self.camera_delay_ms + self.camera_pulse_ms,
        )


def slice_timing(exposure_ms: float, camera: CameraClock, *, filter_khz: float) -> Timing:
    """Return the timing of a slice whose light lasts for the exposure.

    Parameters
    ----------
    exposure_ms
        Of each row of the camera.
    camera
        The slowest of those that are triggered.
    filter_khz
        Of the mirrors' filter, as set at the controller.

    Raises
    ------
    LimitError
        If the controller cannot count it, or the sheet would have to scan before the slice begins;
        the field is ``exposure_ms`` or ``roi``.
    """
    if exposure_ms <= 0 or not (exposure_ms / _STEP_MS).is_integer():
        below_ms = max(_STEP_MS, math.floor(exposure_ms / _STEP_MS) * _STEP_MS)
        raise LimitError(
            f"an exposure of {exposure_ms:g} ms cannot be counted in steps of {_STEP_MS:g} ms, as "
            f"the controller does. Ask for {below_ms:g} or {below_ms + _STEP_MS:g} ms.",
            field="exposure_ms",
        )
    camera_delay_ms = _ceiled(camera.readout_ms)
    laser_delay_ms = camera_delay_ms + _ceiled(camera.reset_ms)
    scan_delay_ms = laser_delay_ms - _MARGIN_MS - _mirror_lag_ms(filter_khz)
    found = Timing(
        scan_delay_ms=scan_delay_ms,
        scan_ms=exposure_ms + 2 * _MARGIN_MS,
        laser_delay_ms=laser_delay_ms,
        laser_ms=exposure_ms,
        camera_delay_ms=camera_delay_ms,
        camera_pulse_ms=_PULSE_MS,
    )
    if scan_delay_ms < 0:
        raise LimitError(
            f"the sheet would have to scan {-scan_delay_ms:g} ms before its slice begins: a mirror "
            f"with a filter of {filter_khz:g} kHz lags behind, and the camera is read in "
            f"{camera.readout_ms:g} ms. Read more rows, or raise the filter's frequency.",
            field="roi",
        )
    return found


def _mirror_lag_ms(filter_khz: float) -> float:
    """Return by how much the mirrors move later than the pulses come."""
    return round(_FILTER_LAG_KHZ_MS / filter_khz / _STEP_MS) * _STEP_MS - _LOGIC_LAG_MS


def _ceiled(ms: float) -> float:
    # A readout of 5 ms, computed from its rows, must not become 5.25 ms by its last bit.
    return math.ceil(round(ms / _STEP_MS, 6)) * _STEP_MS
