"""Completion means proof: what is not what was asked for is never published as complete."""

import os
from typing import Any

import numpy as np
import ome_types
import psutil
import pytest
import tifffile
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from storage import (
    FrameInfo,
    IncompleteVolumeError,
    UnprovenVolumeError,
    VolumeStore,
    WriterClosedError,
)
from storage.proof import full_scale, look
from tests.storage.helpers import Pixels, fill, info, make_pixels, make_spec, names, write_volume

SWEEP = {"first_z_um": 10.0, "step_um": 0.5, "z_tolerance_um": 0.2}


def write(store: VolumeStore, frames: list[FrameInfo], **changes: Any) -> Any:
    spec = make_spec(shape=(len(frames), 8, 8), **changes)
    pixels = make_pixels(spec)
    with store.create(spec) as writer:
        for frame in frames:
            writer.write(pixels[frame.index], frame)
        return writer.finish()


def test_a_sweep_within_the_drives_tolerance_is_complete(store: VolumeStore) -> None:
    frames = [FrameInfo(index=n, delta_t_s=0.1 * n, z_um=10.19 + 0.5 * n) for n in range(5)]
    record = write(store, frames, **SWEEP)
    assert (record.status, record.reason, record.missing) == ("complete", "", ())


def test_a_slice_that_lies_elsewhere_fails_the_volume_and_is_named(store: VolumeStore) -> None:
    frames = [info(n) for n in range(5)]
    frames[3] = FrameInfo(index=3, delta_t_s=0.3, z_um=11.71)
    with pytest.raises(
        UnprovenVolumeError, match=r"slice 3 lies at 11.71 µm, asked for 11.5 µm \(tolerance 0.2"
    ):
        write(store, frames, **SWEEP)
    assert names(store) == []
    assert write(store, [info(n) for n in range(5)], **SWEEP).status == "complete"


def test_a_slice_taken_before_the_one_below_it_fails_the_volume(store: VolumeStore) -> None:
    frames = [info(n) for n in range(5)]
    frames[2] = FrameInfo(index=2, delta_t_s=0.05, z_um=11.0)
    with pytest.raises(
        UnprovenVolumeError, match=r"slice 2 was taken at 0.05 s and slice 1 at 0.1 s: .* order"
    ):
        write(store, frames, **SWEEP)
    assert names(store) == []


def write_alike(store: VolumeStore, alike: Pixels, **changes: Any) -> Any:
    """Write a volume of five slices of which 2 and 3 are both `alike`."""
    spec = make_spec(**changes)
    pixels = make_pixels(spec)
    pixels[2:4] = alike
    with store.create(spec) as writer:
        fill(writer, pixels)
        return writer.finish()


def test_a_repeated_frame_is_counted_and_fails_a_volume_whose_frames_must_differ(
    store: VolumeStore,
) -> None:
    alike = make_pixels(make_spec())[0]
    assert write_alike(store, alike).repeated == 1
    before = names(store)
    with pytest.raises(UnprovenVolumeError, match=r"slices 3 have exactly the pixels of the slice"):
        write_alike(store, alike, frames_differ=True)
    assert names(store) == before


def test_frames_that_are_alike_because_all_is_saturated_are_no_repeats(store: VolumeStore) -> None:
    record = write_alike(store, np.full((32, 64), 65535, np.uint16), frames_differ=True)
    assert record.repeated == 0
    assert record.saturated == 2 * 32 * 64


@pytest.mark.parametrize(
    ("dtype", "bits", "level", "is_saturated"),
    [
        ("uint16", None, 65535, True),
        ("uint16", None, 65534, False),
        ("uint16", 12, 4095, True),
        ("uint16", 12, 4094, False),
        ("uint8", None, 255, True),
        ("float32", None, 1e30, False),
    ],
)
def test_saturated_pixels_are_counted_at_the_top_of_the_cameras_range(
    dtype: str, bits: int | None, level: float, is_saturated: bool, store: VolumeStore
) -> None:
    spec = make_spec(dtype=dtype, significant_bits=bits)
    pixels = make_pixels(spec)
    pixels[pixels == 255] = 0
    pixels[1, :3, 7] = pixels[4, 31, 63] = level
    with store.create(spec) as writer:
        fill(writer, pixels)
        record = writer.finish()
    assert record.saturated == (4 if is_saturated else 0)
    assert store.record(spec.uid) == record
    ome = ome_types.from_tiff(record.path)
    assert ome.images[0].pixels.significant_bits == (bits or 8 * np.dtype(dtype).itemsize)


@given(data=st.data(), size=st.sampled_from([1, 1 << 17, (1 << 17) + 1, 300_000]))
def test_a_frame_is_hashed_whole_and_its_saturated_pixels_counted_wherever_they_are(
    data: st.DataObject, size: int
) -> None:
    places = data.draw(st.sets(st.integers(0, size - 1), max_size=20))
    pixels = np.zeros(size, np.uint16)
    pixels[list(places)] = 65535
    digest, saturated = look(pixels, full_scale(make_spec()))
    assert saturated == len(places)
    assert digest == xxhash.xxh3_64_digest(pixels.tobytes())


