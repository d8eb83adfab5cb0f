"""Calibrations that were measured: kept across restarts, ``{storage}/calibrations.json``."""

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from devices import Calibration, HardwareDevice, LightSheet, LimitError, ViewName
from gently.core.errors import GentlyError

__all__ = ["CalibrationStoreError", "Calibrations", "KeptCalibration"]

LOGGER = logging.getLogger(__name__)
_MOST: Final = 200
_DAY_S: Final = 86_400.0


class CalibrationStoreError(GentlyError):
    """The file of calibrations cannot be read or written; says which and why."""


class KeptCalibration(BaseModel):
    """A calibration, of what it is, and for how long it may be used.

    Attributes
    ----------
    uid
        Its own; volumes that were taken with it name it.
    instrument, light_sheet, view
        Of which side of what.
    source
        By what it was measured: `focus` measures the offset alone, and keeps the slope.
    slope_uid
        Of the calibration that measured its slope; empty if that is the instrument file's.
    slope_um_per_deg, offset_um, residual_um, quality
        ``piezo_um = slope · galvo_deg + offset``, and how good that is.
    drift_um
        How far the one that was used before it was off.
    made, valid_until
        In s since 1970.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uid: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    instrument: str
    light_sheet: str
    view: ViewName
    source: Literal["calibrate_piezo_galvo", "focus"] = "calibrate_piezo_galvo"
    slope_uid: str = ""
    slope_um_per_deg: FiniteFloat
    offset_um: FiniteFloat
    residual_um: FiniteFloat | None
    quality: str
    drift_um: FiniteFloat | None = None
    made: FiniteFloat
    valid_until: FiniteFloat


_FILE = TypeAdapter(list[KeptCalibration])


class Calibrations:
    """Keeps calibrations, and lets the light sheets use the latest.

    Parameters
    ----------
    path
        Of the file, made when the first is kept.
    instrument
        Its name: those of others are kept, and not used.

    Raises
    ------
    CalibrationStoreError
        If the file is not what was written.
    """

    def __init__(self, path: Path, instrument: str) -> None:
        self._path = path
        self._instrument = instrument
        self._kept = self._read()

    def latest(self) -> Mapping[tuple[str, ViewName], KeptCalibration]:
        """Return the latest of this instrument, by light sheet and view; valid or not."""
        return {(kept.light_sheet, kept.view): kept for kept in self._kept if self._is_ours(kept)}

    def apply(self, devices: Mapping[str, HardwareDevice]) -> None:
        """Let each light sheet use its latest calibration.

        One that has come to its end, too: the light sheet refuses to light slices by it. What the
        instrument file says has been found to be wrong, and is no way out.
        """
        for kept in self.latest().values():
            device = devices.get(kept.light_sheet)
            if not isinstance(device, LightSheet):
                continue
            if kept.valid_until < time.time():
                LOGGER.warning("calibration %s is no longer valid; calibrate again", kept.uid)
            try:
                device.calibrate(kept.view, _of(kept))
            except LimitError as error:
                LOGGER.warning("calibration %s is not used: %s", kept.uid, error)

    def keep(
        self,
        light_sheet: LightSheet,
        view: ViewName,
        told: Mapping[str, Any],
        valid_s: float | None,
    ) -> str:
        """Let a light sheet use a calibration from now on, keep it, and return its uid.

        Parameters
        ----------
        light_sheet, view
            Which side of what.
        told
            As `plans.calibration` and `plans.focus` tell it.
        valid_s
            For how long it may be used; None for as long as the one whose slope it has, or for a
            day if that is the instrument file's.
        """
        names = ("slope_um_per_deg", "offset_um", "residual_um", "drift_um", "quality")
        made, uid = time.time(), uuid4().hex
        slope_uid, valid_until = uid, made + (valid_s or _DAY_S)
        if valid_s is None:
            slope_uid, valid_until = self._slope(light_sheet, view) or ("", valid_until)
        kept = KeptCalibration(
            uid=uid,
            source="focus" if valid_s is None else "calibrate_piezo_galvo",
            slope_uid=slope_uid,
            instrument=self._instrument,
            light_sheet=light_sheet.name,
            view=view,
            made=made,
            valid_until=valid_until,
            **{name: told[name] for name in names},
        )
        light_sheet.calibrate(view, _of(kept))
        self._kept = [*self._kept, kept][-_MOST:]
        self._write()
        return kept.uid

    def _slope(self, light_sheet: LightSheet, view: ViewName) -> tuple[str, float] | None:
        """Return of which calibration the slope in use is, and by when it may be used.

        None if it is the instrument file's, which has no end.
        """
        used = light_sheet.calibration(view)
        kept = next((kept for kept in self._kept if kept.uid == used.uid), None)
        return (kept.slope_uid, kept.valid_until) if kept and kept.slope_uid else None

    def _is_ours(self, kept: KeptCalibration) -> bool:
        return kept.instrument == self._instrument

    def _read(self) -> list[KeptCalibration]:
        if not self._path.exists():
            return []
        try:
            return _FILE.validate_json(self._path.read_bytes())
        except (OSError, ValidationError) as error:
            raise CalibrationStoreError(
                f"the calibrations in {self._path} cannot be read: {error}. Mend the file, or move "
                "it away: those of the instrument file are then used"
            ) from error

    def _write(self) -> None:
        part = self._path.with_suffix(".json.part")
        try:
            with part.open("w", encoding="utf-8") as file:
                json.dump(_FILE.dump_python(self._kept), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            raise CalibrationStoreError(
                f"the calibration is used, and was not kept in {self._path}: {error}. Free space "
                "there, and calibrate again"
            ) from error


def _of(kept: KeptCalibration) -> Calibration:
    return Calibration(
        slope_um_per_deg=kept.slope_um_per_deg,
        offset_um=kept.offset_um,
        uid=kept.uid,
        valid_until_s=kept.valid_until,
    )
