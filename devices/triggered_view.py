"""A side that is lit by a scanner, and what its scanner and its piezo are told for a volume."""

from dataclasses import dataclass

from devices.errors import LimitError
from devices.frames import VolumeRequest
from devices.piezo import Piezo
from devices.properties import Value
from devices.scanner import Scanner
from devices.slicing import View

__all__ = ["Calibration", "TriggeredView"]

_TRIANGLE = "1 - Triangle"
_SYNCED = "3 - Enabled with axes synced"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Where a scanner's sheet lies in the focus of a piezo: ``piezo_um = slope · deg + offset``.

    Parameters
    ----------
    slope_um_per_deg
        Positive: the piezo and the sheet are numbered in the same direction.
    offset_um
        Of the piezo, when the scanner's y is at 0.
    uid
        Of the measurement; empty if it is that of the instrument file.
    valid_until_s
        By when it may be used, in s since 1970; None if it has no end.
    """

    slope_um_per_deg: float
    offset_um: float
    uid: str = ""
    valid_until_s: float | None = None

    def deg(self, piezo_um: float) -> float:
        """Return the scanner's y for a place of the piezo."""
        return (piezo_um - self.offset_um) / self.slope_um_per_deg


@dataclass(frozen=True, kw_only=True)
class TriggeredView(View):
    """A side that is lit by a scanner.

    Parameters
    ----------
    camera, drive, axes
        As of `View`; the drive is a piezo.
    scanner
        What lights it.
    calibration
        Of the scanner and the piezo.
    sheet_width_deg, sheet_center_deg
        How far the scanner's x goes to make the sheet, from end to end, and around where.
    """

    drive: Piezo
    scanner: Scanner
    calibration: Calibration
    sheet_width_deg: float
    sheet_center_deg: float

    def check_sheet(self) -> None:
        """Raise `LimitError` if the sheet is wider than the scanner may turn."""
        for sign in (-1, 1):
            self.scanner.checked("x", self.sheet_center_deg + sign * self.sheet_width_deg / 2)

    def check_lit(self, request: VolumeRequest, end_um: float) -> None:
        """Raise `LimitError` if the scanner may not turn to where a slice would be lit."""
        try:
            self.scanner.checked("y", self.calibration.deg(end_um))
        except LimitError as error:
            raise LimitError(
                f"a slice at {end_um:g} µm on {self.drive.name} cannot be lit: {error}",
                field="step_um" if request.is_sweep else "center_um",
            ) from None

    def mirror(self, request: VolumeRequest, center_um: float) -> dict[str, Value]:
        """Return what the scanner is told: of the sheet, and of its way through the sample."""
        axes = {
            "X": (self.sheet_width_deg, self.sheet_center_deg),
            "Y": self._way_deg(request, center_um),
        }
        told: dict[str, Value] = {"BeamEnabled": "No"}
        for axis, (amplitude_deg, offset_deg) in axes.items():
            told |= {
                f"FilterFreq{axis}(kHz)": self.scanner.filter_khz,
                f"SingleAxis{axis}Amplitude(deg)": amplitude_deg,
                f"SingleAxis{axis}Offset(deg)": offset_deg,
                f"SingleAxis{axis}Pattern": _TRIANGLE,
                f"SingleAxis{axis}Mode": _SYNCED,
            }
        return told

    def _way_deg(self, request: VolumeRequest, center_um: float) -> tuple[float, float]:
        """Return how far the scanner's y goes, from end to end, and around where."""
        if request.sheet_um is not None:
            return 0.0, self.calibration.deg(request.sheet_um)
        return _way_um(request) / self.calibration.slope_um_per_deg, self.calibration.deg(center_um)

    def focus(self, request: VolumeRequest, center_um: float) -> dict[str, Value]:
        """Return what the piezo is told."""
        return {
            "SingleAxisAmplitude(um)": _way_um(request),
            "SingleAxisOffset(um)": center_um,
            "SingleAxisPattern": _TRIANGLE,
            "SPIMNumSlices": request.num_slices,
        }


def _way_um(request: VolumeRequest) -> float:
    """Return the amplitude of a sweep: the controller's are **taken to be from end to end**."""
    return request.step_um * (request.num_slices - 1)
