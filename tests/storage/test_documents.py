"""Bluesky's documents: written as they come, never waited for, replayed as they were."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

import storage.document_writer
from storage import (
    BrokenDocumentsError,
    Document,
    DocumentsLostError,
    DocumentStore,
    DocumentWriter,
    RunNotFoundError,
)

UID = "5f0c3f8e-2b1d-4c57-9a63-7d1e8b42c90a"


@pytest.fixture
def documents(tmp_path: Path) -> DocumentStore:
    return DocumentStore(tmp_path)


@pytest.fixture
def writer(documents: DocumentStore) -> Iterator[DocumentWriter]:
    with documents.writer() as writer:
        yield writer


def run(events: int = 2, **start: Any) -> list[Document]:
    """Return the documents of one run, with everything that a run can have."""
    uid, descriptor, old, new = (str(uuid4()) for _ in range(4))
    return [
        ("start", {"uid": uid, "time": 1.5, "plan_name": "µm", **start}),
        ("descriptor", {"uid": descriptor, "run_start": uid, "name": "primary"}),
        ("stream_resource", {"uid": new, "run_start": uid}),
        ("stream_datum", {"uid": f"{new}/0", "stream_resource": new, "descriptor": descriptor}),
        ("resource", {"uid": old, "run_start": uid}),
        ("datum", {"datum_id": f"{old}/0", "resource": old}),
        *(("event", event(descriptor, number)) for number in range(events)),
        ("event_page", {"descriptor": descriptor, "seq_num": [1, 2]}),
        ("stop", {"uid": str(uuid4()), "run_start": uid, "exit_status": "success"}),
    ]


def event(descriptor: str, number: int) -> dict[str, Any]:
    return {
        "uid": str(uuid4()),
        "descriptor": descriptor,
        "seq_num": number + 1,
        "data": {"x": 1.0},
    }


def uid_of(run: list[Document]) -> str:
    return str(run[0][1]["uid"])


def give(writer: DocumentWriter, documents: list[Document]) -> None:
    for name, document in documents:
        writer(name, document)


def keep(writer: DocumentWriter, documents: list[Document]) -> str:
    """Give all documents of a run and wait until they are in its file."""
    uid = uid_of(documents)
    give(writer, documents)
    writer.flush()
    return uid


# ---------------------------------------------------------------------- writing and replaying


def test_a_run_is_replayed_as_it_was_emitted(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    emitted = run()
    uid = keep(writer, emitted)
    assert list(documents.replay(uid)) == emitted


def test_a_run_is_a_file_with_one_json_array_a_line(
    documents: DocumentStore, writer: DocumentWriter, tmp_path: Path
) -> None:
    emitted = run()
    uid = keep(writer, emitted)
    path = tmp_path / "documents" / f"{uid}.ndjson"
    assert documents.path(uid) == path
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [list(document) for document in emitted]
    assert b"".join(documents.blocks(uid)) == path.read_bytes()


def test_runs_that_are_open_at_once_are_kept_apart(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    runs = [run(events=5) for _ in range(3)]
    for step in zip(*runs, strict=True):
        give(writer, list(step))
    writer.flush()
    for emitted in runs:
        assert list(documents.replay(uid_of(emitted))) == emitted


def test_runs_are_replayed_one_after_the_other_to_any_subscriber(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    first, second = run(), run()
    give(writer, first)
    give(writer, second)
    writer.flush()
    heard: list[Document] = []
    documents.replay_to(lambda *document: heard.append(document), uid_of(second), uid_of(first))
    assert heard == second + first


def test_what_becomes_of_a_document_after_it_was_emitted_makes_no_difference(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    emitted = run()
    expected = json.loads(json.dumps(emitted))
    uid = uid_of(emitted)
    give(writer, emitted)
    for _, document in emitted:
        document.clear()
    writer.flush()
    assert [list(document) for document in documents.replay(uid)] == expected


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.float64(1.5), 1.5),
        (np.uint16(7), 7),
        (np.bool_(True), True),
        (np.arange(6).reshape(2, 3), [[0, 1, 2], [3, 4, 5]]),
        (np.array(["a", "b"]), ["a", "b"]),
        ((1, 2), [1, 2]),
        (float("nan"), None),
        (np.float32("nan"), None),
        (np.array([1.0, np.inf, np.nan]), [1.0, None, None]),
        (-np.inf, None),
        (Path("a"), "a"),
        (b"\xff", "_w=="),
        ("µ\n\u2028", "µ\n\u2028"),
    ],
)
def test_every_value_becomes_strict_json(
    documents: DocumentStore, writer: DocumentWriter, value: object, kept: object
) -> None:
    uid = keep(writer, run(value=value))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    line = documents.path(uid).read_bytes().split(b"\n")[0]
    assert json.loads(line, parse_constant=refuse)[1]["value"] == kept


# ---------------------------------------------------------------------- what goes wrong


@pytest.fixture
def hanging_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that takes nothing until the event is set."""
    recovered = threading.Event()
    sync = os.fsync

    def hang(fd: int) -> None:
        recovered.wait()
        sync(fd)

    monkeypatch.setattr(os, "fsync", hang)
    yield recovered
    recovered.set()


