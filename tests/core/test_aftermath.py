"""What an item has left behind whose process died: its runs and volumes, and no one else's."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gently.core.aftermath import Aftermath
from gently.core.items import Item, Leftovers
from gently.core.queue import PlanQueue
from gently.core.queue_store import QueueStore
from storage import DocumentStore, VolumeStore
from tests.storage.helpers import fill, make_pixels, make_spec, write_volume

WHOLE, OPEN, EARLIER = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VolumeStore]:
    with VolumeStore(tmp_path) as store:
        yield store


def start(run_uid: str, scan_id: int, item_uid: str) -> dict[str, Any]:
    return {"uid": run_uid, "scan_id": scan_id, "time": time.time(), "item_uid": item_uid}


def test_an_interrupted_item_names_its_runs_its_volumes_and_what_was_removed(
    store: VolumeStore, tmp_path: Path
) -> None:
    item = Item(name="many", time_start=time.time())
    documents = DocumentStore(tmp_path)
    with documents.writer() as writer:
        writer("start", start(EARLIER, 1, "another"))
        writer("start", start(WHOLE, 2, item.item_uid))
        writer("stop", {"uid": "stop", "run_start": WHOLE, "exit_status": "success"})
        writer("start", start(OPEN, 3, item.item_uid))
    mine = write_volume(store, make_spec(item_uid=item.item_uid))
    write_volume(store, make_spec(item_uid="another"))
    spec = make_spec(item_uid=item.item_uid)
    with store.create(spec) as writing:
        fill(writing, make_pixels(spec), order=range(2))
        short = writing.keep("the camera has stopped")
    removed = [store.volumes / "0123.tif.part"]

    result = Aftermath(documents, store, removed)(item)

    assert result.exit_status == "interrupted"
    assert (result.run_uids, result.scan_ids) == ((WHOLE, OPEN), (2, 3))
    assert result.leftovers == Leftovers((OPEN,), (mine.uid,), (short.uid,), ("0123.tif.part",))
    for said in (f"volume {mine.uid}", short.uid, "removed: 0123.tif.part", f"cut off: run {OPEN}"):
        assert said in result.msg
    assert result.message()["leftovers"]["volume_uids"] == [mine.uid]


def test_what_is_known_of_an_interrupted_item_is_kept_with_it(
    store: VolumeStore, tmp_path: Path
) -> None:
    path = tmp_path / "queue.sqlite"
    queue_store = QueueStore(path)
    item = Item(name="many")
    PlanQueue(lambda _, __: None, queue_store).execute(item)
    queue_store.close()
    mine = write_volume(store, make_spec(item_uid=item.item_uid))

    for _ in range(2):
        queue_store = QueueStore(path)
        account = Aftermath(DocumentStore(tmp_path), store, [])
        found = PlanQueue(lambda _, __: None, queue_store, account=account).find(item.item_uid)
        queue_store.close()

        assert found.result is not None
        assert found.result.leftovers == Leftovers(volume_uids=(mine.uid,))
