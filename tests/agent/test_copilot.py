"""The terminal, driven through a pipe as if a person typed."""

import _thread
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput
from rich.console import Console

from gently.agent.copilot import CatalogueCompleter, Copilot
from gently.agent.image_manager import ImageManager
from gently.agent.journal import Journal
from gently.client import DeviceLayerClient
from gently.core.data_store import DataStore
from storage import VolumeRecord
from tests.agent.catalogue import PLANS
from tests.agent.conftest import returned
from tests.scripted_device_layer import ScriptedDeviceLayer, item_state

PAGE = "http://127.0.0.1:8080/"
LINK = f"{PAGE}enter?ticket=a-secret"
CTRL_C = "\x03"
ESC = "\x1b"


class Terminal:
    """A copilot whose keys and screen are the test's."""

    def __init__(
        self,
        keys: PipeInput,
        device_layer: DeviceLayerClient,
        journal: Journal,
        images: ImageManager,
    ) -> None:
        self._keys = keys
        self._screen = io.StringIO()
        console = Console(file=self._screen, width=100)
        self._copilot = Copilot(
            device_layer, journal, images.trace, page_url=PAGE, page_link=LINK, console=console
        )

    def type(self, *lines: str) -> str:
        """Type the lines, leave, and return all that was shown."""
        self._keys.send_text("".join(f"{line}\r" for line in (*lines, "quit")))
        self._copilot.run()
        return self._screen.getvalue()


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield keys


@pytest.fixture
def terminal(
    keys: PipeInput, device_layer: DeviceLayerClient, journal: Journal, images: ImageManager
) -> Terminal:
    return Terminal(keys, device_layer, journal, images)


@pytest.fixture
def accepts(server: ScriptedDeviceLayer) -> ScriptedDeviceLayer:
    item = {"item_uid": "i1", "name": "acquire_volume", "kwargs": {}}
    server.answers["POST queue/item/execute"] = {"success": True, "item": item}
    return server


def test_a_finished_volume_is_shown_with_its_page(
    accepts: ScriptedDeviceLayer, terminal: Terminal, acquire: Callable[[], VolumeRecord]
) -> None:
    volume = acquire()
    accepts.answers["GET items/i1"] = [
        item_state("running", progress={"name": "slices", "fraction": 0.5, "seconds_left": 2}),
        item_state("completed", result={"return_value": returned(volume)}),
    ]
    shown = terminal.type("acquire_volume num_slices=3").splitlines()
    for fact in (
        f"  uid     {volume.uid}",
        "  pixels  3 × 16 × 24 uint16",
        f"  file    {volume.path}",
        f"  page    {PAGE}#{volume.uid}",
    ):
        assert fact in shown


@pytest.mark.parametrize(
    ("state", "words"),
    [("failed", "acquire_volume failed: no light"), ("stopped", "was stopped: no light")],
)
def test_an_end_that_is_no_completion_is_shown_with_its_reason(
    accepts: ScriptedDeviceLayer, terminal: Terminal, state: str, words: str
) -> None:
    accepts.answers["GET items/i1"] = item_state(state, result={"msg": "no light"})
    assert words in terminal.type("acquire_volume")


def test_a_mistake_is_explained_and_the_next_line_is_read(
    server: ScriptedDeviceLayer, terminal: Terminal
) -> None:
    server.answers["GET status"] = {"manager_state": "idle", "re_state": "idle"}
    shown = terminal.type("aquire_volume", "", "status")
    assert "Did you mean acquire_volume?" in shown
    assert "idle" in shown


