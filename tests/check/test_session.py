"""A check owns the microscope while it runs, or does not begin; and asks before anything moves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gently.api import PortTakenError, bind
from gently.check import Finding, Group, Report, Status, Step, Talk, check_microscope
from gently.check.cli import _talk
from gently.settings import DeviceLayerSettings
from storage import StoreLock, StoreLockedError
from tests.check.rigs import instrument_file
from tests.e2e.conftest import free_port

NOBODY = Talk("nobody to ask", lambda _step: "not asked")
Kept = list[Report]


@pytest.fixture
def settings(tmp_path: Path) -> DeviceLayerSettings:
    return DeviceLayerSettings(config="twin", storage=tmp_path / "data", port=free_port())


def test_it_does_not_begin_where_the_storage_folder_is_held(settings: DeviceLayerSettings) -> None:
    kept: Kept = []
    holder = {"pid": 1, "address": "http://127.0.0.1:60610"}
    with (
        StoreLock(settings.storage, holder),
        pytest.raises(StoreLockedError, match=r"held by pid 1, address .*60610. End that process"),
    ):
        check_microscope(settings, NOBODY, kept.append)
    assert kept == []


def test_it_does_not_begin_where_a_device_layer_listens(settings: DeviceLayerSettings) -> None:
    with (
        bind(settings.host, settings.port),
        pytest.raises(PortTakenError, match="Another device layer may run"),
    ):
        check_microscope(settings, NOBODY, lambda _report: None)


def test_an_instrument_that_does_not_start_is_a_finding_that_names_the_device(
    settings: DeviceLayerSettings, tmp_path: Path
) -> None:
    wrong = {
        "exposure_limits_ms: [0.25, 10]\n    frame": "exposure_limits_ms: [0.25, 10]\n    frame"
    }
    wrong["label: ZStage:Z:32"] = "label: ZStage:Z:99"
    file = instrument_file(tmp_path, {}, wrong)
    kept: Kept = []
    told: list[Finding] = []
    report = check_microscope(
        settings.model_copy(update={"config": str(file)}),
        Talk("yes to all", lambda _step: "", told.append),
        kept.append,
    )
    assert kept == [report]
    (found,) = report.findings
    assert told == [found]
    assert (found.group, found.status) == (Group.START, Status.FAILED)
    assert "focus has the label 'ZStage:Z:99'" in found.says
    assert report.has_failed
    assert report.ended_early


class AtATerminal:
    def __init__(self, answer: str) -> None:
        self.answer = answer

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self.answer


STEP = Step(Group.AXES, "focus", "Move focus by +5 µm and back?", lambda: iter(()), ("focus",))


@pytest.mark.parametrize(
    ("answer", "refusal"),
    [("y\n", ""), ("Yes\n", ""), ("\n", "declined"), ("n\n", "declined"), ("", "declined")],
)
def test_it_says_what_will_move_and_only_a_yes_is_a_yes(
    answer: str,
    refusal: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", AtATerminal(answer))
    talk = _talk(yes=False)
    assert talk.consent == "asked"
    assert talk.refusal(STEP) == refusal
    assert STEP.question in capsys.readouterr().out


def test_without_a_terminal_nobody_is_asked_and_nothing_is_done() -> None:
    talk = _talk(yes=False)
    assert talk.consent == "nobody to ask"
    assert talk.refusal(STEP).startswith("not asked")
    assert _talk(yes=True).refusal(STEP) == ""


def test_every_step_of_the_twin_says_what_moves_or_shines(
    settings: DeviceLayerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, str] = {}

    def refusal(step: Step) -> str:
        asked[step.name] = step.question
        return "declined"

    report = check_microscope(settings, Talk("asked", refusal), lambda _report: None)
    assert not report.has_failed
    assert "by +20 µm in x and back" in asked["xy_stage"]
    assert "piezo_a, piezo_b sweeping over 4.5 µm" in asked["light_sheet"]
    assert "488 at 2 %: 240 ms of light a view" in asked["light_sheet sweeps"]
    assert "488 at 2 %: 50 ms of light each" in asked["light_sheet"]
    assert "open led" in asked["stop"]
    assert all(question.endswith(("?", ".")) for question in asked.values())
    wanted: Callable[[str], bool] = asked.__contains__
    assert all(map(wanted, ("scanner_a", "lasers", "shutter", "led", "bottom")))
