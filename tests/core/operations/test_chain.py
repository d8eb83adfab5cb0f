"""The chain: what was written is recognised, and whatever was done to it since is found."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gently.core.operations import chain
from gently.core.operations.chain import BROKEN, LOST, START, TORN, Head, digest, verify

COUNT = 8


def log(count: int = COUNT) -> tuple[list[bytes], Head]:
    """Return the lines of a log, and its head."""
    lines, head = [], START
    for number in range(count):
        line, head = chain.linked({"what": "moved", "detail": f"to {number} µm"}, head)
        lines.append(line)
    return lines, head


LINES, HEAD = log()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.ndjson"


def written(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(lines))
    return path


# ---------------------------------------------------------------------- what was written


def test_what_was_written_is_as_written(path: Path) -> None:
    verdict = verify(written(path, *LINES), HEAD)

    assert verdict.ok
    assert verdict.head == HEAD
    assert verdict.head.count == COUNT
    assert verdict.notes == ()


def test_an_empty_log_is_as_written(path: Path) -> None:
    assert verify(written(path), START).message() == {
        "ok": True,
        "count": 0,
        "hash": "0" * 64,
        "findings": [],
        "notes": [],
    }


def test_a_head_of_any_time_is_found_again(path: Path) -> None:
    heads = [log(count)[1] for count in (1, 4, COUNT)]
    assert verify(written(path, *LINES), *heads).ok


def test_a_head_reads_as_it_is_printed() -> None:
    assert Head.parse(str(HEAD)) == HEAD
    for wrong in ("", "8", f"x:{HEAD.hash}", f"8:{HEAD.hash[1:]}", f"8:{HEAD.hash.upper()}"):
        with pytest.raises(ValueError, match="COUNT:HASH"):
            Head.parse(wrong)


def test_a_line_that_is_just_being_written_is_not_looked_at(path: Path) -> None:
    whole = sum(map(len, LINES))
    verdict = verify(written(path, *LINES, LINES[0][:20]), HEAD, most_bytes=whole)
    assert verdict.ok
    assert verdict.notes == ()


# ---------------------------------------------------------------------- what was done to it


@st.composite
def damage(draw: st.DrawFn) -> bytes:
    """Draw a log to which one thing was done."""
    lines = list(LINES)
    at = draw(st.integers(0, COUNT - 1))
    what = draw(st.sampled_from(["change", "insert", "drop", "remove", "repeat", "swap", "cut"]))
    if what == "remove":
        del lines[at]
    elif what == "repeat":
        lines.insert(draw(st.integers(0, COUNT)), lines[at])
    elif what == "swap":
        other = draw(st.integers(0, COUNT - 1).filter(lambda index: index != at))
        lines[at], lines[other] = lines[other], lines[at]
    elif what == "cut":
        return b"".join(lines)[: draw(st.integers(0, sum(map(len, lines)) - 1))]
    else:
        line, place = lines[at], draw(st.integers(0, len(lines[at]) - 1))
        byte = bytes([draw(st.integers(0, 255).filter(lambda new: new != line[place]))])
        middle = {"change": byte, "insert": byte + line[place : place + 1], "drop": b""}[what]
        lines[at] = line[:place] + middle + line[place + 1 :]
    return b"".join(lines)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=damage())
def test_any_single_edit_removal_or_change_of_order_is_found(path: Path, content: bytes) -> None:
    assert not verify(written(path, content), HEAD).ok


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda lines: lines.pop(3), "line 4: entry 5 does not follow entry 3"),
        (lambda lines: lines.insert(3, b"what?\n"), "line 5: the one before it is not as"),
        (lambda lines: lines.pop(), "entry 8, whose hash was kept elsewhere, is not there"),
        (lambda lines: lines.reverse(), "line 1: entry 8 does not follow entry 0"),
    ],
)
def test_a_finding_says_where_to_look(
    path: Path, change: Callable[[list[bytes]], object], finding: str
) -> None:
    lines = list(LINES)
    change(lines)

    verdict = verify(written(path, *lines), HEAD)

    assert not verdict.ok
    assert verdict.findings[0].startswith(finding)


def test_a_log_that_was_written_anew_is_found_by_a_head_noted_elsewhere_and_by_nothing_else(
    path: Path,
) -> None:
    head, lines = START, []
    for _ in range(COUNT):
        line, head = chain.linked({"what": "nothing happened"}, head)
        lines.append(line)

    assert verify(written(path, *lines), head).ok
    (finding,) = verify(path, head, log(4)[1]).findings
    assert finding == "entry 4 is not the one whose hash was kept elsewhere"


# ---------------------------------------------------------------------- what a crash leaves


def with_torn(torn: bytes, told: bytes) -> tuple[list[bytes], Head]:
    line, head = chain.linked({"what": TORN, "digest": digest(told)}, HEAD)
    return [*LINES, torn, line], head


def test_bytes_that_a_crash_has_left_are_noted_if_the_next_entry_tells_of_them(path: Path) -> None:
    lines, head = with_torn(b'{"what": "mo\n', told=b'{"what": "mo\n')

    verdict = verify(written(path, *lines), head)

    assert verdict.ok
    assert verdict.notes == ("line 10: a crash has left 13 bytes before it",)


@pytest.mark.parametrize("torn", [b'{"what": "ma\n', b""], ids=["changed", "removed"])
def test_they_cannot_be_changed_or_removed_either(path: Path, torn: bytes) -> None:
    lines, head = with_torn(torn, told=b'{"what": "mo\n')
    assert not verify(written(path, *lines), head).ok


def test_an_unfinished_line_at_the_end_is_noted(path: Path) -> None:
    verdict = verify(written(path, *LINES, b'{"what": "mo'), HEAD)
    assert verdict.ok
    assert "12 bytes at the end are an unfinished line" in verdict.notes[0]


def test_what_was_found_at_a_start_stays_found_and_what_was_lost_stays_noted(path: Path) -> None:
    broken, head = chain.linked({"what": BROKEN, "detail": "it was cut"}, HEAD)
    lost, head = chain.linked({"what": LOST, "detail": "3 actions"}, head)

    verdict = verify(written(path, *LINES, broken, lost), head)

    assert verdict.findings == ("entry 9: found at a start: it was cut",)
    assert verdict.notes == ("entry 10: 3 actions",)
