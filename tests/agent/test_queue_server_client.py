"""A plan's end becomes exactly one outcome."""

import pytest

from gently.agent.commands import BUILTINS, BuiltinCommand
from gently.agent.image_manager import ImageManager
from gently.agent.queue_server_client import Completed, Ended, Failed, QueueServerClient
from gently.client import DeviceLayerClient
from gently.wire import PlanCall
from storage import new_uid
from tests.agent.catalogue import PLANS
from tests.scripted_device_layer import ScriptedDeviceLayer, item_state


@pytest.fixture
def queue(device_layer: DeviceLayerClient, images: ImageManager) -> QueueServerClient:
    return QueueServerClient(device_layer, images.trace)


def test_a_plan_is_submitted_by_name(server: ScriptedDeviceLayer, queue: QueueServerClient) -> None:
    accepted = {"item_uid": "i1", "name": "acquire_volume", "kwargs": {"num_slices": 3}}
    server.answers["POST queue/item/execute"] = {"success": True, "item": accepted}
    item = queue.submit(PlanCall("acquire_volume", {"num_slices": 3}, {"session_id": "s"}))
    assert item.item_uid == "i1"
    ((_, body),) = server.asked
    assert body["item"]["meta"] == {"session_id": "s"}
    assert body["item"]["kwargs"] == {"num_slices": 3}


def test_a_completed_plan_has_its_value(
    server: ScriptedDeviceLayer, queue: QueueServerClient
) -> None:
    server.answers["GET items/i1"] = item_state("completed", result={"return_value": {"x": 5}})
    outcome = queue.follow("i1")
    assert isinstance(outcome, Completed)
    assert outcome.result.return_value == {"x": 5}
    assert outcome.result.volumes == ()


def test_a_completed_acquisition_has_its_volume(
    server: ScriptedDeviceLayer, queue: QueueServerClient
) -> None:
    value = {"uid": new_uid(), "path": "v.tif", "shape": [3, 4, 5], "dtype": "uint16"}
    server.answers["GET items/i1"] = item_state(
        "completed", result={"return_value": {**value, "session_id": "s"}}
    )
    outcome = queue.follow("i1")
    assert isinstance(outcome, Completed)
    (volume,) = outcome.result.volumes
    assert volume.shape == (3, 4, 5)


def test_a_failed_plan_has_its_reason(
    server: ScriptedDeviceLayer, queue: QueueServerClient
) -> None:
    server.answers["GET items/i1"] = item_state("failed", result={"msg": "the camera stalled"})
    outcome = queue.follow("i1")
    assert isinstance(outcome, Failed)
    assert outcome.reason == "the camera stalled"


@pytest.mark.parametrize("how", ["stopped", "aborted", "halted", "cancelled"])
def test_a_plan_ended_early_says_how(
    server: ScriptedDeviceLayer, queue: QueueServerClient, how: str
) -> None:
    server.answers["GET items/i1"] = item_state(how, result={"msg": "by the operator"})
    outcome = queue.follow("i1")
    assert isinstance(outcome, Ended)
    assert (outcome.how, outcome.reason) == (how, "by the operator")


def test_help_is_about_everything_or_about_one_plan(queue: QueueServerClient) -> None:
    assert queue.ask(BuiltinCommand("help")).keys() == {*BUILTINS, *PLANS}
    assert queue.ask(BuiltinCommand("help", "move_stage")).keys() == {"move_stage"}


def test_pause_and_resume_answer_with_the_status(
    server: ScriptedDeviceLayer, queue: QueueServerClient
) -> None:
    server.answers["POST re/pause"] = {"success": True}
    server.answers["GET status"] = {"manager_state": "paused"}
    assert queue.ask(BuiltinCommand("pause")).manager_state == "paused"
    assert [key for key, _ in server.asked] == ["POST re/pause", "GET status"]