class TestAnIncompleteVolume:
    """Published only if asked for, with its gaps and its reason."""

    CAME = (0, 1, 4, 5, 6)
    REASON = "the camera's cable fell out & nobody saw it\n(µ)"

    def keep(self, store: VolumeStore) -> Any:
        spec = make_spec(shape=(9, 32, 64), **SWEEP)
        with store.create(spec) as writer:
            fill(writer, make_pixels(spec), self.CAME)
            return writer.keep(self.REASON)

    def test_says_so_with_the_reason_and_the_missing_slices(self, store: VolumeStore) -> None:
        record = self.keep(store)
        assert record.status == "incomplete"
        assert record.missing == (2, 3, 7, 8)
        assert record.reason == self.REASON.replace("\n", " ")
        metadata = record.metadata()
        assert {key: metadata[key] for key in ("status", "frames", "dropped", "missing")} == {
            "status": "incomplete",
            "frames": 5,
            "dropped": 4,
            "missing": "2–3, 7–8",
        }

    def test_is_found_again_from_its_file_alone_and_verified(self, store: VolumeStore) -> None:
        record = self.keep(store)
        again = VolumeStore(store.root)
        assert again.record(record.uid) == record
        assert again.list() == [], "what is not complete is not listed among what is"
        assert again.query(status="incomplete") == [record]
        assert (again.stats().volumes, again.stats().incomplete) == (0, 1)
        assert again.verify(record.uid) == record

    def test_has_the_frames_that_came_in_their_places_and_zeros_between(
        self, store: VolumeStore
    ) -> None:
        record = self.keep(store)
        expected = make_pixels(record.spec)
        expected[list(record.missing)] = 0
        assert np.array_equal(tifffile.imread(record.path), expected)
        with store.open(record.uid) as volume:
            assert np.array_equal(volume.array, expected)

    def test_has_a_schema_valid_description_with_no_planes_in_the_gaps(
        self, store: VolumeStore
    ) -> None:
        with tifffile.TiffFile(self.keep(store).path) as tiff:
            ome = ome_types.from_xml(tiff.pages.first.description, validate=True)
        assert [plane.the_z for plane in ome.images[0].pixels.planes] == list(self.CAME)

    def test_is_not_kept_if_no_frame_came_at_all(self, store: VolumeStore) -> None:
        with store.create(make_spec()) as writer, pytest.raises(IncompleteVolumeError):
            writer.keep("nothing came")
        assert names(store) == []

    def test_takes_nothing_more(self, store: VolumeStore) -> None:
        spec = make_spec()
        with store.create(spec) as writer:
            fill(writer, make_pixels(spec), [0])
            writer.keep("short")
            with pytest.raises(WriterClosedError):
                writer.write(make_pixels(spec)[1], info(1))
            with pytest.raises(WriterClosedError):
                writer.finish()

    @pytest.mark.parametrize("slices", [2, 1001])
    def test_its_description_fits_into_its_place_however_many_slices_are_missing(
        self, slices: int, store: VolumeStore
    ) -> None:
        spec = make_spec(shape=(slices, 1, 1))
        with store.create(spec) as writer:
            fill(writer, make_pixels(spec), range(0, slices, 2))
            record = writer.keep("&" * 1000)
        assert store.record(spec.uid) == record
        assert len(record.missing) == slices // 2

    def test_is_described_in_as_few_bytes_as_any_other(self, store: VolumeStore) -> None:
        spec = make_spec(shape=(1001, 1, 1), metadata={})
        with store.create(spec) as writer:
            fill(writer, make_pixels(spec), range(0, 1001, 2))
            metadata = writer.keep("x" * 1000).metadata()
        assert len(str(metadata)) < 2000

    def test_cannot_be_passed_off_as_complete(self, store: VolumeStore) -> None:
        record = self.keep(store)
        with pytest.raises(ValueError, match="no reason is given"):
            type(record).model_validate({**record.model_dump(), "reason": ""})
        with pytest.raises(ValueError, match="never asked for"):
            type(record).model_validate({**record.model_dump(), "missing": (9,)})


def test_a_complete_volume_says_that_it_is(store: VolumeStore) -> None:
    metadata = write_volume(store).metadata()
    assert metadata["status"] == "complete"
    assert metadata["frames"] == 5
    assert metadata["dropped"] == metadata["repeated"] == metadata["saturated"] == 0
    assert metadata["missing"] == metadata["reason"] == ""


@pytest.mark.parametrize(
    "kept", [("ome-tiff", "none"), ("ome-zarr", "none"), ("ome-zarr", "blosc-lz4")]
)
def test_a_walk_through_a_volume_gives_every_slice_in_the_memory_of_one(
    store: VolumeStore, kept: tuple[str, str]
) -> None:
    frame = np.random.default_rng(0).integers(0, 9999, (1024, 1024)).astype(np.uint16)
    spec = make_spec(shape=(40, 1024, 1024), format=kept[0], compression=kept[1])
    with store.create(spec) as writer:
        for index in range(40):
            frame[0, 0] = index
            writer.write(frame, info(index))
        writer.finish()
    process = psutil.Process()
    before = peak = process.memory_info().rss
    with store.open(spec.uid) as volume:
        for index, image in enumerate(volume.slices()):
            frame[0, 0] = index
            np.testing.assert_array_equal(image, frame)
            peak = max(peak, process.memory_info().rss)
    if os.name == "posix":  # elsewhere a map's pages count until somebody else needs them
        assert peak - before < spec.volume_bytes / 4
