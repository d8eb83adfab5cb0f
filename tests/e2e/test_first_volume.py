"""The main job: a volume is acquired, and everyone reads it by its UID."""

import json
from pathlib import Path

import numpy as np
import ome_types
import pytest
import tensorstore
import tifffile
import zarr

from devices.twin import FrameStamp
from gently.visualization import VizServer, VolumeFeed
from storage import VolumeStore
from tests import REPOSITORY
from tests.e2e.conftest import DeviceLayers, Script, run_copilot
from tests.zarr_threads import start_the_threads_of_http

PIXEL_SIZES = {"twin": 0.1625, "demo": 1.0}


@pytest.fixture(scope="module", autouse=True)
def readers_threads(tmp_path_factory: pytest.TempPathFactory) -> None:
    start_the_threads_of_http(tmp_path_factory.mktemp("warm"))


@pytest.mark.parametrize("config", PIXEL_SIZES)
def test_one_command_takes_a_volume_that_independent_readers_agree_on(
    device_layer: DeviceLayers, config: str
) -> None:
    layer = device_layer(config)
    done = run_copilot(layer.url, "acquire_volume num_slices=7 exposure_ms=4 step_um=0.5")
    assert done.returncode == 0, done.stderr
    volume = json.loads(done.stdout)
    assert len(done.stdout) < 2000
    assert {"uid", "path", "shape", "dtype", "session_id"} <= set(volume)
    assert Path(volume["path"]).stem == volume["uid"]

    with tifffile.TiffFile(volume["path"]) as file:
        series = file.series[0]
        assert list(series.shape) == volume["shape"] == [7, 512, 512]
        assert series.dtype == volume["dtype"]
        assert series.asarray().std() > 0
        image = ome_types.from_xml(file.pages.first.description).images[0]
    pixels = image.pixels
    assert [pixels.size_z, pixels.size_y, pixels.size_x] == volume["shape"]
    assert pixels.type.value == volume["dtype"]
    assert pixels.physical_size_x_quantity.to("um").magnitude == PIXEL_SIZES[config]
    assert pixels.physical_size_z_quantity.to("um").magnitude == 0.5
    assert len(pixels.planes) == 7
    assert {plane.exposure_time_quantity.to("ms").magnitude for plane in pixels.planes} == {4.0}
    steps = np.diff([plane.position_z for plane in pixels.planes])
    assert steps == pytest.approx([0.5] * 6, abs=0.02)


@pytest.mark.parametrize("compression", ["none", "blosc-zstd"])
def test_a_volume_kept_as_ome_zarr_is_read_by_its_uid_and_by_others(
    device_layer: DeviceLayers, compression: str
) -> None:
    layer = device_layer("twin")
    command = "acquire_volume num_slices=4 exposure_ms=2 step_um=0.5 file_format=ome-zarr"
    done = run_copilot(layer.url, f"{command} compression={compression}")
    assert done.returncode == 0, done.stderr
    volume = json.loads(done.stdout)
    path = Path(volume["path"])
    assert path.name == f"{volume['uid']}.ome.zarr"

    array = tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{path.as_posix()}/0/"}}
    ).result()
    pixels = array.read().result()
    assert list(pixels.shape) == volume["shape"]
    assert pixels.std() > 0
    np.testing.assert_array_equal(zarr.open_group(path, mode="r")["0"], pixels)
    with VolumeStore(path.parents[1]) as store, store.open(volume["uid"]) as opened:
        np.testing.assert_array_equal(opened.array, pixels)
        assert store.verify(volume["uid"]).spec.compression == compression
        with VizServer(store, VolumeFeed(), port=0) as viz:
            url = f"{viz.url}volumes/{volume['uid']}.zarr"
            np.testing.assert_array_equal(zarr.open_group(url, mode="r")["0"], pixels)
    is_smaller = sum(file.stat().st_size for file in path.rglob("*")) < pixels.nbytes
    assert is_smaller == (compression != "none")


@pytest.fixture
def stamping_layer(device_layer: DeviceLayers, tmp_path: Path) -> Script:
    """A twin whose camera writes into each frame where it was taken."""
    instruments = REPOSITORY / "devices" / "instruments"
    config = (instruments / "twin.cfg").read_text(encoding="utf-8")
    (tmp_path / "twin.cfg").write_text(
        config + "\n#py Property,HamCam1,FrameStamp,On\n", encoding="utf-8"
    )
    instrument = tmp_path / "stamping.yml"
    instrument.write_text((instruments / "twin.yml").read_text(encoding="utf-8"), encoding="utf-8")
    return device_layer(str(instrument))


def test_the_pixels_are_what_the_camera_delivered_in_the_order_of_the_sweep(
    stamping_layer: Script,
) -> None:
    with stamping_layer.client() as client:
        client.wait(client.execute(client.plans().move_stage(x_um=12.5, y_um=-8.0)).item_uid)
        item = client.execute(
            client.plans().acquire_volume(num_slices=40, exposure_ms=1, step_um=0.25)
        )
        ended = client.wait(item.item_uid)
        assert ended.result is not None
        assert ended.state == "completed", ended.result.msg
        volume = client.volumes()[0]
    stamps = [FrameStamp.read(frame) for frame in tifffile.imread(volume.path)]
    assert [stamp.index for stamp in stamps] == list(range(40))
    expected_um = [(index - 19.5) * 0.25 for index in range(40)]
    assert [stamp.piezo_um for stamp in stamps] == pytest.approx(expected_um, abs=0.001)
    assert {(stamp.x_um, stamp.y_um, stamp.exposure_ms) for stamp in stamps} == {(12.5, -8.0, 1.0)}


def test_the_answer_stays_small_whatever_the_size(device_layer: DeviceLayers) -> None:
    layer = device_layer("demo")
    sizes = []
    for slices in (1, 300):
        command = f"acquire_volume num_slices={slices} exposure_ms=0.1 step_um=0"
        done = run_copilot(layer.url, command)
        assert done.returncode == 0, done.stderr
        sizes.append(len(done.stdout))
    assert max(sizes) < 2000


def test_a_volume_ends_with_its_metadata_in_the_items_result(device_layer: DeviceLayers) -> None:
    with device_layer().client() as client:
        item = client.execute(client.plans().snap(exposure_ms=2))
        ended = client.wait(item.item_uid)
        assert ended.result is not None
        value = ended.result.return_value
        assert isinstance(value, dict)
        assert value["shape"] == [1, 512, 512]
        assert value["uid"] == client.volumes()[0].uid
        assert value["session_id"] == client.settings().session_id
