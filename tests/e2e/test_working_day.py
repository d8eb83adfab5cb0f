"""One file of commands, unchanged: on the twin, and on the rig's own configuration."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from devices.twin import sheets
from tests import REPOSITORY
from tests.devices import rig_like
from tests.docs.markdown import DOCS
from tests.e2e.conftest import DeviceLayers, Script

WORKING_DAY = DOCS / "how-to" / "working-day.txt"
LATENCY_MS = 5.0
"""With the rig's 125 it takes two minutes, and is the same."""


def commands() -> list[str]:
    lines = WORKING_DAY.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def work(layer: Script) -> list[Any]:
    """Run the file, and return what each command answered."""
    script = [sys.executable, str(REPOSITORY / "launch_copilot.py"), "--url", layer.url]
    done = subprocess.run(
        [*script, "--run-file", str(WORKING_DAY)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def form(answer: Any) -> Any:
    """Return of what an answer consists, whatever its values are."""
    if isinstance(answer, dict):
        return {key: form(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return [form(value) for value in answer]
    return type(answer).__name__


def volumes(answers: list[Any]) -> list[Any]:
    """Return all volumes that were answered with, in their order."""
    found: list[Any] = []
    for answer in answers:
        found += [answer] if "shape" in answer else answer.get("volumes", [])
    return found


def test_one_file_of_commands_runs_unchanged_on_the_twin_and_on_the_rigs_configuration(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    rig = str(rig_like.write(tmp_path, LATENCY_MS))
    layers = [device_layer("twin", tmp_path / "twin"), device_layer(rig, tmp_path / "rig")]
    with ThreadPoolExecutor(2) as both:
        on_twin, on_rig = both.map(work, layers)
    assert len(on_twin) == len(commands())
    assert [form(answer) for answer in on_rig] == [form(answer) for answer in on_twin]

    for answers, width in ((on_twin, 512), (on_rig, 2048)):
        bottom, *slices = (one["shape"] for one in volumes(answers))
        assert bottom == [1, 2048, 2048]
        assert slices == [[n, 512, width] for n in (1, 6, 6, 6, 6, 3, 3)]
        assert all(Path(one["path"]).exists() for one in volumes(answers))
        embryo = answers[-1]
        assert embryo["focus"]["quality"] == "good"
        assert embryo["volume"]["shape"] == [11, 512, width]
    # The rig's file knows nothing of how its sheets lie: it was measured on the way.
    found = [answer["slope_um_per_deg"] for answer in on_rig if "slope_um_per_deg" in answer]
    true = [sheet.slope_um_per_deg for sheet in sheets(rig_like.SEED).values()]
    assert found == pytest.approx(true, rel=0.01)
