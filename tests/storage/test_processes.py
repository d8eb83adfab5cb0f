"""Several processes use one store at once, and one that dies at the worst moment harms nobody."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from storage import VolumeRecord, VolumeStore
from tests.storage.helpers import make_spec, write_volume

READER = """
import sys
from pathlib import Path
from storage import VolumeStore, inventory
store = VolumeStore(Path(sys.argv[1]))
store.list()
inventory.refresh = None  # from here on the index alone has to know
for _ in sys.stdin:
    print(" ".join(record.uid for record in store.list()), flush=True)
"""

WRITER = """
import sys
from pathlib import Path
from storage import VolumeStore
from tests.storage.helpers import make_spec, write_volume
store = VolumeStore(Path(sys.argv[1]))
for number in range(24):
    record = write_volume(store, make_spec(shape=(1, 4, 4)))
    if number % 3 == 0:
        store.trash(record.uid, reason="third", by="writer")
    if number % 6 == 0:
        store.restore(record.uid)
"""

DIES_BEFORE_THE_INDEX_KNOWS = """
import os, sys
from pathlib import Path
from storage import VolumeStore, index
from tests.storage.helpers import make_spec, write_volume
index.Index.settle = lambda *_, **__: os._exit(9)
store = VolumeStore(Path(sys.argv[1]))
if len(sys.argv) == 2:
    write_volume(store, make_spec(shape=(1, 4, 4)))
else:
    store.trash(sys.argv[2], reason="blurred", by="nils")
"""


@contextmanager
def process(program: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def write(store: VolumeStore) -> VolumeRecord:
    return write_volume(store, make_spec(shape=(1, 4, 4)))


def test_another_process_sees_at_once_what_is_published_and_trashed(store: VolumeStore) -> None:
    records = [write(store)]
    with process(READER, store.root) as reader:
        asks, answers = reader.stdin, reader.stdout
        assert asks is not None
        assert answers is not None

        def seen() -> list[str]:
            asks.write("\n")
            asks.flush()
            return answers.readline().split()

        assert seen() == [records[0].uid]
        records.append(write(store))
        assert seen() == [record.uid for record in records[::-1]]
        store.trash(records[0].uid, reason="blurred", by="nils")
        assert seen() == [records[1].uid]


def test_one_process_writes_and_trashes_while_another_rebuilds(store: VolumeStore) -> None:
    with process(WRITER, store.root) as writer:
        while writer.poll() is None:
            store.rebuild()
            store.list()
    assert writer.returncode == 0
    in_folder = sorted(path.stem for path in store.volumes.iterdir())
    in_trash = sorted(path.stem for path in (store.root / "trash").glob("*.tif"))
    assert (len(in_folder), len(in_trash)) == (20, 4)
    assert sorted(record.uid for record in store.list()) == in_folder
    assert sorted(record.uid for record in store.query(status="trashed")) == in_trash


def test_two_processes_that_find_the_index_lost_make_one(store: VolumeStore) -> None:
    record = write(store)
    store.close()
    for path in store.root.glob("index*"):
        path.unlink()
    with process(READER, store.root) as one, process(READER, store.root) as other:
        for reader in (one, other):
            told, _ = reader.communicate("\n", timeout=60)
            assert told.split() == [record.uid]


@pytest.mark.parametrize("trashed", [False, True])
def test_who_dies_between_the_file_and_the_index_is_healed_at_the_next_start(
    trashed: bool, store: VolumeStore
) -> None:
    known = write(store)
    with process(DIES_BEFORE_THE_INDEX_KNOWS, store.root, *([known.uid] if trashed else [])) as one:
        assert one.wait(timeout=60) == 9
    with VolumeStore(store.root) as again:
        in_folder = {path.stem for path in again.volumes.glob("*.tif")}
        assert len(in_folder) == (0 if trashed else 2)
        assert {record.uid for record in again.list()} == in_folder
        assert len(again.query(status="trashed")) == len(again.trashed()) == int(trashed)
