"""Other people's readers open a volume by its URL and find what tifffile finds in the file."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorstore
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from gently.visualization import VizServer, VolumeFeed
from storage import VolumeRecord, VolumeStore, levels, mean, new_uid
from tests.storage.helpers import make_pixels, make_spec
from tests.visualization.specimen import keep
from tests.zarr_threads import start_the_threads_of_http

REGION = st.tuples(*[st.tuples(st.floats(0, 1), st.floats(0, 1))] * 3)
SHAPES = st.tuples(
    st.integers(1, 5),
    st.integers(1, 60) | st.sampled_from([1023, 1024, 1025]),
    st.integers(1, 60) | st.sampled_from([1023, 1024, 1025]),
)


@pytest.fixture(scope="module", autouse=True)
def readers_threads(tmp_path_factory: pytest.TempPathFactory) -> None:
    start_the_threads_of_http(tmp_path_factory.mktemp("warm"))


@pytest.fixture
def viz(store: VolumeStore) -> Iterator[VizServer]:
    with VizServer(store, VolumeFeed(), port=0) as viz:
        yield viz


def address(viz: VizServer, record: VolumeRecord) -> str:
    return f"{viz.url}volumes/{record.uid}.zarr"


def region_of(shape: tuple[int, ...], ends: Any) -> tuple[slice, ...]:
    """Return a region that is not empty, from numbers between 0 and 1."""
    region = []
    for extent, pair in zip(shape, ends, strict=True):
        low, high = sorted(min(int(end * extent), extent - 1) for end in pair)
        region.append(slice(low, high + 1))
    return tuple(region)


def open_with_tensorstore(url: str) -> Any:
    return tensorstore.open(
        {"driver": "zarr3", "kvstore": {"driver": "http", "base_url": f"{url}/0/"}}
    ).result()


@settings(max_examples=25, deadline=None)
@given(
    shape=SHAPES,
    dtype=st.sampled_from(["uint8", "uint16", "float32"]),
    kept=st.sampled_from([("ome-tiff", "none"), ("ome-zarr", "none"), ("ome-zarr", "blosc-lz4")]),
    regions=st.lists(REGION, min_size=1, max_size=4),
)
def test_any_region_of_any_volume_is_bit_for_bit_what_tifffile_reads(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    dtype: str,
    kept: tuple[str, str],
    regions: list[Any],
) -> None:
    store = VolumeStore(tmp_path_factory.mktemp("any"))
    spec = make_spec(shape=shape, dtype=dtype, format=kept[0], compression=kept[1])
    expected = make_pixels(spec)
    record = keep(store, expected, **spec.model_dump())
    if spec.format == "ome-tiff":
        expected = tifffile.imread(record.path).reshape(shape)
    with VizServer(store, VolumeFeed(), port=0) as viz:
        group = zarr.open_group(address(viz, record), mode="r")
        array = group["0"]
        other = open_with_tensorstore(address(viz, record))
        assert isinstance(array, zarr.Array)
        assert array.shape == other.shape == shape
        assert array.dtype == dtype
        for ends in regions:
            region = region_of(shape, ends)
            np.testing.assert_array_equal(array[region], expected[region])
            np.testing.assert_array_equal(other[region].read().result(), expected[region])


def test_every_level_is_the_mean_of_the_volume(store: VolumeStore, viz: VizServer) -> None:
    spec = make_spec(shape=(5, 1100, 2100), step_um=0.1)
    pixels = make_pixels(spec)
    record = keep(store, pixels, **spec.model_dump())

    group = zarr.open_group(address(viz, record), mode="r")

    assert sorted(group) == ["0", "1", "2", "3", "4"]
    for name, level in zip(sorted(group), levels(spec), strict=True):
        array = group[name]
        assert isinstance(array, zarr.Array)
        assert array.shape == level.shape
        everything = slice(0, level.shape[1]), slice(0, level.shape[2])
        for z in range(level.shape[0]):
            np.testing.assert_array_equal(array[z], mean(pixels, level, *everything, z))


def test_an_acquisition_is_one_array_of_times_and_channels(
    store: VolumeStore, viz: VizServer
) -> None:
    uid, rng = new_uid(), np.random.default_rng(3)
    expected = rng.integers(0, 9999, (3, 2, 2, 30, 1100), np.uint16)
    expected[1, 1] = 0  # a volume that was never taken
    for t, c in np.ndindex(3, 2):
        if (t, c) == (1, 1):
            continue
        place = {"acquisition_uid": uid, "time_point": t, "channel": ("488", "561")[c]}
        keep(store, expected[t, c], format=("ome-tiff", "ome-zarr")[c], **place)
    url = f"{viz.url}acquisitions/{uid}.zarr"

    group = zarr.open_group(url, mode="r")

    array = group["0"]
    assert isinstance(array, zarr.Array)
    np.testing.assert_array_equal(array[:], expected)
    np.testing.assert_array_equal(open_with_tensorstore(url).read().result(), expected)
    assert group["2"][:].shape == (3, 2, 2, 8, 275)  # type: ignore[index,union-attr]


def test_a_missing_volume_is_not_found(viz: VizServer) -> None:
    with pytest.raises(FileNotFoundError):
        zarr.open(f"{viz.url}volumes/{'0' * 32}.zarr", mode="r")
    with pytest.raises(ValueError, match="NOT_FOUND"):
        open_with_tensorstore(f"{viz.url}volumes/{'0' * 32}.zarr")
