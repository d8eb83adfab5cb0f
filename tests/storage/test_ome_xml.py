"""The file's description says all of it, in the words that other programs know."""

import json
from datetime import UTC, datetime

import ome_types
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from ome_types import model

from storage import FrameInfo, VolumeRecord, VolumeSpec, VolumeStore, ome_xml
from storage.values import volume_checksum
from tests.storage.helpers import make_spec, write_volume

CREATED = datetime(2026, 3, 4, 5, 6, 7, 89, UTC)
UM = model.UnitsLength.MICROMETER
finite = st.floats(allow_nan=False, allow_infinity=False)
printable = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), max_size=200).filter(
    str.isprintable
)


def written(spec: VolumeSpec, frames: list[FrameInfo]) -> ome_xml.Written:
    digests = [bytes([frame.index % 256]) * 8 for frame in frames]
    record = VolumeRecord(
        spec=spec,
        path=f"{spec.uid}.tif",  # type: ignore[arg-type]  # pydantic makes it a path
        created=CREATED,
        checksum=volume_checksum(digests),
        waits=3,
        back_pressure_s=0.25,
    )
    return ome_xml.Written(record=record, frames=frames, digests=digests)


def in_file(record: VolumeRecord) -> ome_types.OME:
    with tifffile.TiffFile(record.path) as tiff:
        return ome_types.from_xml(tiff.pages.first.description, validate=True)


def test_sizes_places_and_times_carry_their_units(store: VolumeStore) -> None:
    record = write_volume(store)
    image = in_file(record).images[0]
    pixels = image.pixels
    assert (pixels.physical_size_x, pixels.physical_size_x_unit) == (0.1625, UM)
    assert (pixels.physical_size_y, pixels.physical_size_y_unit) == (0.1625, UM)
    assert (pixels.physical_size_z, pixels.physical_size_z_unit) == (0.5, UM)
    assert (pixels.type.value, pixels.significant_bits) == ("uint16", 16)
    assert [(t.ifd, t.plane_count) for t in pixels.tiff_data_blocks] == [(0, 5)]
    assert image.acquisition_date == record.created
    plane = pixels.planes[3]
    assert (plane.delta_t, plane.delta_t_unit.value) == (0.1 * 3, "s")
    assert (plane.exposure_time, plane.exposure_time_unit.value) == (5, "ms")
    assert (plane.position_x, plane.position_y, plane.position_z) == (12.5, -3.25, 11.5)
    assert (plane.position_x_unit, plane.position_y_unit, plane.position_z_unit) == (UM, UM, UM)


def test_camera_and_instrument_are_named_and_joined_to_the_channel(store: VolumeStore) -> None:
    ome = in_file(write_volume(store))
    (instrument,) = ome.instruments
    assert instrument.microscope is not None
    assert instrument.microscope.model == "twin"
    assert instrument.detectors[0].model == "HamCam1"
    settings = ome.images[0].pixels.channels[0].detector_settings
    assert settings is not None
    assert settings.id == instrument.detectors[0].id


def test_the_annotation_keeps_plain_text_as_text_and_the_rest_as_json(store: VolumeStore) -> None:
    record = write_volume(store)
    annotations = in_file(record).structured_annotations
    assert annotations is not None
    values = {
        annotation.namespace: {m.k: m.value for m in annotation.value.ms}
        for annotation in annotations.map_annotations
    }
    volume = values["gently/volume"]
    assert volume["uid"] == record.uid
    assert volume["session_id"] == "morning"
    assert volume["plan_name"] == "acquire_volume"
    assert volume["checksum"] == record.checksum
    assert json.loads(volume["metadata"] or "") == {"num_slices": 5, "note": "<&> é"}
    assert json.loads(volume["positions_um"] or "") == record.spec.positions_um
    assert len((values["gently/frames"]["xxh3_64"] or "").split()) == 5


def test_what_is_not_known_is_not_claimed(store: VolumeStore) -> None:
    record = write_volume(store, make_spec(positions_um={}, step_um=0, camera="", instrument=""))
    ome = in_file(record)
    pixels = ome.images[0].pixels
    assert pixels.physical_size_z is None
    assert (pixels.planes[0].position_x, pixels.planes[0].position_y) == (None, None)
    assert pixels.planes[0].position_z == 10
    assert ome.instruments[0].detectors[0].model is None


@settings(max_examples=25, deadline=None)
@given(
    session_id=printable,
    plan_name=printable,
    positions_um=st.dictionaries(printable, finite, max_size=4),
    metadata=st.dictionaries(st.text(max_size=9), st.none() | finite | st.text(), max_size=4),
    times=st.lists(st.tuples(finite, finite), min_size=1, max_size=4),
)
def test_whatever_a_spec_says_comes_back_and_fits_the_room_that_was_kept(
    session_id: str,
    plan_name: str,
    positions_um: dict[str, float],
    metadata: dict[str, object],
    times: list[tuple[float, float]],
) -> None:
    spec = make_spec(
        shape=(len(times), 4, 4),
        session_id=session_id,
        plan_name=plan_name,
        positions_um=positions_um,
        metadata=metadata,
    )
    frames = [FrameInfo(index=n, delta_t_s=t, z_um=z) for n, (t, z) in enumerate(times)]
    draft = ome_xml.draft(spec, CREATED)
    what = written(spec, frames)
    final = ome_xml.final(what, len(draft))
    assert len(final) == len(draft)
    values, digests = ome_xml.read(final)
    assert digests == what.digests
    assert VolumeSpec.model_validate({k: values[k] for k in VolumeSpec.model_fields}) == spec
    assert values["checksum"] == what.record.checksum
    ome = ome_types.from_xml(final, validate=True)
    assert [(p.delta_t, p.position_z) for p in ome.images[0].pixels.planes] == times


def test_the_draft_is_valid_too() -> None:
    assert ome_types.from_xml(ome_xml.draft(make_spec(), CREATED), validate=True)


def test_thousands_of_planes_fit_and_are_all_there() -> None:
    spec = make_spec(shape=(5000, 4, 4))
    worst = -1.2345678901234567e-300
    frames = [FrameInfo(index=n, delta_t_s=worst, z_um=worst) for n in range(5000)]
    final = ome_xml.final(written(spec, frames), len(ome_xml.draft(spec, CREATED)))
    planes = ome_types.from_xml(final).images[0].pixels.planes
    assert [plane.the_z for plane in planes] == list(range(5000))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no annotations"),
        (b"<OME/>", "no annotations"),
        (b"<StructuredAnnotations>", "no annotations"),
        (b"</StructuredAnnotations><StructuredAnnotations>", "no annotations"),
        (b"<StructuredAnnotations><a></StructuredAnnotations>", "no XML"),
        (b"<StructuredAnnotations></StructuredAnnotations>", "no gently/volume"),
    ],
)
def test_a_description_of_another_hand_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ome_xml.read(text)
