"""``gently-check`` as an operator and as CI run it: as a process, with its two reports."""

import subprocess
import sys
from pathlib import Path

from gently.check import Group, Report, Status
from tests import REPOSITORY
from tests.e2e.conftest import free_port


def run(storage: Path, *more: str) -> tuple[subprocess.CompletedProcess[str], Report]:
    command = [sys.executable, "-m", "gently.check", "--config", "twin"]
    where = ["--storage", str(storage), "--port", str(free_port())]
    done = subprocess.run(
        [*command, *where, *more],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    (folder,) = (storage / "checks").iterdir()
    text = (folder / "report.json").read_text(encoding="utf-8")
    html = (folder / "report.html").read_text(encoding="utf-8")
    report = Report.model_validate_json(text)
    for finding in report.findings:
        assert finding.name in html
        assert finding.name in done.stdout
    assert str(folder / "report.html") in done.stdout
    return done, report


def test_a_sound_microscope_passes_when_leave_is_given_to_all(tmp_path: Path) -> None:
    done, report = run(tmp_path, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert report.consent == "yes to all"
    assert report.ended_early == ""
    assert report.counts["failed"] == report.counts["not done"] == 0
    assert {one.group for one in report.findings} == set(Group) - {Group.START}
    assert {one.source for one in report.light} == {"lasers 488", "led"}


def test_without_leave_nothing_is_done_but_reading(tmp_path: Path) -> None:
    done, report = run(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert report.consent == "nobody to ask"
    assert report.light == ()
    acts = (Group.AXES, Group.LIT, Group.DIRECTIONS, Group.VOLUMES, Group.STOP)
    done_or_not = {one.status for one in report.findings if one.group in acts}
    assert done_or_not == {Status.NOT_DONE}
    assert report.counts["ok"] > 30
