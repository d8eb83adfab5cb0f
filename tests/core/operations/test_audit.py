"""The audit log: in order, for good, and going on after whatever has happened to it."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gently.core.operations import Action, AuditError, AuditLog, Head, audit, chain, digest_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.ndjson"


@pytest.fixture
def log(path: Path) -> Iterator[AuditLog]:
    with AuditLog(path) as log:
        yield log


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def recorded(path: Path, *whats: str) -> Head:
    """Record in a log that is then closed; return its head."""
    with AuditLog(path) as log:
        for what in whats:
            log.record(Action(what=what))
        assert log.flush()
        return log.head


# ---------------------------------------------------------------------- recording


def test_an_entry_says_who_what_when_from_where_and_what_came_of_it(
    log: AuditLog, path: Path
) -> None:
    log.record(
        Action(
            what="POST /api/queue/item/execute",
            name="ada",
            kind="person",
            key_id="0a1b2c3d",
            origin="127.0.0.1:50000",
            item_name="move_focus",
            item_uid="f00",
            digest=digest_of({"z_um": 1}),
            outcome="refused",
            status=409,
            detail="held by another",
        )
    )
    assert log.flush()

    (entry,) = lines(path)
    assert entry.pop("time").endswith("+00:00")
    assert len(entry.pop("hash")) == len(entry.pop("prev")) == 64
    assert entry == {
        "n": 1,
        "what": "POST /api/queue/item/execute",
        "name": "ada",
        "kind": "person",
        "key_id": "0a1b2c3d",
        "origin": "127.0.0.1:50000",
        "item_name": "move_focus",
        "item_uid": "f00",
        "digest": digest_of({"z_um": 1}),
        "outcome": "refused",
        "status": 409,
        "detail": "held by another",
    }


def test_the_digest_is_of_what_was_meant_not_of_how_it_was_written() -> None:
    assert digest_of({"a": 1, "b": (2,)}) == digest_of({"b": [2], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert len(digest_of({"path": Path("x"), "nan": float("nan")})) == 64


def test_what_many_threads_record_is_all_there_each_in_its_order(log: AuditLog) -> None:
    def record(name: int) -> None:
        for number in range(100):
            log.record(Action(what=f"{number}", name=f"{name}"))

    threads = [threading.Thread(target=record, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    entries = log.entries(1_000)
    assert [entry["n"] for entry in entries] == list(range(400, 0, -1))
    for name in "0123":
        mine = [entry["what"] for entry in reversed(entries) if entry["name"] == name]
        assert mine == [str(number) for number in range(100)]
    assert log.verify().ok


def test_recording_waits_for_nothing_even_if_the_disk_hangs(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_hanging, goes_on = threading.Event(), threading.Event()

    def hang(fd: int) -> None:
        is_hanging.set()
        assert goes_on.wait(30)

    monkeypatch.setattr(os, "fsync", hang)
    try:
        log.record(Action(what="first"))
        assert is_hanging.wait(30)
        log.record(Action(what="POST /api/stop"))  # on this thread: it returns
        assert not log.flush(0.01)
    finally:
        goes_on.set()
    assert log.flush()


def test_entries_are_paged_from_the_newest_however_long_the_log(
    log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_BLOCK_BYTES", 100)  # less than a line
    for number in range(25):
        log.record(Action(what=f"{number}"))

    first = log.entries(10)
    second = log.entries(10, before=first[-1]["n"])
    third = log.entries(10, before=second[-1]["n"])

    assert [entry["n"] for entry in [*first, *second, *third]] == list(range(25, 0, -1))
    assert log.entries(10, before=1) == []


# ---------------------------------------------------------------------- going on


def test_it_goes_on_where_it_stood(path: Path) -> None:
    recorded(path, "one", "two")
    head = recorded(path, "three")

    assert [line["what"] for line in lines(path)] == ["one", "two", "three"]
    assert chain.verify(path, head).notes == ()
    assert chain.read_head(audit.head_beside(path)) == head


@pytest.mark.parametrize("torn", [b"{", b'{"what":"th', b"{}\n", b"\n\n", b"a\r\nb", b"\n"])
def test_an_unfinished_line_stays_and_is_accounted_for(path: Path, torn: bytes) -> None:
    recorded(path, "one", "two")
    with path.open("ab") as file:
        file.write(torn)

    head = recorded(path, "three")

    verdict = chain.verify(path, head)
    assert verdict.ok
    assert "a crash has left" in verdict.notes[0]
    assert torn in path.read_bytes()


def test_every_place_at_which_a_crash_can_cut_the_last_write_is_survived(path: Path) -> None:
    kept = recorded(path, "one")
    before = path.read_bytes()
    recorded(path, "two", "three")
    after = path.read_bytes()
    middle = after.index(b"\n", len(before)) + 1
    edges = {edge + near for edge in (len(before), middle, len(after)) for near in (-1, 0, 1, 2)}
    for cut in sorted({*edges, *range(len(before), len(after), 101)}):
        path.write_bytes(after[:cut])
        audit.head_beside(path).write_text(f"{kept}\n")  # it is written after the lines

        head = recorded(path, "four")

        assert chain.verify(path, head, kept).ok, cut


def test_lines_that_were_written_when_the_head_was_not_yet_are_kept(path: Path) -> None:
    early = recorded(path, "one")
    recorded(path, "two", "three")
    audit.head_beside(path).write_text(f"{early}\n")

    head = recorded(path, "four")

    assert head.count == 4
    assert chain.verify(path, head).ok


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_tail_that_was_cut_off_is_found_at_once_and_at_each_start_ever_after(
    path: Path, is_alone: bool
) -> None:
    recorded(path, "one", "two", "three")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    if not is_alone:
        audit.head_beside(path).unlink()

    head = recorded(path, "four")

    (finding,) = chain.verify(path, head).findings
    expected = "it has 2 entries; 3 were written" if is_alone else "its head is not kept beside it"
    assert expected in finding
    recorded(path, "five")
    assert not chain.verify(path).ok


def test_a_last_line_that_was_changed_is_found_at_the_start(path: Path) -> None:
    recorded(path, "one", "two")
    path.write_bytes(path.read_bytes().replace(b'"two"', b'"2wo"'))

    head = recorded(path, "three")

    assert "it has 1 entries; 2 were written" in chain.verify(path, head).findings[0]


def test_a_whole_log_in_the_place_of_another_is_found_at_the_start(path: Path) -> None:
    recorded(path, "one", "two")
    kept = audit.head_beside(path).read_text()
    path.unlink()
    audit.head_beside(path).unlink()
    recorded(path, "three", "four", "five")
    audit.head_beside(path).write_text(kept)

    head = recorded(path, "six")

    assert "its entry 2 is not the one that was written" in chain.verify(path, head).findings[0]


def test_an_edit_is_found_while_it_runs(log: AuditLog, path: Path) -> None:
    for what in ("one", "two", "three"):
        log.record(Action(what=what))
    assert log.verify().ok

    path.write_bytes(path.read_bytes().replace(b'"two"', b'"2wo"'))

    assert not log.verify().ok


def test_a_head_that_was_noted_has_to_be_in_it(log: AuditLog) -> None:
    log.record(Action(what="one"))
    log.flush()
    noted = log.head
    log.record(Action(what="two"))

    assert log.verify(noted).ok
    assert not log.verify(Head(1, "a" * 64)).ok
    assert not log.verify(Head(3, "a" * 64)).ok


# ---------------------------------------------------------------------- a disk that refuses


def test_what_the_disk_refuses_is_written_once_it_does_not(
    log: AuditLog, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.record(Action(what="one"))
    assert log.flush()
    write, refusals = os.write, threading.Event()

    def full(fd: int, data: Any) -> int:
        write(fd, bytes(data)[:7])  # some of it gets there
        refusals.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.record(Action(what="two"))
    assert refusals.wait(30)
    assert not log.flush(0.1)
    assert "No space left" in log.problem
    monkeypatch.undo()

    assert log.flush(30)
    assert log.problem == ""
    assert [line["what"] for line in lines(path)] == ["one", "two"]
    assert log.verify().ok


def test_what_is_too_much_to_wait_is_counted_and_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_MOST_WAITING", 2)
    is_hanging, goes_on = threading.Event(), threading.Event()
    sync = os.fsync

    def hang(fd: int) -> None:
        is_hanging.set()
        assert goes_on.wait(30)
        sync(fd)

    monkeypatch.setattr(os, "fsync", hang)
    with AuditLog(path) as log:
        for what in ("one", "two", "three", "four"):
            log.record(Action(what=what))
            assert is_hanging.wait(30)
        goes_on.set()
        assert log.flush()
        log.record(Action(what="five"))
        verdict = log.verify()

    assert verdict.ok
    (note,) = verdict.notes
    assert "2 actions were not recorded" in note
    told = [line["what"] for line in lines(path)]
    assert [what for what in told if what != chain.LOST] == ["one", "two", "five"]


def test_a_log_that_cannot_be_read_says_so(log: AuditLog, path: Path) -> None:
    log.record(Action(what="one"))
    log.flush()
    path.unlink()

    with pytest.raises(AuditError, match="cannot be read"):
        log.verify()
    with pytest.raises(AuditError, match="cannot be read"):
        log.entries(1)
