"""What zarr and OME-Zarr say about a volume: the ``zarr.json`` of version 3 with OME 0.5 metadata.

Plain JSON values only. No pixels, no files, no HTTP.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import JsonValue

from storage.pyramid import Level
from storage.values import VolumeRecord, VolumeSpec

METADATA: Final = "zarr.json"
OURS: Final = "gently"
LITTLE_ENDIAN: Final[JsonValue] = {"name": "bytes", "configuration": {"endian": "little"}}


@dataclass(frozen=True)
class OuterAxis:
    """An axis along which whole volumes lie.

    Attributes
    ----------
    step
        From one volume to the next, in `unit` if it has one.
    """

    name: str
    kind: Literal["time", "channel"]
    step: float = 1.0
    unit: str | None = None

    def document(self) -> JsonValue:
        """Return how OME says it."""
        unit: dict[str, JsonValue] = {"unit": self.unit} if self.unit else {}
        return {"name": self.name, "type": self.kind, **unit}


def described(record: VolumeRecord) -> dict[str, JsonValue]:
    """Return what is kept of a record; where it lies is not, since it may be moved."""
    return {"volume": record.model_dump(mode="json", exclude={"path"})}


def array_document(
    shape: Sequence[int],
    dtype: str,
    chunk_shape: Sequence[int],
    codecs: Sequence[JsonValue] = (LITTLE_ENDIAN,),
    *,
    axes: str = "zyx",
) -> dict[str, JsonValue]:
    """Return the metadata of one array; by default its chunks are the pixels as they are."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [*shape],
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [*chunk_shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [*codecs],
        "attributes": {},
        "dimension_names": [*axes],
    }


def group_document(
    name: str,
    spec: VolumeSpec,
    levels: Mapping[str, Level],
    arrays: Mapping[str, dict[str, JsonValue]],
    ours: dict[str, JsonValue],
    *,
    outer: Sequence[OuterAxis] = (),
) -> dict[str, JsonValue]:
    """Return the metadata of the group that a volume, or a series of volumes, is.

    Parameters
    ----------
    name
        The UID of what it is.
    spec
        Of the volume, or of any of the series.
    levels
        By the names of their arrays, finest first.
    arrays
        The arrays' own metadata by name: readers that cannot list a folder find them here.
    ours
        What is kept beside OME's attributes.
    outer
        The axes of a series before those of its volumes.
    """
    multiscale: dict[str, JsonValue] = {
        "name": name,
        **({"type": "mean"} if len(levels) > 1 else {}),
        "axes": [*(axis.document() for axis in outer), *_axes(spec)],
        "datasets": [_dataset(spec, path, level, outer) for path, level in levels.items()],
    }
    return {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"ome": {"version": "0.5", "multiscales": [multiscale]}, OURS: ours},
        "consolidated_metadata": {
            "kind": "inline",
            "must_understand": False,
            "metadata": dict(arrays),
        },
    }


def _axes(spec: VolumeSpec) -> list[JsonValue]:
    micrometer = {"type": "space", "unit": "micrometer"}
    # Where nothing moved, slices have no distance, so there is no unit to give it in.
    z = micrometer if spec.step_um else {"type": "space"}
    return [{"name": "z", **z}, {"name": "y", **micrometer}, {"name": "x", **micrometer}]


def _dataset(spec: VolumeSpec, path: str, level: Level, outer: Sequence[OuterAxis]) -> JsonValue:
    voxel = (spec.step_um or 1.0, spec.pixel_size_um, spec.pixel_size_um)
    scale: list[JsonValue] = [
        size * factor for size, factor in zip(voxel, level.factors, strict=True)
    ]
    # A coarse pixel's centre lies in the middle of the fine ones that it covers.
    translation: list[JsonValue] = [
        size * (factor - 1) / 2 for size, factor in zip(voxel, level.factors, strict=True)
    ]
    return {
        "path": path,
        "coordinateTransformations": [
            {"type": "scale", "scale": [*(axis.step for axis in outer), *scale]},
            {"type": "translation", "translation": [*(0.0 for _ in outer), *translation]},
        ],
    }