def test_nobody_waits_for_a_disk_that_hangs_but_the_one_who_flushes(
    documents: DocumentStore, writer: DocumentWriter, hanging_disk: threading.Event
) -> None:
    first, second = run(), run()
    give(writer, first)
    give(writer, second)
    with pytest.raises(DocumentsLostError, match="has not taken them"):
        writer.flush(timeout_s=0.05)
    hanging_disk.set()
    writer.flush()
    assert list(documents.replay(uid_of(second))) == second


def test_what_waits_for_a_disk_that_hangs_is_bounded_and_the_run_never_looks_whole(
    documents: DocumentStore,
    writer: DocumentWriter,
    hanging_disk: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage.document_writer, "_MOST_WAITING_BYTES", 10_000)
    cut = run(events=200)
    give(writer, [*cut[:2]])
    writer.flush()
    give(writer, run())
    give(writer, cut[2:])
    assert writer._waiting_bytes <= 11_000
    hanging_disk.set()
    with pytest.raises(DocumentsLostError, match=uid_of(cut)):
        writer.flush()
    kept = list(documents.replay(uid_of(cut)))
    assert kept == cut[: len(kept)]
    assert len(kept) < len(cut)
    later = run()
    keep(writer, later)
    assert list(documents.replay(uid_of(later))) == later


def test_a_disk_that_takes_no_more_ends_the_record_of_the_run_and_not_of_the_next(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    resource = pytest.importorskip("resource")
    lost, kept = run(events=50), run()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, hard))
    try:
        give(writer, lost)
        with pytest.raises(DocumentsLostError, match=f"{uid_of(lost)}.*too large"):
            writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    keep(writer, kept)
    assert list(documents.replay(uid_of(kept))) == kept
    whole = list(documents.replay(uid_of(lost)))
    assert 1 < len(whole) < len(lost)
    assert whole == lost[: len(whole)]


def test_a_run_is_never_overwritten(documents: DocumentStore, writer: DocumentWriter) -> None:
    emitted = run()
    uid = keep(writer, emitted)
    with pytest.raises(DocumentsLostError, match=uid):
        keep(writer, emitted)
    assert list(documents.replay(uid)) == emitted


