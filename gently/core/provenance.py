"""What runs and volumes say of where they come from: item, session, instrument."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from event_model import DocumentNames, schema_validators
from pydantic import ValidationError
from pydantic_core import to_json

from devices import Labels, PlannedVolume
from gently import __version__
from gently.core.errors import FieldError, field_errors
from gently.core.items import Item
from storage import VolumeLabels, VolumeSpec

__all__ = ["Provenance"]

_GIVEN_BY_BLUESKY: Final = frozenset({"uid", "time", "scan_id"})


@dataclass(frozen=True)
class Provenance:
    """Where all that a device layer makes comes from.

    Parameters
    ----------
    session_id
        Of what says nothing of its session.
    instrument
        The microscope's name.
    """

    session_id: str
    instrument: str

    def labels(self, item: Item | None) -> VolumeLabels:
        """Return what an item's `meta` says of its volumes; raises `ValidationError`."""
        said = item.meta if item else {}
        known = {key: said[key] for key in VolumeLabels.model_fields if said.get(key) is not None}
        labels = VolumeLabels.model_validate_json(to_json(known), strict=True)
        return labels.model_copy(update={"session_id": labels.session_id or self.session_id})

    def run(self, item: Item) -> dict[str, Any]:
        """Return what the start document of each run of an item says besides bluesky's own."""
        return {
            **item.meta,
            "plan_name": item.name,
            "plan_args": {"args": list(item.args), "kwargs": dict(item.kwargs)},
            "item_uid": item.item_uid,
            "session_id": self.labels(item).session_id,
            "instrument": self.instrument,
            "gently_version": __version__,
        }

    def meta_errors(self, item: Item) -> Iterator[FieldError]:
        """Yield what would break each run of an item, and only once it has begun."""
        for key in sorted(item.meta.keys() & _GIVEN_BY_BLUESKY):
            yield FieldError(f"meta.{key}", "is given to each run by Bluesky; use another key")
        try:
            self.labels(item)
        except ValidationError as problem:
            for wrong in field_errors(problem):
                yield FieldError(f"meta.{wrong.field}", wrong.message)
            return
        if not item.meta:
            return  # the rest is ours, and the schema costs more than the whole queue
        start = {**self.run(item), "uid": "", "time": 0.0, "scan_id": 1}
        for error in schema_validators[DocumentNames.start].iter_errors(start):
            place = ".".join(["meta", *map(str, error.absolute_path)])
            yield FieldError(place, error.message[:200])

    def volume(self, planned: PlannedVolume, item: Item | None) -> VolumeSpec:
        """Return what is asked of the store for a volume that an item takes, if one does."""
        labels = _joined(self.labels(item), planned.labels)
        return VolumeSpec(
            uid=planned.uid,
            shape=planned.shape,
            dtype=planned.dtype,
            pixel_size_um=planned.pixel_size_um,
            step_um=planned.step_um,
            exposure_ms=planned.exposure_ms,
            format=planned.file_format,
            compression=planned.compression,
            **labels.model_dump(),
            item_uid=item.item_uid if item else "",
            run_uid=planned.run_uid,
            plan_name=item.name if item else "",
            instrument=self.instrument,
            camera=planned.camera,
            positions_um=dict(planned.positions_um),
            first_z_um=planned.first_z_um,
            z_tolerance_um=planned.z_tolerance_um,
            significant_bits=planned.significant_bits,
            frames_differ=planned.frames_differ,
            metadata={"plan_kwargs": dict(item.kwargs) if item else {}, **planned.metadata},
        )


def _joined(said: VolumeLabels, planned: Labels) -> VolumeLabels:
    """Return what an item and its plan say of a volume; of its embryo and series the plan knows."""
    found = {name: value for name, value in asdict(planned).items() if value}
    if planned.acquisition_uid:
        found["time_point"] = planned.time_point
    else:
        found["channel"] = said.channel or planned.channel
    return said.model_copy(update=found)
