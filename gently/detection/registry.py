"""The detectors of one process: made when first asked for, and kept."""

import pkgutil
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from gently.detection.kinds import KINDS, DetectorKind
from gently.detection.picture import Picture
from gently.detection.values import (
    Detection,
    DetectionError,
    Detector,
    DetectorUnavailableError,
)

__all__ = ["Detectors"]


class Detectors:
    """Makes detectors by name, and asks them. For one thread at a time.

    Parameters
    ----------
    setups
        What the one who runs the microscope says, by the detector's name.
    kinds
        What there is to choose from.
    """

    def __init__(
        self,
        setups: Mapping[str, BaseModel] | None = None,
        kinds: Mapping[str, DetectorKind] = KINDS,
    ) -> None:
        self._setups = dict(setups or {})
        self._kinds = kinds
        self._made: dict[str, Detector[Any]] = {}

    def detect(self, name: str, picture: Picture, settings: Mapping[str, Any]) -> Detection:
        """Return what there is in a picture. Takes as long as the detector does.

        A detector that cannot be had is replaced by its fallback, and the detection says so.

        Raises
        ------
        DetectionError
            If there is no such detector, or if it fails on this picture.
        DetectorUnavailableError
            If it cannot be had, and has no fallback.
        pydantic.ValidationError
            If the settings are wrong; it names them.
        """
        kind = self._kind(name)
        checked = kind.settings.model_validate(settings)
        try:
            detector = self.get(name)
        except DetectorUnavailableError as error:
            if not kind.fallback:
                raise
            found = self.get(kind.fallback).detect(picture, checked)
            return replace(found, fallback_reason=str(error))
        return detector.detect(picture, checked)

    def get(self, name: str) -> Detector[Any]:
        """Return a detector; the first time it is loaded, which may take seconds.

        Raises
        ------
        DetectionError
            If there is no such detector.
        DetectorUnavailableError
            If something that it needs is missing.
        """
        if name not in self._made:
            self._made[name] = self._make(self._kind(name))
        return self._made[name]

    def _kind(self, name: str) -> DetectorKind:
        try:
            return self._kinds[name]
        except KeyError:
            raise DetectionError(
                f"there is no detector {name!r}; choose from: {', '.join(self._kinds)}"
            ) from None

    def _make(self, kind: DetectorKind) -> Detector[Any]:
        if missing := kind.missing:
            raise DetectorUnavailableError(
                f"the detector {kind.name} needs {' and '.join(missing)}, not installed here: "
                f'pip install "gently[{kind.extra}]"'
            )
        make = pkgutil.resolve_name(kind.maker)
        detector: Detector[Any] = make(self._setups.get(kind.name) or kind.setup())
        return detector
