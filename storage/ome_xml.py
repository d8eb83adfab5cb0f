"""The OME-XML of a volume: what goes into the file's description, and what comes out of it.

The head is built by ome-types, which knows the schema. The planes are written here, since an
object per plane costs more than the rest of a volume's end together; a test holds them to the
schema's own reading.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID
from xml.etree import ElementTree as ET

import numpy as np
from ome_types import model

from storage.values import MOST_REASON_CHARACTERS, FrameInfo, VolumeRecord, VolumeSpec

VOLUME: Final = "gently/volume"
FRAMES: Final = "gently/frames"
_PLAIN_TEXT: Final = frozenset(
    {
        *("uid", "dtype", "session_id", "item_uid", "run_uid"),
        *("plan_name", "instrument", "camera", "created", "checksum", "reason"),
        *("format", "compression", "embryo", "acquisition_uid", "channel"),
    }
)
_END: Final = b"</OME>"
_LONGEST_FLOAT: Final = -1.2345678901234567e-300


@dataclass(frozen=True, kw_only=True)
class Written:
    """What is only known once all frames are on the disk.

    Attributes
    ----------
    frames
        Those that came, in the order of the slices.
    digests
        XXH3 of each slice (8 bytes, big-endian), in their order, also of those that are missing.
    """

    record: VolumeRecord
    frames: Sequence[FrameInfo]
    digests: Sequence[bytes]


def draft(spec: VolumeSpec, created: datetime) -> bytes:
    """Return the description of an unfinished volume, as long as the longest final one."""
    head = _head(spec, created, {}, ())
    return _padded(head, _longest(spec, head))


def final(written: Written, size: int) -> bytes:
    """Return the description of a finished volume, padded to `size` bytes."""
    record = written.record
    results = record.model_dump(mode="json", exclude={"spec", "path", "created"})
    digests = [digest.hex() for digest in written.digests]
    head, tail = _head(record.spec, record.created, results, digests).split("</Pixels>")
    plane = _plane_template(record.spec)
    planes = "".join(
        [
            plane % (frame.index, float(frame.delta_t_s), float(frame.z_um))
            for frame in written.frames
        ]
    )
    return _padded(f"{head}{planes}</Pixels>{tail}", size)


def read(description: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Return the values of a volume and its frames' digests; raises ValueError.

    Only the annotations are parsed: their cost is the same for any number of planes.
    """
    start = description.rfind(b"<StructuredAnnotations")
    end_tag = b"</StructuredAnnotations>"
    end = description.find(end_tag, start)
    if start < 0 or end < 0:
        raise ValueError("its description has no annotations, so no volume's store wrote it")
    try:
        # It begins with an element, so it can declare no entity to expand.
        annotations = ET.fromstring(description[start : end + len(end_tag)])  # noqa: S314
    except ET.ParseError as error:
        raise ValueError(f"its description is no XML ({error})") from error
    maps = {
        annotation.get("Namespace"): {m.get("K", ""): m.text or "" for m in annotation.iter("M")}
        for annotation in annotations
    }
    if VOLUME not in maps:
        raise ValueError(f"its description has no {VOLUME} annotation")
    values = {
        key: text if key in _PLAIN_TEXT else json.loads(text) for key, text in maps[VOLUME].items()
    }
    digests = maps.get(FRAMES, {}).get("xxh3_64", "").split()
    return values, [bytes.fromhex(digest) for digest in digests]


def _longest(spec: VolumeSpec, head: str) -> int:
    """Return the number of bytes that no final description with this head exceeds.

    What is known only at the end is counted and not rendered, which would take as long again.
    """
    results = {
        "checksum": "xxh3_64:" + 16 * "0",
        "back_pressure_s": repr(-1e-300 / 3),
        **dict.fromkeys(("waits", "saturated", "repeated"), str(1 << 62)),
        "missing": "[]",  # each takes less room than the plane that it has not
        "reason": "&amp;" * MOST_REASON_CHARACTERS,
        "xxh3_64": len("0123456789abcdef ") * spec.shape[0] * " ",
    }
    entries = "".join(f'<M K="{key}">{text}</M>' for key, text in results.items())
    plane = _plane_template(spec) % (spec.shape[0], _LONGEST_FLOAT, _LONGEST_FLOAT)
    return len(head.encode()) + len(entries) + spec.shape[0] * len(plane.encode())


