"""One command: JSON for programs, sentences for people, and an exit code that is true."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from gently.agent.image_manager import ImageManager
from gently.agent.journal import Journal
from gently.agent.run_once import Exit, OneCommand
from gently.client import DeviceLayerClient
from gently.core.data_store import DataStore
from storage import VolumeRecord, new_uid
from tests.agent.conftest import returned
from tests.scripted_device_layer import ScriptedDeviceLayer, item_state

Acquire = Callable[[], VolumeRecord]


class Run:
    """Runs commands and keeps what was written."""

    def __init__(
        self, device_layer: DeviceLayerClient, images: ImageManager, journal: Journal
    ) -> None:
        self._out, self._err = io.StringIO(), io.StringIO()
        self._command = OneCommand(
            device_layer,
            images.register,
            images.trace,
            lambda: journal,
            journal.session_id,
            out=self._out,
            err=self._err,
        )

    def __call__(self, line: str) -> Exit:
        return self._command.run(line)

    def file(self, folder: Path, text: str) -> Exit:
        path = folder / "day.txt"
        path.write_text(text, encoding="utf-8")
        return self._command.run_file(path)

    @property
    def answers(self) -> list[Any]:
        return [json.loads(line) for line in self._out.getvalue().splitlines()]

    @property
    def answer(self) -> Any:
        (line,) = self._out.getvalue().splitlines()
        return json.loads(line)

    @property
    def said(self) -> str:
        return self._err.getvalue()

    @property
    def silent(self) -> bool:
        return self._out.getvalue() == ""


@pytest.fixture
def run(device_layer: DeviceLayerClient, images: ImageManager, journal: Journal) -> Run:
    return Run(device_layer, images, journal)


@pytest.fixture
def accepts(server: ScriptedDeviceLayer) -> ScriptedDeviceLayer:
    item = {"item_uid": "i1", "name": "acquire_volume", "kwargs": {}}
    server.answers["POST queue/item/execute"] = {"success": True, "item": item}
    return server


class TestAFinishedVolume:
    def test_is_told_to_programs_and_people_and_registered(
        self, accepts: ScriptedDeviceLayer, run: Run, acquire: Acquire, data_store: DataStore
    ) -> None:
        volume = acquire()
        accepts.answers["GET items/i1"] = [
            item_state("running", progress={"name": "slices", "fraction": 0.5, "seconds_left": 2}),
            item_state("completed", result={"return_value": returned(volume)}),
        ]
        assert run("acquire_volume num_slices=3") is Exit.DONE
        assert run.answer == returned(volume)
        assert f"uid {volume.uid}" in run.said
        assert "50 %, 2 s left" in run.said
        session, prompt, item, run_ = data_store.ancestors(volume.uid)
        assert (session.uid, item.uid, run_.uid) == ("session-1", "i1", "run-1")
        assert prompt.metadata == {"text": "acquire_volume num_slices=3", "who": "ada"}

    def test_that_is_not_seen_from_here_is_done_all_the_same(
        self, accepts: ScriptedDeviceLayer, run: Run, data_store: DataStore
    ) -> None:
        value = {"uid": new_uid(), "path": "/far/v.tif", "shape": [1, 2, 3], "dtype": "uint16"}
        accepts.answers["GET items/i1"] = item_state(
            "completed", result={"return_value": {**value, "session_id": "s"}}
        )
        assert run("acquire_volume") is Exit.DONE
        assert "not registered" in run.said
        assert data_store.find(kind="volume") == []


class TestAnEnd:
    def test_without_a_volume_answers_with_the_plans_value(
        self, accepts: ScriptedDeviceLayer, run: Run
    ) -> None:
        accepts.answers["GET items/i1"] = item_state("completed", result={"return_value": None})
        assert run("read_position") is Exit.DONE
        assert run.answer is None

    @pytest.mark.parametrize("state", ["failed", "aborted", "stopped", "halted", "cancelled"])
    def test_that_is_not_completion_is_a_failure_with_its_reason(
        self, accepts: ScriptedDeviceLayer, run: Run, state: str
    ) -> None:
        accepts.answers["GET items/i1"] = item_state(state, result={"msg": "the camera stalled"})
        assert run("acquire_volume") is Exit.FAILED
        assert run.silent
        assert state in run.said
        assert "the camera stalled" in run.said


class TestARefusal:
    @pytest.mark.parametrize("line", ["", "acquire", "acquire_volume num_slices=x", "stop now"])
    def test_here_is_a_usage_error_and_nothing_is_submitted(
        self, server: ScriptedDeviceLayer, run: Run, line: str
    ) -> None:
        assert run(line) is Exit.USAGE
        assert run.silent
        assert run.said
        assert not [key for key, _ in server.asked if key.startswith("POST")]

    def test_of_a_value_out_of_bounds_is_a_failure_wherever_it_is_found(
        self, server: ScriptedDeviceLayer, run: Run
    ) -> None:
        assert run("acquire_volume num_slices=0") is Exit.FAILED
        assert "num_slices: 0 is refused; give a whole number (1 to 10000)" in run.said
        assert not [key for key, _ in server.asked if key.startswith("POST")]

    def test_there_is_a_failure_that_names_the_field(
        self, server: ScriptedDeviceLayer, run: Run
    ) -> None:
        server.answers["POST queue/item/execute"] = {
            "success": False,
            "msg": "move_stage is refused",
            "errors": [{"field": "x_um", "message": "limits 0 to 10 µm"}],
        }
        assert run("move_stage x_um=11 y_um=0") is Exit.FAILED
        assert "x_um: limits 0 to 10 µm" in run.said

    def test_by_nobody_has_its_own_exit_code(self, images: ImageManager, journal: Journal) -> None:
        with DeviceLayerClient("http://127.0.0.1:9") as nobody:
            run = Run(nobody, images, journal)
            assert run("status") is Exit.UNREACHABLE
        assert "start_device_layer.py" in run.said


class TestTheLineage:
    def test_has_the_command_above_the_item_which_carries_both_ids(
        self, accepts: ScriptedDeviceLayer, run: Run, data_store: DataStore
    ) -> None:
        accepts.answers["GET items/i1"] = item_state("failed", result={"msg": "no light"})
        assert run("acquire_volume num_slices=3") is Exit.FAILED
        session, prompt = data_store.ancestors("i1")
        assert (session.uid, prompt.metadata["text"]) == (
            "session-1",
            "acquire_volume num_slices=3",
        )
        (body,) = [body for key, body in accepts.asked if key == "POST queue/item/execute"]
        assert body["item"]["meta"] == {"prompt_uid": prompt.uid, "session_id": "session-1"}

    @pytest.mark.parametrize("line", ["plans", "aquire", "acquire_volume num_slices=0", "read x"])
    def test_has_a_command_that_caused_nothing(
        self, run: Run, data_store: DataStore, line: str
    ) -> None:
        run(line)
        (prompt,) = data_store.find(kind="prompt")
        assert prompt.metadata["text"] == line
        assert data_store.descendants(prompt.uid) == []

    def test_is_written_after_a_stop_has_stopped(
        self, server: ScriptedDeviceLayer, run: Run, data_store: DataStore
    ) -> None:
        def stop() -> dict[str, Any]:
            assert data_store.find(kind="prompt") == []
            return {"success": True, "devices": {}}

        server.answers["POST stop"] = stop
        assert run("stop") is Exit.DONE
        assert [p.metadata["text"] for p in data_store.find(kind="prompt")] == ["stop"]

    def test_that_cannot_be_written_stops_nothing(
        self, accepts: ScriptedDeviceLayer, run: Run, data_store: DataStore
    ) -> None:
        accepts.answers["GET items/i1"] = item_state("completed", result={"return_value": 5})
        data_store.close()
        assert run("read_position") is Exit.DONE
        assert run.answer == 5
        assert "not recorded in the lineage" in run.said

    def test_is_told_as_json_from_the_session_to_the_volume(
        self, run: Run, acquire: Acquire, server: ScriptedDeviceLayer
    ) -> None:
        volume = acquire()
        assert run(f"lineage {volume.uid}") is Exit.DONE
        assert run.answer["uid"] == volume.uid
        told = [(line["depth"], line["kind"], line["uid"]) for line in run.answer["lineage"]]
        assert told == [
            (0, "session", "session-1"),
            (1, "item", "i1"),
            (2, "run", "run-1"),
            (3, "volume", volume.uid),
        ]
        assert server.asked == []

    def test_of_nothing_is_a_failure(self, run: Run) -> None:
        assert run("lineage nobody") is Exit.FAILED
        assert "nothing is recorded under the uid 'nobody'" in run.said
        assert run.silent


class TestABuiltin:
    def test_answers_with_json(self, server: ScriptedDeviceLayer, run: Run) -> None:
        server.answers["GET status"] = {"manager_state": "idle", "re_state": "idle"}
        assert run("status") is Exit.DONE
        assert run.answer["manager_state"] == "idle"

    def test_of_the_catalogue_has_the_schemas(self, run: Run) -> None:
        assert run("plans") is Exit.DONE
        assert run.answer["move_stage"]["schema"]["required"] == ["x_um", "y_um"]

    def test_stop_asks_for_nothing_else_first(self, server: ScriptedDeviceLayer, run: Run) -> None:
        server.answers["POST stop"] = {"success": True, "devices": {}}
        assert run("stop") is Exit.DONE
        assert [key for key, _ in server.asked] == ["POST stop"]

    def test_stop_that_did_not_stop_everything_is_a_failure(
        self, server: ScriptedDeviceLayer, run: Run
    ) -> None:
        server.answers["POST stop"] = {
            "success": False,
            "devices": {"piezo": {"stopped": False, "error": "no answer"}},
        }
        assert run("stop") is Exit.FAILED
        assert run.answer["devices"]["piezo"]["error"] == "no answer"


class TestAProposal:
    PROPOSAL: Final = {
        "proposal_uid": "p1",
        "digest": "d1",
        "item": {"name": "acquire_volume", "kwargs": {"num_slices": 3}},
        "item_uid": "i1",
        "state": "approved",
        "by": "agent-1",
        "made": 0.0,
        "expires": 0.0,
    }

    def test_is_approved_by_its_digest_and_run_to_its_end(
        self, server: ScriptedDeviceLayer, run: Run
    ) -> None:
        server.answers |= {
            "GET proposals/p1": self.PROPOSAL,
            "POST proposals/p1/approve": self.PROPOSAL,
            "GET items/i1": item_state("completed", result={"return_value": 5}),
        }
        assert run("approve p1 d1") is Exit.DONE
        assert run.answer == 5
        assert ("POST proposals/p1/approve", {"digest": "d1", "execute": True}) in server.asked

    def test_is_not_approved_unseen(self, server: ScriptedDeviceLayer, run: Run) -> None:
        server.answers["GET proposals/p1"] = self.PROPOSAL
        assert run("approve p1") is Exit.USAGE
        assert "approve p1 DIGEST" in run.said

    def test_is_told_to_programs(self, server: ScriptedDeviceLayer, run: Run) -> None:
        server.answers["POST proposals"] = self.PROPOSAL
        assert run("propose acquire_volume num_slices=3") is Exit.DONE
        assert (run.answer["proposal_uid"], run.answer["digest"]) == ("p1", "d1")


@pytest.mark.parametrize(("ok", "code"), [(True, Exit.DONE), (False, Exit.FAILED)])
def test_the_exit_code_of_a_preflight_is_its_verdict(
    server: ScriptedDeviceLayer, run: Run, ok: bool, code: Exit
) -> None:
    server.answers["POST plans/preflight"] = {"plan": "acquire_volume", "ok": ok}
    assert run("preflight acquire_volume") is code
    assert run.answer["ok"] is ok


def test_control_is_not_taken_by_a_command_that_ends(run: Run) -> None:
    assert run("take") is Exit.USAGE
    assert "with client.control()" in run.said


class TestAFileOfCommands:
    def test_is_run_line_by_line_and_each_answers(
        self, accepts: ScriptedDeviceLayer, run: Run, tmp_path: Path
    ) -> None:
        accepts.answers["GET items/i1"] = [
            item_state("completed", result={"return_value": {"n": n}}) for n in (1, 2)
        ]
        text = "# a day\n\nacquire_volume num_slices=3\n  acquire_volume num_slices=4\n"
        assert run.file(tmp_path, text) is Exit.DONE
        assert run.answers == [{"n": 1}, {"n": 2}]
        assert "day.txt:3: acquire_volume num_slices=3" in run.said

    def test_ends_at_the_first_that_is_not_done(
        self, accepts: ScriptedDeviceLayer, run: Run, tmp_path: Path
    ) -> None:
        accepts.answers["GET items/i1"] = item_state("failed", result={"msg": "the camera stalled"})
        assert run.file(tmp_path, "acquire_volume\nacquire_volume\nstatus\n") is Exit.FAILED
        assert [key for key, _ in accepts.asked].count("POST queue/item/execute") == 1
        assert "day.txt:1: ended here; 2 commands were not run" in run.said

    @pytest.mark.parametrize(
        ("line", "code"), [("acquire", Exit.USAGE), ("acquire_volume num_slices=0", Exit.FAILED)]
    )
    def test_is_not_begun_unless_all_of_it_is_understood(
        self, server: ScriptedDeviceLayer, run: Run, tmp_path: Path, line: str, code: Exit
    ) -> None:
        assert run.file(tmp_path, f"acquire_volume\n{line}\n") is code
        assert "day.txt:2" in run.said
        assert "nothing was run" in run.said
        assert not [key for key, _ in server.asked if key.startswith("POST")]

    def test_that_is_not_there_or_empty_is_a_usage_error(self, run: Run, tmp_path: Path) -> None:
        assert run.file(tmp_path, "# nothing\n") is Exit.USAGE
        (tmp_path / "day.txt").unlink()
        assert run._command.run_file(tmp_path / "day.txt") is Exit.USAGE
        assert "cannot be read" in run.said