PROPOSAL = {
    "proposal_uid": "p1",
    "digest": "d1",
    "item": {"name": "acquire_volume", "kwargs": {"num_slices": 3}},
    "item_uid": "i1",
    "state": "proposed",
    "by": "agent-1",
    "note": "look at cell 7",
    "made": 0.0,
    "expires": 0.0,
}
DETECTION = {
    "detection_uid": "d9",
    "state": "completed",
    "source_uid": "v1",
    "detector": "sam",
    "result": {
        "path": "d9.tif",
        "detector": "classical",
        "fallback_reason": "no checkpoint",
        "on_stage": True,
        "objects": [
            {
                "label": 1,
                "name": "embryo 3",
                "x_um": 12.5,
                "y_um": -3,
                "row_px": 1,
                "column_px": 2,
                "area_um2": 900,
                "length_um": 50,
                "width_um": 30,
                "scores": {"classical": 0.8},
                "mask": "classical",
                "certain": False,
            }
        ],
        "absent": ["embryo 2"],
        "seconds": 0.4,
    },
}
ANSWERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "help": ({}, ["read device", "acquire_volume", "[num_slices]", "leave the copilot"]),
    "help move_stage": ({}, ["x_um", "a number (-5000 to 5000)", "(required)"]),
    "help stop": ({}, ["turn the light off"]),
    "plans": ({}, ["move_stage", "x_um y_um"]),
    "devices": ({}, ["xy_stage"]),
    "read focus": (
        {
            "GET devices/focus/read": {
                "name": "focus",
                "readings": {"focus": {"value": 12.5, "units": "um", "age_s": 0.25}},
                "stale": True,
            }
        },
        ["12.5 um", "0.2 s ago", "stale"],
    ),
    "status": (
        {"GET status": {"manager_state": "executing_queue", "running_item_uid": "i7"}},
        ["executing_queue", "item i7"],
    ),
    "volumes": ({"GET volumes": {"volumes": []}}, ["no volumes yet"]),
    "detect v1 sam": (
        {"POST detections": {**DETECTION, "state": "queued"}, "GET detections/d9": DETECTION},
        ["embryo 3", "12.5", "uncertain", "label image d9", "classical: no checkpoint", "embryo 2"],
    ),
    "stop": (
        {
            "POST stop": {
                "success": False,
                "devices": {
                    "xy_stage": {
                        "stopped": True,
                        "readings": {"xy_stage_x": {"value": 5.0, "units": "um"}},
                    },
                    "piezo": {"stopped": False, "error": "no answer"},
                },
            }
        },
        ["NOT everything stopped", "xy_stage stopped (xy_stage_x 5.0 um)", "no answer"],
    ),
    "pause": (
        {"POST re/pause": {"success": True}, "GET status": {"manager_state": "paused"}},
        ["paused"],
    ),
    "resume": ({"POST re/resume": {"success": False, "msg": "nothing is paused"}}, ["nothing is"]),
    "preflight acquire_volume num_slices=3": (
        {
            "POST plans/preflight": {
                "plan": "acquire_volume",
                "ok": False,
                "is_whole": True,
                "seconds": 2.5,
                "refusals": [{"field": "num_slices", "message": "the disk is full", "step": 7}],
            }
        },
        ["acquire_volume is refused", "takes 2.5 s", "num_slices: the disk is full (step 7)"],
    ),
    "propose acquire_volume num_slices=3": (
        {"POST proposals": PROPOSAL},
        ["proposal  p1", "acquire_volume num_slices=3", "agent-1 (look at cell 7)", "d1"],
    ),
    "proposals": ({"GET proposals": {"proposals": [PROPOSAL]}}, ["proposal  p1", "digest    d1"]),
    "reject p1 too bright": (
        {
            "POST proposals/p1/reject": {
                **PROPOSAL,
                "state": "rejected",
                "decided_by": "ada",
                "reason": "too bright",
            }
        },
        ["rejected by ada: too bright"],
    ),
    "control": (
        {"GET control": {"number": 3, "holder": "ada", "kind": "person", "note": "mosaic"}},
        ["ada, a person, has control (mosaic)"],
    ),
    "queue": (
        {
            "GET queue/get": {
                "items": [{"item_uid": "i2", "name": "gone", "kwargs": {"note": "a b", "n": 5}}],
                "running_item": {"item_uid": "i1", "name": "snap"},
            }
        },
        ["runs", "snap", "i1", "waits", "gone 'note=a b' n=5", "i2"],
    ),
    "history": (
        {
            "GET history/get": {
                "items": [
                    {
                        "item_uid": "i1",
                        "name": "snap",
                        "result": {"exit_status": "failed", "msg": "no light", "time_stop": 0},
                    }
                ]
            }
        },
        ["failed", "snap", "no light"],
    ),
}


@pytest.mark.parametrize("line", ANSWERS)
def test_every_builtin_shows_its_answer(
    server: ScriptedDeviceLayer, terminal: Terminal, line: str
) -> None:
    answers, words = ANSWERS[line]
    server.answers |= answers
    shown = terminal.type(line)
    for word in words:
        assert word in shown


def test_volumes_are_listed_by_uid(
    server: ScriptedDeviceLayer, terminal: Terminal, acquire: Callable[[], VolumeRecord]
) -> None:
    volume = acquire()
    server.answers["GET volumes"] = {"volumes": [volume.metadata()]}
    shown = terminal.type("volumes")
    assert volume.uid in shown
    assert "session-1" in shown


def test_every_line_is_recorded_above_what_it_caused(
    accepts: ScriptedDeviceLayer, terminal: Terminal, data_store: DataStore
) -> None:
    accepts.answers["GET items/i1"] = item_state("completed", result={"return_value": None})
    terminal.type("acquire_volume num_slices=3", "", "aquire")
    prompts = data_store.find(kind="prompt")
    assert [p.metadata["text"] for p in prompts] == [
        "quit",
        "aquire",
        "acquire_volume num_slices=3",
    ]
    assert [r.uid for r in data_store.descendants("session-1", kinds=["item"])] == ["i1"]
    (body,) = [body for key, body in accepts.asked if key == "POST queue/item/execute"]
    assert body["item"]["meta"] == {"prompt_uid": prompts[-1].uid, "session_id": "session-1"}


