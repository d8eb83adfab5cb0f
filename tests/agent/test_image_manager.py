"""Volumes on disk get their lineage, whoever wrote them and whenever."""

from collections.abc import Callable

import numpy as np
import pytest

from gently.agent.image_manager import ImageManager
from gently.core.data_store import DataStore, RegistrationError, UnknownRecordError
from storage import StorageError, VolumeRecord, VolumeStore, new_uid

Acquire = Callable[[], VolumeRecord]


def test_a_volume_is_registered_from_session_to_item_to_run(
    images: ImageManager, data_store: DataStore, acquire: Acquire
) -> None:
    volume = acquire()
    record = images.register(volume.uid)
    assert record.path == volume.path
    assert record.metadata["checksum"] == volume.checksum
    assert [r.uid for r in data_store.ancestors(volume.uid)] == ["session-1", "i1", "run-1"]


def test_catching_up_registers_what_is_new_oldest_first(
    images: ImageManager, acquire: Acquire
) -> None:
    known, first, second = acquire(), acquire(), acquire()
    images.register(known.uid)
    found = images.catch_up()
    assert {r.uid for r in found.registered} == {first.uid, second.uid}
    assert list(found.registered) == sorted(found.registered, key=lambda r: r.created)
    assert found.refused == ()
    assert images.catch_up().registered == ()


def test_a_volume_that_contradicts_the_lineage_is_told_and_stops_no_other(
    images: ImageManager, data_store: DataStore, acquire: Acquire
) -> None:
    bad, good = acquire(), acquire()
    data_store.register_external_file(new_uid(), bad.path)
    found = images.catch_up()
    assert [r.uid for r in found.registered] == [good.uid]
    assert len(found.refused) == 1
    assert "registered already" in found.refused[0]


def test_a_file_that_is_no_volume_stops_no_other(
    images: ImageManager, store: VolumeStore, acquire: Acquire
) -> None:
    (store.volumes / f"{new_uid()}.tif").write_bytes(b"II*\0 this is not a volume")
    volume = acquire()
    assert [r.uid for r in images.catch_up().registered] == [volume.uid]


def test_a_volume_is_opened_by_its_uid(images: ImageManager, acquire: Acquire) -> None:
    with images.open(acquire().uid) as volume:
        np.testing.assert_array_equal(volume.array[:, 0, 0], [0, 1, 2])


def test_a_volume_is_registered_without_reading_its_pixels_again(
    images: ImageManager, acquire: Acquire, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        pytest.fail("the file was read through")

    volume = acquire()
    monkeypatch.setattr("gently.core.data_store.measure", never)
    assert images.register(volume.uid).checksum == volume.checksum


def test_the_lineage_of_a_volume_is_told_as_soon_as_it_is_on_disk(
    images: ImageManager, data_store: DataStore, acquire: Acquire
) -> None:
    volume = acquire()
    data_store.add("mask", "m")
    assert [s.record.kind for s in images.trace(volume.uid).steps] == [
        "session",
        "item",
        "run",
        "volume",
    ]
    assert [s.record.uid for s in images.trace("m").steps] == ["m"]
    with pytest.raises(UnknownRecordError, match="nobody"):
        images.trace("nobody")


def test_a_volume_that_was_deleted_from_the_lineage_is_not_registered_again(
    images: ImageManager, data_store: DataStore, acquire: Acquire
) -> None:
    volume = acquire()
    images.register(volume.uid)
    data_store.delete(volume.uid, "out of focus")
    found = images.catch_up()
    assert (found.registered, found.refused) == ((), ())
    assert volume.path.exists()


def test_what_is_no_volume_is_refused(images: ImageManager) -> None:
    for uid in (new_uid(), "../../etc/passwd"):
        with pytest.raises(RegistrationError, match=uid):
            images.register(uid)
        with pytest.raises(StorageError, match=uid):
            images.open(uid)