def test_a_document_that_is_no_json_leaves_the_run_without_an_end(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    emitted = run()
    emitted.insert(2, ("event", {"descriptor": emitted[1][1]["uid"], "text": "\ud800"}))
    with pytest.raises(DocumentsLostError, match="surrogates"):
        keep(writer, emitted)
    assert list(documents.replay(uid_of(emitted))) == emitted[:2]
    assert documents.runs()[0].stop is None


def test_a_run_whose_uid_is_a_path_is_not_kept(
    documents: DocumentStore, writer: DocumentWriter, tmp_path: Path
) -> None:
    writer("start", {"uid": "../outside"})
    with pytest.raises(DocumentsLostError, match="does not begin with the UID"):
        writer.flush()
    assert [path.name for path in tmp_path.iterdir()] == ["documents"]
    assert documents.runs() == []


def test_documents_after_the_end_are_dropped(documents: DocumentStore) -> None:
    emitted = run()
    with documents.writer() as writer:
        give(writer, emitted[:3])
    give(writer, emitted[3:])
    assert list(documents.replay(uid_of(emitted))) == emitted[:3]


def test_what_is_kept_of_a_run_while_it_lasts_does_not_grow_with_it(
    writer: DocumentWriter,
) -> None:
    emitted = run(events=3_000)
    keep(writer, emitted[:-1])
    assert (len(writer._run_of), len(writer._waiting), writer._waiting_bytes) == (3, 0, 0)
    give(writer, emitted[-1:])
    writer.flush()
    assert (writer._run_of, writer._files) == ({}, {})


# ---------------------------------------------------------------------- crashes


def test_a_run_that_was_cut_off_at_any_byte_gives_all_its_whole_documents(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    emitted = run()
    uid = keep(writer, emitted)
    path = documents.path(uid)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        assert list(documents.replay(uid)) == emitted[: content[:size].count(b"\n")]
        assert b"".join(documents.blocks(uid)) == content[: content[:size].rfind(b"\n") + 1]


def test_a_run_can_be_replayed_while_it_is_written(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    emitted = run(events=500)
    give(writer, emitted[:100])
    writer.flush()
    with closing(documents.replay(uid_of(emitted))) as replay:  # type: ignore[type-var]
        first = [next(replay) for _ in range(50)]
        give(writer, emitted[100:])
        writer.flush()
        assert first + list(replay) == emitted


# ---------------------------------------------------------------------- finding


def test_runs_are_listed_with_their_ends_the_newest_first(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    runs = [run(number=number) for number in range(3)]
    for age, emitted in enumerate(runs):
        keep(writer, emitted)
        stamp = time.time() - age
        os.utime(documents.path(uid_of(emitted)), (stamp, stamp))
    listed = documents.runs()
    assert [found.run_uid for found in listed] == [uid_of(emitted) for emitted in runs]
    assert [(found.start, found.stop) for found in listed] == [
        (emitted[0][1], emitted[-1][1]) for emitted in runs
    ]
    assert documents.runs(limit=1) == listed[:1]
    half_a_second = timedelta(seconds=0.5)
    newest = datetime.fromtimestamp(listed[0].path.stat().st_mtime, UTC)
    assert documents.runs(since=newest - half_a_second) == listed[:1]
    assert documents.runs(since=newest + half_a_second) == []


def test_a_run_without_an_end_is_listed_as_such(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    emitted = run()
    keep(writer, emitted[:-1])
    assert [(found.start, found.stop) for found in documents.runs()] == [(emitted[0][1], None)]


def test_the_end_of_a_run_longer_than_the_part_that_is_looked_at_is_found(
    documents: DocumentStore, writer: DocumentWriter
) -> None:
    emitted = run(events=3_000)
    keep(writer, emitted)
    assert documents.path(uid_of(emitted)).stat().st_size > 1 << 18
    assert documents.runs()[0].stop == emitted[-1][1]


@pytest.mark.parametrize("uid", ["", "..", "../x", "0" * 32, f"{UID}/", UID.upper()])
def test_what_is_no_uid_never_reaches_the_file_system(documents: DocumentStore, uid: str) -> None:
    with pytest.raises(RunNotFoundError):
        documents.replay(uid)


def test_a_run_that_is_not_there_is_told_at_once(documents: DocumentStore) -> None:
    uid = str(uuid4())
    with pytest.raises(RunNotFoundError, match=uid):
        documents.replay(uid)


@pytest.mark.parametrize(
    "line", [b"no JSON", b"{}", b'["start"]', b'["start", 1]', b'[{}, "start"]', b"\xff", b""]
)
def test_a_line_that_is_no_document_is_named_and_does_not_hide_what_came_before(
    documents: DocumentStore, writer: DocumentWriter, line: bytes
) -> None:
    emitted = run()
    uid = keep(writer, emitted[:2])
    with documents.path(uid).open("ab") as file:
        file.write(line + b"\n")
    replay = documents.replay(uid)
    assert [next(replay), next(replay)] == emitted[:2]
    with pytest.raises(BrokenDocumentsError, match="line 3"):
        next(replay)


def test_hostile_files_are_skipped_and_never_stop_the_rest(
    documents: DocumentStore, writer: DocumentWriter, tmp_path: Path
) -> None:
    uid = keep(writer, run())
    outside = tmp_path / "outside"
    outside.write_bytes(documents.path(uid).read_bytes())
    link = documents.folder / f"{uuid4()}.ndjson"
    link.symlink_to(outside)
    (documents.folder / f"{uuid4()}.ndjson").mkdir()
    for content in (b"", b"\0" * 4096, b'["event", {}]\n', b'["start", {"ui'):
        (documents.folder / f"{uuid4()}.ndjson").write_bytes(content)
    (documents.folder / "notes.txt").write_text("mine")
    assert [found.run_uid for found in documents.runs()] == [uid]
    with pytest.raises(BrokenDocumentsError, match="a link"):
        documents.replay(link.stem)