def test_the_lineage_is_shown_as_a_tree(
    terminal: Terminal, acquire: Callable[[], VolumeRecord], data_store: DataStore
) -> None:
    volume = acquire()
    data_store.begin_session("session-1", title="heat shock [10 min]")
    data_store.add("prompt", "p1", {"text": "acquire_volume"}, parents=["session-1"])
    data_store.add("item", "i1", {"name": "acquire_volume"}, parents=["p1"])
    data_store.add("mask", "m1", {"path": "gone"})
    shown = terminal.type(f"lineage {volume.uid}", "lineage nobody")
    lines = shown.splitlines()
    tree = [line[:60] for line in lines if any(k in line for k in ("session", "─"))]
    assert tree[0].startswith("session session-1  heat shock [10 min]")
    assert tree[1].startswith("└── prompt p1  acquire_volume")
    assert tree[2].startswith("    └── item i1  acquire_volume")
    assert tree[3].startswith("        └── run run-1")
    assert tree[4].startswith(f"            └── volume {volume.uid}")
    assert "3 × 16 × 24 uint16" in shown
    assert "nothing is recorded under the uid 'nobody'" in shown


def test_a_lineage_tells_what_is_deleted_missing_or_of_several_origins(
    terminal: Terminal, data_store: DataStore, storage: Path
) -> None:
    table = storage / "table.csv"
    table.write_text("a,b\n")
    for name in ("a", "b"):
        data_store.add("volume", name)
        data_store.delete(name, f"{name} is out of focus")
    data_store.derive("0" * 32, "table", ["a", "b"], table)
    table.unlink()
    shown = terminal.type("lineage " + "0" * 32)
    assert "deleted: a is out of focus" in shown
    assert "deleted: b is out of focus" in shown
    assert "of a, b" in shown
    assert "MISSING" in shown


class TestWhileAPlanIsFollowed:
    @pytest.fixture(autouse=True)
    def follows(self, accepts: ScriptedDeviceLayer) -> ScriptedDeviceLayer:
        """A plan that runs until it is stopped."""

        def state() -> dict[str, Any]:
            is_stopped = "POST stop" in [key for key, _ in accepts.asked]
            return item_state("stopped", result={}) if is_stopped else item_state("running")

        accepts.answers["GET items/i1"] = state
        accepts.answers["POST stop"] = {"success": True, "devices": {}}
        return accepts

    def test_esc_twice_stops_the_microscope_and_the_end_is_shown(self, terminal: Terminal) -> None:
        shown = terminal.type(f"acquire_volume\r{ESC}{ESC}help stop")
        assert "everything stopped" in shown
        assert "acquire_volume was stopped" in shown
        assert "turn the light off" in shown, "what was typed meanwhile is not lost"

    def test_esc_once_stops_nothing(self, follows: ScriptedDeviceLayer, terminal: Terminal) -> None:
        shown = terminal.type(f"acquire_volume\r{ESC}{CTRL_C}l")
        assert "POST stop" not in [key for key, _ in follows.asked]
        assert "goes on as item i1" in shown

    def test_ctrl_c_then_s_stops_the_microscope_and_waits_for_the_end(
        self, terminal: Terminal
    ) -> None:
        shown = terminal.type(f"acquire_volume\r{CTRL_C}s")
        assert "everything stopped" in shown
        assert "acquire_volume was stopped" in shown

    @pytest.mark.parametrize("answer", ["l", "", "what?", CTRL_C])
    def test_ctrl_c_then_anything_else_leaves_it_running(
        self, follows: ScriptedDeviceLayer, terminal: Terminal, answer: str
    ) -> None:
        shown = terminal.type(f"acquire_volume\r{CTRL_C}{answer}")
        assert "POST stop" not in [key for key, _ in follows.asked]
        assert "goes on as item i1" in shown

    def test_a_signal_is_as_good_as_ctrl_c(
        self, follows: ScriptedDeviceLayer, terminal: Terminal
    ) -> None:
        def interrupt() -> dict[str, Any]:
            _thread.interrupt_main()
            return item_state("running")

        follows.answers["GET items/i1"] = [interrupt, item_state("running")]
        assert "goes on as item i1" in terminal.type("acquire_volume\rl")


