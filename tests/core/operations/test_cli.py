"""gently-audit: what it prints, and how it ends."""

from pathlib import Path

import pytest

from gently.core.operations import Action, AuditLog
from gently.core.operations.cli import main


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "audit.ndjson"
    with AuditLog(path) as log:
        for what in ("one", "two", "three"):
            log.record(Action(what=what))
    return path


def test_a_log_as_written_is_said_to_be(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(path)]) == 0

    said = capsys.readouterr().out
    assert said.startswith("3 entries, as written\nhead 3:")
    noted = said.splitlines()[-1].removeprefix("head ")
    assert main(["verify", str(path), "--head", noted]) == 0


def test_what_is_found_is_printed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(path.read_bytes().replace(b'"two"', b'"2wo"'))

    assert main(["verify", str(path)]) == 1

    said = capsys.readouterr().out
    assert "FOUND: line 3: the one before it is not as it was written" in said
    assert "NOT as written" in said


def test_a_head_that_is_missing_is_a_finding(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.with_suffix(".head").unlink()

    assert main(["verify", str(path)]) == 1
    assert "its head is not kept beside it" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(tmp_path / "nothing")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_head_that_is_none_is_an_error(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(path), "--head", "nonsense"])
    assert ended.value.code == 2
    assert "COUNT:HASH" in capsys.readouterr().err
