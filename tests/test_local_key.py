"""The key of this machine: made once, for its owner alone, and never told by accident."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gently import local_key
from gently.local_key import LocalKeyError
from tests import REPOSITORY

HAS_MODES = pytest.mark.skipif(os.name != "posix", reason="only POSIX has these modes")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("GENTLY_API_KEY")
    file = tmp_path / "its" / "folder" / "api-key"
    monkeypatch.setenv("GENTLY_KEY_FILE", str(file))
    return file


def test_there_is_none_until_it_is_made_and_then_it_stays(file: Path) -> None:
    assert local_key.find() is None

    key = local_key.obtain()

    assert len(key) == 72
    assert local_key.find() == local_key.obtain() == file.read_text().strip() == key
    assert local_key.source() == str(file)


@HAS_MODES
def test_only_its_owner_can_read_it_whatever_the_umask(file: Path) -> None:
    before = os.umask(0)
    try:
        local_key.obtain()
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@HAS_MODES
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_one_that_others_can_read_or_write_is_refused_with_the_remedy(
    file: Path, mode: int
) -> None:
    key = local_key.obtain()
    file.chmod(mode)
    with pytest.raises(LocalKeyError, match="chmod 600") as caught:
        local_key.find()
    assert key not in str(caught.value)


def test_where_there_are_no_modes_the_folder_of_the_user_is_what_protects_it(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_key, "_HAS_MODES", False)
    key = local_key.obtain()
    file.chmod(0o644)
    assert local_key.find() == key


def test_programs_that_start_at_the_same_time_agree_on_one(file: Path) -> None:
    together, found = threading.Barrier(8), []

    def begin() -> None:
        together.wait()
        found.append(local_key.obtain())

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_the_environment_wins_and_nothing_is_made(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENTLY_API_KEY", "0123456789abcdef")
    assert local_key.find() == local_key.obtain() == "0123456789abcdef"
    assert local_key.source() == "GENTLY_API_KEY"
    assert not file.exists()


@pytest.mark.parametrize("key", ["short", "0123456789 abcdef", "0123456789\tabcdef", "ключ" * 8])
def test_what_is_no_key_is_refused_without_being_told(
    file: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("GENTLY_API_KEY", key)
    with pytest.raises(LocalKeyError, match="GENTLY_API_KEY has to be at least 16") as caught:
        local_key.find()
    assert key not in str(caught.value)


def test_a_file_that_is_empty_or_no_text_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_key, "_BEING_WRITTEN_S", 0.0)
    local_key.obtain()
    file.write_text("")
    with pytest.raises(LocalKeyError, match="at least 16"):
        local_key.find()
    file.write_bytes(b"\xff" * 40)
    with pytest.raises(LocalKeyError, match="cannot be read"):
        local_key.find()


def test_a_folder_that_cannot_be_made_is_told_with_the_way_out(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no-folder").write_text("")
    monkeypatch.setenv("GENTLY_KEY_FILE", str(tmp_path / "no-folder" / "api-key"))
    with pytest.raises(LocalKeyError, match="GENTLY_KEY_FILE"):
        local_key.obtain()


@HAS_MODES
def test_a_link_that_somebody_has_laid_out_is_not_followed(file: Path, tmp_path: Path) -> None:
    file.parent.mkdir(parents=True)
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalKeyError, match="link to nowhere"):
        local_key.obtain()
    assert not (tmp_path / "elsewhere").exists()


def test_by_itself_it_is_in_the_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENTLY_KEY_FILE", raising=False)
    assert local_key.path().name == "api-key"
    assert local_key.path().is_absolute()
    assert local_key.path().parent.name == "gently"


def test_its_owner_is_the_one_who_is_logged_in_or_the_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    assert local_key.owner()
    monkeypatch.setattr("getpass.getuser", nobody)
    assert local_key.owner() == "operator"


def run() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gently.local_key"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def test_as_a_program_it_prints_the_key(file: Path) -> None:
    key = local_key.obtain()
    assert run().stdout == f"{key}\n"


def test_as_a_program_it_makes_none(file: Path) -> None:
    done = run()
    assert done.returncode == 1
    assert "when it is started" in done.stderr
    assert not file.exists()


def test_as_a_program_it_says_what_is_wrong(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GENTLY_API_KEY", "short")
    assert local_key.main() == 1
    assert "at least 16" in capsys.readouterr().err
