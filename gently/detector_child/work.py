"""One detection, from the volume in the store to the label image in the store.

Runs in the detectors' process only.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gently.analysis import Measure, extent, fit_focus, sharpness
from gently.detection import (
    GATE_UM,
    Detection,
    DetectionError,
    Detectors,
    Labels,
    Matches,
    Picture,
    match,
)
from gently.detector_child.values import (
    Answer,
    Finding,
    Look,
    LookOrder,
    NamedObject,
    Order,
    Sharpest,
    SweepOrder,
    View,
)
from storage import LABELS, FrameInfo, Volume, VolumeRecord, VolumeSpec, VolumeStore, labels_tag

__all__ = ["Worker"]

_NAME: Final = "embryo "
_BLOCK_ROWS: Final = 64
_METRIC: Final = "vollath_f4"
_DETECTOR: Final = "classical"
_ALONE_UM: Final = 30.0
"""So far to each side of its middle is an embryo, and no other."""


class Worker:
    """Carries orders out, one after the other.

    Parameters
    ----------
    store
        Where volumes are read and label images are written.
    detectors
        Made when they are first asked for.
    """

    def __init__(self, store: VolumeStore, detectors: Detectors) -> None:
        self._store = store
        self._detectors = detectors

    def carry_out(self, order: Order) -> Answer:
        """Detect, write the label image, and say which detector did it.

        Raises
        ------
        DetectionError, pydantic.ValidationError
            If the order, or the picture, is not as the detector needs it.
        StorageError, OSError
            If the volume cannot be read, or the label image cannot be written.
        """
        began = time.perf_counter()
        with self._store.open(order.source_uid) as volume:
            source = volume.record
            picture = _picture(source, _pixels(volume, order.view))
        detection = self._detectors.detect(order.detector, picture, order.settings)
        named = _named(detection, picture, order.known if _on_stage(source) else {})
        seconds = time.perf_counter() - began
        finding, slices = _finding(order, source, detection, named, seconds)
        self._keep(order, source, finding, slices)
        return Answer(about=detection.about)

    def sharpest(self, order: SweepOrder) -> Answer:
        """Measure how sharp each slice of a volume is, or how full, and fit a bell to it.

        Raises
        ------
        DetectionError
            If it is no sweep.
        StorageError, OSError
            If the volume cannot be read.
        """
        with self._store.open(order.source_uid) as volume:
            spec, places_um = volume.record.spec, _places_um(volume.record)
            if not places_um:
                raise DetectionError(f"volume {spec.uid} is no sweep: its slices lie at one place")
            middle = _middle(spec) if order.measure == "extent" else ...
            halves = [_halves(slice_[middle], order.measure) for slice_ in volume.slices()]
        found = fit_focus(places_um, halves)
        scores = tuple(sum(each) / 2 for each in halves)
        sharpest = Sharpest(places_um=tuple(places_um), scores=scores, **asdict(found))
        return Answer(sharpest=sharpest)

    def look(self, order: LookOrder) -> Answer:
        """Say in numbers what a volume shows; writes nothing.

        Raises
        ------
        DetectionError
            If the detector fails on it.
        StorageError, OSError
            If the volume cannot be read.
        """
        halves: list[tuple[float, float]] = []
        highest: NDArray[Any] | None = None
        with self._store.open(order.source_uid) as volume:
            record = volume.record
            for slice_ in volume.slices():
                halves.append(_halves(slice_, _METRIC))
                highest = slice_.copy() if highest is None else np.maximum(highest, slice_)
        assert highest is not None  # noqa: S101 - a volume has a slice
        places_um = _places_um(record)
        best_um = fit_focus(places_um, halves).best_um if places_um else None
        # Fluorescence is bright, and the middle of the picture is where the stage was sent.
        picture = Picture(pixels=highest, pixel_size_um=record.spec.pixel_size_um)
        found = self._detectors.detect(_DETECTOR, picture, {"contrast": "bright"}).objects
        away_um = [math.hypot(each.x_um, each.y_um) for each in found]
        look = Look(
            sharpness=max(sum(each) / 2 for each in halves),
            off_z_um=None if best_um is None else abs(best_um - (places_um[0] + places_um[-1]) / 2),
            off_xy_um=min(away_um, default=None),
            num_objects=len(found),
        )
        return Answer(look=look)

    def _keep(
        self, order: Order, source: VolumeRecord, finding: Finding, slices: list[Labels]
    ) -> None:
        spec = VolumeSpec(
            uid=order.uid,
            shape=(len(slices), *source.shape[1:]),
            dtype="uint16",
            pixel_size_um=source.spec.pixel_size_um,
            step_um=0,
            exposure_ms=0,
            session_id=order.session_id,
            embryo=source.spec.embryo,
            tags=(LABELS, labels_tag(source.uid)),
            channel=LABELS,
            item_uid=order.item_uid,
            plan_name="detect",
            instrument=source.spec.instrument,
            positions_um=source.spec.positions_um,
            metadata={LABELS: finding.model_dump(mode="json")},
        )
        with self._store.create(spec) as writer:
            for index, labels in enumerate(slices):
                writer.write(
                    labels.astype(np.uint16, copy=False),
                    FrameInfo(index=index, delta_t_s=0.0, z_um=0.0),
                )
            writer.finish()


def _places_um(record: VolumeRecord) -> list[float]:
    """Return where the slices of a sweep were asked for; none if it is no sweep."""
    spec = record.spec
    if spec.first_z_um is None or not spec.step_um:
        return []
    return [spec.first_z_um + n * spec.step_um for n in range(spec.shape[0])]


def _middle(spec: VolumeSpec) -> tuple[slice, slice]:
    """Return the rows and columns of the middle of a picture, where neighbours do not reach."""
    half = round(_ALONE_UM / spec.pixel_size_um)
    rows, columns = (slice(max(0, n // 2 - half), n // 2 + half) for n in spec.shape[1:])
    return rows, columns


def _halves(picture: NDArray[Any], measure: Measure) -> tuple[float, float]:
    """Return what is measured of the even and of the odd blocks of rows."""
    rows = [picture[first : first + _BLOCK_ROWS] for first in range(0, len(picture), _BLOCK_ROWS)]
    first, second = (rows[half::2] for half in (0, 1))
    return _measured(first, measure), _measured(second or first, measure)


def _measured(blocks: list[NDArray[Any]], measure: Measure) -> float:
    def of(block: NDArray[Any]) -> float:
        return extent(block) if measure == "extent" else sharpness(block, measure)

    return sum(of(block) * block.size for block in blocks) / sum(block.size for block in blocks)


def _pixels(volume: Volume, view: View) -> NDArray[Any]:
    """Return a plane or a projection; memory is a few slices, whatever the volume."""
    count = volume.record.shape[0]
    if view.plane is not None:
        if view.plane >= count:
            raise DetectionError(f"the volume has the planes 0 to {count - 1}, not {view.plane}")
        plane: NDArray[Any] = np.array(volume.array[view.plane])
        return plane
    slices = iter(volume.slices())
    if view.projection == "max":
        highest: NDArray[Any] = np.array(next(slices))
        for each in slices:
            np.maximum(highest, each, out=highest)
        return highest
    total = np.array(next(slices), np.float32)
    for each in slices:
        total += each
    return total / np.float32(count)


def _on_stage(source: VolumeRecord) -> bool:
    """Whether it is known where a picture was taken, and it lies along the stage's x and -y.

    A volume that says nothing of how it lies is taken to lie so; one of another side does not.
    """
    spec = source.spec
    if spec.start_um("x") is None or spec.start_um("y") is None:
        return False
    said: Any = spec.metadata.get("to_stage_um")
    if said is None:
        return spec.metadata.get("view", "a") == "a"
    in_plane = np.array(said)[:, 1:3] / spec.pixel_size_um
    return bool(np.allclose(in_plane, [[0, 1], [-1, 0], [0, 0]], atol=1e-3))


def _picture(source: VolumeRecord, pixels: NDArray[Any]) -> Picture:
    spec, known = source.spec, _on_stage(source)
    return Picture(
        pixels=pixels,
        pixel_size_um=spec.pixel_size_um,
        centre_um=(spec.start_um("x") or 0.0, spec.start_um("y") or 0.0) if known else (0.0, 0.0),
    )


def _named(
    detection: Detection, picture: Picture, known: Mapping[str, tuple[float, float]]
) -> Matches:
    """Say who is who, and give those that are new the next names."""
    in_sight = {name: place for name, place in known.items() if _is_in_sight(picture, place)}
    found = {each.label: (each.x_um, each.y_um) for each in detection.objects}
    matches = match(in_sight, found)
    numbers = [int(name.removeprefix(_NAME)) for name in known if name.startswith(_NAME)]
    new = {
        label: f"{_NAME}{number}"
        for number, label in enumerate(matches.new, max(numbers, default=0) + 1)
    }
    return Matches(names={**matches.names, **new}, new=matches.new, absent=matches.absent)


def _is_in_sight(picture: Picture, place_um: tuple[float, float]) -> bool:
    """Whether an object that may have moved a little can be in the picture."""
    margin = GATE_UM / picture.pixel_size_um
    return all(
        -margin <= place < size + margin
        for place, size in zip(picture.place_px(*place_um), picture.shape, strict=True)
    )


def _finding(
    order: Order, source: VolumeRecord, detection: Detection, named: Matches, seconds: float
) -> tuple[Finding, list[Labels]]:
    """Return what goes into the file: what was found, and the slices.

    Where there is one outline only, it is the label image itself.
    """
    drawn = detection.masks if len(detection.masks) > 1 else {}
    finding = Finding(
        source_uid=source.uid,
        view=order.view,
        settings=detection.settings,
        asked=order.detector,
        detector=detection.detector,
        fallback_reason=detection.fallback_reason,
        about=detection.about,
        slices=(LABELS, *drawn),
        on_stage=_on_stage(source),
        objects=tuple(
            NamedObject(**each.model_dump(), name=named.names[each.label])
            for each in detection.objects
        ),
        absent=named.absent,
        seconds=round(seconds, 3),
    )
    return finding, [detection.labels, *drawn.values()]
