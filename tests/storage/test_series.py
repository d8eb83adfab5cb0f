"""The volumes of an acquisition are one array, by reference, and say what they are."""

import json
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr

from storage import (
    AcquisitionNotFoundError,
    InvalidUidError,
    Series,
    UnevenSeriesError,
    VolumeRecord,
    VolumeStore,
    export_series,
    new_uid,
)
from tests.storage.helpers import make_pixels, make_spec, write_volume
from tests.zarr_threads import start_the_threads_of_zarr

UID = new_uid()


@pytest.fixture(scope="module", autouse=True)
def readers_threads() -> None:
    start_the_threads_of_zarr()


def take(store: VolumeStore, time_point: int = 0, channel: str = "", **spec: Any) -> VolumeRecord:
    place = {"acquisition_uid": UID, "time_point": time_point, "channel": channel}
    return write_volume(store, make_spec(**place, **spec))


def document(series: Series, key: str) -> Any:
    found = series.find(key)
    assert isinstance(found, bytes)
    return json.loads(found)


def unheard(_done: int, _of: int) -> None:
    """Progress that nobody looks at."""


def later(records: Iterable[VolumeRecord], *seconds: float) -> list[VolumeRecord]:
    """Return the records as if they had been begun at these times."""
    first, *rest = records
    times = [first.created + timedelta(seconds=s) for s in seconds]
    pairs = zip((first, *rest), times, strict=True)
    return [record.model_copy(update={"created": time}) for record, time in pairs]


def test_it_is_ome_zarr_to_another_reader(store: VolumeStore) -> None:
    records = [take(store, t, channel) for t in (0, 1, 4) for channel in ("488", "561")]
    series = Series(UID, later(records, 0, 1, 10, 11, 40, 41))

    found: Any = yaozarrs.validate_ome_json(json.dumps(document(series, "zarr.json")))

    (multiscale,) = found.attributes.ome.multiscales
    assert [axis.name for axis in multiscale.axes] == [*"tczyx"]
    assert (multiscale.axes[0].unit, multiscale.axes[2].unit) == ("second", "micrometer")
    scale, translation = multiscale.datasets[0].coordinateTransformations
    assert scale.scale == [10.25, 1, 0.5, 0.1625, 0.1625]
    assert translation.translation == [0] * 5
    array = document(series, "0/zarr.json")
    assert array["shape"] == [5, 2, 5, 32, 64]
    assert array["chunk_grid"]["configuration"]["chunk_shape"] == [1, 1, 1, 32, 64]
    assert array["dimension_names"] == [*"tczyx"]


def test_it_says_which_volumes_there_are_and_when_each_was_begun(store: VolumeStore) -> None:
    records = [take(store, 0, "561"), take(store, 1, "561"), take(store, 1, "488")]

    told = document(store.series(UID), "zarr.json")["attributes"]["gently"]["acquisition"]

    assert (told["uid"], told["channels"]) == (UID, ["561", "488"])
    assert [(v["time_point"], v["channel"], v["uid"]) for v in told["volumes"]] == [
        (0, "561", records[0].uid),
        (1, "561", records[1].uid),
        (1, "488", records[2].uid),
    ]
    assert {v["checksum"] for v in told["volumes"]} == {record.checksum for record in records}


def test_a_tile_is_a_tile_of_its_volume_and_there_is_none_where_no_volume_is(
    store: VolumeStore,
) -> None:
    first, second = take(store, 0, "a"), take(store, 1, "b")
    series = store.series(UID)

    for key, record in (("0/c/0/0/3/0/0", first), ("0/c/1/1/3/0/0", second)):
        found = series.find(key)
        assert isinstance(found, tuple)
        assert (found[0], found[1].key) == (record.uid, "0/c/3/0/0")
    for key in ("0/c/0/1/3/0/0", "0/c/0/0/5/0/0", "1/c/0/0/0/0/0", "1/zarr.json", "c", ""):
        assert series.find(key) is None


def test_of_two_volumes_in_one_place_the_later_one_counts(store: VolumeStore) -> None:
    old, new = later([take(store), take(store)], 0, 1)
    for records in ([old, new], [new, old]):
        assert list(Series(UID, records).volumes()) == [("0/0", new.uid)]


def test_what_is_not_complete_or_of_another_acquisition_does_not_belong_to_it(
    store: VolumeStore,
) -> None:
    here = take(store)
    write_volume(store, make_spec(acquisition_uid=new_uid()))
    store.trash(take(store, 1).uid, reason="blurred", by="me")
    assert [uid for _, uid in store.series(UID).volumes()] == [here.uid]


def test_an_acquisition_without_volumes_is_not_found(store: VolumeStore) -> None:
    take(store)
    missing = new_uid()
    with pytest.raises(AcquisitionNotFoundError, match=missing):
        store.series(missing)
    with pytest.raises(InvalidUidError):
        store.series("../volumes")


@pytest.mark.parametrize(
    "other",
    [{"shape": (5, 32, 60)}, {"dtype": "uint8"}, {"pixel_size_um": 0.5}, {"step_um": 0.25}],
)
def test_volumes_that_are_no_one_array_are_refused_with_what_differs(
    store: VolumeStore, other: dict[str, Any]
) -> None:
    take(store)
    take(store, 1, **other)
    with pytest.raises(UnevenSeriesError, match=f"has {next(iter(other))} "):
        store.series(UID)


def test_a_copy_is_one_array_with_the_pixels_of_all_its_volumes(
    store: VolumeStore, tmp_path: Path
) -> None:
    spec: dict[str, Any] = {"shape": (3, 30, 300), "format": "ome-zarr", "compression": "blosc-lz4"}
    record = take(store, 0, **spec)
    take(store, 2, **spec)

    path = export_series(store.series(UID), store.open, tmp_path / "copies", unheard)

    assert path == tmp_path / "copies" / f"{UID}.ome.zarr"
    yaozarrs.validate_zarr_store(path)
    array: Any = zarr.open_group(path, mode="r")["0"]
    assert array.shape == (3, 1, 3, 30, 300)
    np.testing.assert_array_equal(array[2, 0], make_pixels(record.spec))
    assert not array[1].any()
    assert sorted(entry.name for entry in (path / "0/c").iterdir()) == ["0", "2"]