class TestApproving:
    @pytest.fixture(autouse=True)
    def proposed(self, server: ScriptedDeviceLayer) -> None:
        server.answers |= {
            "GET proposals/p1": PROPOSAL,
            "POST proposals/p1/approve": {**PROPOSAL, "state": "approved"},
            "GET items/i1": item_state("completed", result={"return_value": None}),
        }

    def test_shows_what_is_approved_and_sends_the_digest_of_exactly_that(
        self, server: ScriptedDeviceLayer, terminal: Terminal, data_store: DataStore
    ) -> None:
        shown = terminal.type("approve p1", "y")
        assert "acquire_volume num_slices=3" in shown
        assert ("POST proposals/p1/approve", {"digest": "d1", "execute": True}) in server.asked
        assert "acquire_volume is done" in shown
        assert [r.uid for r in data_store.find(kind="item")] == ["i1"]

    @pytest.mark.parametrize("answer", ["", "n", "what?", CTRL_C])
    def test_needs_a_clear_yes(
        self, server: ScriptedDeviceLayer, terminal: Terminal, answer: str
    ) -> None:
        assert "Not approved" in terminal.type("approve p1", answer)
        assert "POST proposals/p1/approve" not in [key for key, _ in server.asked]

    def test_by_its_digest_asks_no_question(
        self, server: ScriptedDeviceLayer, terminal: Terminal
    ) -> None:
        terminal.type("approve p1 d0")
        assert ("POST proposals/p1/approve", {"digest": "d0", "execute": True}) in server.asked


class TestControl:
    @pytest.fixture(autouse=True)
    def gives(self, server: ScriptedDeviceLayer) -> None:
        ada = {"number": 7, "holder": "ada", "kind": "person"}
        server.answers |= {
            "GET control": ada,
            "POST control/acquire": ada,
            "POST control/release": {"number": 7},
            "POST re/pause": {"success": True},
            "GET status": {"manager_state": "paused"},
        }

    def test_is_kept_from_take_to_release(
        self, server: ScriptedDeviceLayer, terminal: Terminal
    ) -> None:
        shown = terminal.type("take", "pause", "release", "pause")
        assert "ada, a person, has control" in shown
        assert server.leases == [("POST re/pause", "7"), ("POST control/release", "7")]

    def test_is_given_back_when_the_copilot_leaves(
        self, server: ScriptedDeviceLayer, terminal: Terminal
    ) -> None:
        terminal.type("takeover")
        assert [b["take_over"] for k, b in server.asked if k == "POST control/acquire"] == [True]
        assert server.leases == [("POST control/release", "7")]

    def test_that_somebody_else_has_is_refused_with_their_name(
        self, server: ScriptedDeviceLayer, terminal: Terminal
    ) -> None:
        server.answers["POST control/acquire"] = (409, {"detail": "ben has the microscope"})
        assert "ben has the microscope" in terminal.type("take")


class TestAtThePrompt:
    def test_esc_twice_stops_the_microscope_and_the_line_stays(
        self, server: ScriptedDeviceLayer, terminal: Terminal
    ) -> None:
        server.answers["POST stop"] = {"success": True, "devices": {}}
        shown = terminal.type(f"help{ESC}{ESC} stop")
        assert "POST stop" in [key for key, _ in server.asked]
        assert "everything stopped" in shown
        assert "turn the light off" in shown

    def test_esc_twice_says_when_nobody_is_there_to_stop(
        self, keys: PipeInput, journal: Journal, images: ImageManager
    ) -> None:
        with DeviceLayerClient("http://127.0.0.1:9") as nobody:
            shown = Terminal(keys, nobody, journal, images).type(f"{ESC}{ESC}")
        assert "python start_device_layer.py" in shown

    def test_ctrl_c_stops_nothing(self, server: ScriptedDeviceLayer, terminal: Terminal) -> None:
        shown = terminal.type(f"half a line{CTRL_C}")
        assert "Nothing is stopped by this" in shown
        assert not [key for key, _ in server.asked if key.startswith("POST")]


def test_the_end_of_the_input_leaves(
    keys: PipeInput, device_layer: DeviceLayerClient, journal: Journal, images: ImageManager
) -> None:
    copilot = Copilot(device_layer, journal, images.trace, console=Console(file=io.StringIO()))
    keys.send_text("\x04")
    copilot.run()


def test_without_a_device_layer_each_command_says_how_to_start_it(
    keys: PipeInput, journal: Journal, images: ImageManager
) -> None:
    with DeviceLayerClient("http://127.0.0.1:9") as nobody:
        shown = Terminal(keys, nobody, journal, images).type("acquire_volume", "stop")
    assert shown.count("python start_device_layer.py") == 2


def test_completion_replaces_the_word_before_the_cursor() -> None:
    completer = CatalogueCompleter()
    completer.plans = PLANS
    document = Document("acquire_volume num")
    (completion,) = completer.get_completions(document, CompleteEvent())
    assert (completion.text, completion.start_position) == ("num_slices=", -3)
    assert completion.display_meta_text == "a whole number (1 to 10000)"


def test_it_shows_the_link_to_the_page_once_and_says_elsewhere_where_the_page_is(
    terminal: Terminal,
) -> None:
    assert terminal.type().count(LINK) == 1
