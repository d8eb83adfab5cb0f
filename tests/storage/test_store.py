"""A volume goes in as frames and comes out by its UID."""

from pathlib import Path

import numpy as np
import ome_types
import tifffile

from storage import FrameInfo, VolumeSpec, VolumeStore, new_uid


def test_a_written_volume_reads_back_by_its_uid(tmp_path: Path) -> None:
    store = VolumeStore(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 4096, (7, 64, 96), np.uint16)
    spec = VolumeSpec(
        uid=new_uid(),
        shape=(7, 64, 96),
        dtype="uint16",
        pixel_size_um=0.1625,
        step_um=0.5,
        exposure_ms=5,
        positions_um={"xy_stage.x": 3.5, "xy_stage.y": -1},
        session_id="s",
    )
    with store.create(spec) as writer:
        for index, frame in enumerate(pixels):
            writer.write(
                frame, FrameInfo(index=index, delta_t_s=np.float64(0.1) * index, z_um=0.5 * index)
            )
        record = writer.finish()
    assert store.record(spec.uid) == record
    assert store.list() == [record]
    assert store.verify(spec.uid) == record
    with store.open(spec.uid) as volume:
        assert np.array_equal(volume.array, pixels)
    with tifffile.TiffFile(record.path) as tiff:
        assert tiff.is_ome
        assert np.array_equal(tiff.asarray(), pixels)
        ome = ome_types.from_xml(tiff.ome_metadata)
    assert len(ome.images[0].pixels.planes) == 7
