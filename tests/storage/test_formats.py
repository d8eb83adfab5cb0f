"""One place decides which names are volumes; a volume may be a file, or a folder with a head."""

import os
from pathlib import Path

import pytest

from storage import BrokenVolumeError, VolumeRecord, VolumeStore, formats, new_uid, ome_tiff
from storage.formats import Format
from storage.stored import Slots, Stored
from tests.storage.helpers import make_spec, write_volume


def load(path: Path) -> Stored:
    record = VolumeRecord.model_validate_json((path / "head.json").read_bytes())
    return Stored(record, (), Slots(record, path, first=0, rows=0))


AS_FOLDER = Format(
    key="folder", suffix=".folder", files=("head.json",), create=ome_tiff.OmeTiffFile, load=load
)


@pytest.fixture
def folder(store: VolumeStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A volume that is a folder, in a store that knows such ones."""
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, AS_FOLDER))
    spec = make_spec()
    path = store.volumes / f"{spec.uid}.folder"
    record = write_volume(store, make_spec()).model_copy(update={"spec": spec, "path": path})
    path.mkdir()
    (path / "head.json").write_text(record.model_dump_json(), encoding="utf-8")
    return path


def test_a_folder_is_a_volume_like_any_other(store: VolumeStore, folder: Path) -> None:
    store.refresh()
    assert len(store.list()) == 2
    uid = folder.stem
    assert store.path(uid) == store.record(uid).path == folder
    store.trash(uid, reason="blurred", by="nils")
    assert not folder.exists()
    assert store.restore(uid) == folder


def test_a_change_within_a_folder_is_seen_by_its_head(store: VolumeStore, folder: Path) -> None:
    store.refresh()
    assert store.refresh().read == 0
    head = folder / "head.json"
    head.write_text(head.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert store.refresh().read == 1


def test_a_folder_without_its_head_is_broken(store: VolumeStore, folder: Path) -> None:
    (folder / "head.json").unlink()
    store.refresh()
    assert [file.path for file in store.broken()] == [folder]


def test_a_file_in_place_of_a_folder_is_broken(store: VolumeStore, folder: Path) -> None:
    other = store.volumes / f"{new_uid()}.folder"
    other.touch()
    with pytest.raises(BrokenVolumeError, match="it is a file, not a folder of this store"):
        formats.read(other)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes in folders")
def test_a_pipe_is_broken_and_holds_nobody_up(store: VolumeStore) -> None:
    path = store.path(new_uid())
    os.mkfifo(path)
    store.refresh()
    assert [file.reason for file in store.broken()] == [
        "it is a device or a pipe, not a file of this store"
    ]