def _head(
    spec: VolumeSpec, created: datetime, results: Mapping[str, object], digests: Sequence[str]
) -> str:
    """Return the whole OME-XML without its planes."""
    values = {**spec.model_dump(mode="json"), "created": created.isoformat(), **results}
    volume = {k: v if k in _PLAIN_TEXT else json.dumps(v) for k, v in values.items()}
    ome = model.OME(
        creator="gently",
        uuid=UUID(spec.uid).urn,
        instruments=[_instrument(spec)],
        images=[_image(spec, created)],
        structured_annotations=model.StructuredAnnotations(
            map_annotations=[
                _annotation("Annotation:0", VOLUME, volume),
                _annotation("Annotation:1", FRAMES, {"xxh3_64": " ".join(digests)}),
            ]
        ),
    )
    return ome.to_xml(indent=0)


def _instrument(spec: VolumeSpec) -> model.Instrument:
    return model.Instrument(
        id="Instrument:0",
        microscope=model.Microscope(model=spec.instrument or None),
        detectors=[model.Detector(id="Detector:0", model=spec.camera or None)],
    )


def _image(spec: VolumeSpec, created: datetime) -> model.Image:
    slices, rows, columns = spec.shape
    pixels = model.Pixels(
        id="Pixels:0",
        dimension_order=model.Pixels_DimensionOrder.XYZCT,
        type=model.PixelType("float" if spec.dtype == "float32" else spec.dtype),
        big_endian=False,
        significant_bits=spec.significant_bits or 8 * np.dtype(spec.dtype).itemsize,
        size_x=columns,
        size_y=rows,
        size_z=slices,
        size_c=1,
        size_t=1,
        physical_size_x=spec.pixel_size_um,
        physical_size_x_unit=model.UnitsLength.MICROMETER,
        physical_size_y=spec.pixel_size_um,
        physical_size_y_unit=model.UnitsLength.MICROMETER,
        **_step(spec),
        channels=[
            model.Channel(
                id="Channel:0",
                name=spec.channel or None,
                samples_per_pixel=1,
                detector_settings=model.DetectorSettings(id="Detector:0"),
            )
        ],
        # Bio-Formats finds the pages by it.
        tiff_data_blocks=[model.TiffData(ifd=0, plane_count=slices)],
    )
    return model.Image(
        id="Image:0",
        name=spec.uid,
        acquisition_date=created,
        instrument_ref=model.InstrumentRef(id="Instrument:0"),
        pixels=pixels,
        annotation_refs=[
            model.AnnotationRef(id="Annotation:0"),
            model.AnnotationRef(id="Annotation:1"),
        ],
    )


def _step(spec: VolumeSpec) -> dict[str, Any]:
    """Return the distance of the slices, or nothing where nothing moved between them."""
    if spec.step_um == 0:
        return {}
    return {
        "physical_size_z": spec.step_um,
        "physical_size_z_unit": model.UnitsLength.MICROMETER,
    }


def _annotation(identifier: str, namespace: str, values: Mapping[str, str]) -> model.MapAnnotation:
    return model.MapAnnotation(
        id=identifier,
        namespace=namespace,
        value=model.Map(ms=[model.Map.M(k=key, value=text) for key, text in values.items()]),
    )


def _plane_template(spec: VolumeSpec) -> str:
    """Return a Plane element that takes a slice's index, time (s) and position (µm)."""
    where = {axis: spec.start_um(axis.lower()) for axis in ("X", "Y")}
    xy = "".join(
        f' Position{axis}="{um!r}" Position{axis}Unit="µm"'
        for axis, um in where.items()
        if um is not None
    )
    return (
        '<Plane TheZ="%d" TheT="0" TheC="0" DeltaT="%r" DeltaTUnit="s"'
        f' ExposureTime="{spec.exposure_ms!r}" ExposureTimeUnit="ms"{xy}'
        ' PositionZ="%r" PositionZUnit="µm"/>'
    )


def _padded(xml: str, size: int) -> bytes:
    """Fill up with blanks before the end tag, by which TIFF readers know OME."""
    data = xml.encode().rstrip()
    if len(data) > size or not data.endswith(_END):
        raise AssertionError(f"{len(data)} bytes of OME-XML do not fit into {size}")
    return data[: -len(_END)] + b" " * (size - len(data)) + _END
