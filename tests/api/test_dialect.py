"""The routes that Bluesky's own clients speak, on the demo instrument."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from gently.core.device_layer import DeviceLayer
from tests.api.talk import add, ended, execute, get, plan, post
from tests.waiting import until

READ_BY_BLUESKYS_CLIENT = {
    "manager_state",
    "plan_queue_uid",
    "plan_history_uid",
    "run_list_uid",
    "plans_allowed_uid",
    "devices_allowed_uid",
    "plans_existing_uid",
    "devices_existing_uid",
    "task_results_uid",
    "lock_info_uid",
}
ALSO_IN_STATUS = {
    "msg",
    "time",
    "items_in_queue",
    "items_in_history",
    "running_item_uid",
    "queue_stop_pending",
    "queue_autostart_enabled",
    "worker_environment_exists",
    "worker_environment_state",
    "worker_background_tasks",
    "re_state",
    "ip_kernel_state",
    "ip_kernel_captured",
    "pause_pending",
    "status_uid",
    "plan_queue_mode",
    "lock",
}


def waiting(client: TestClient) -> list[str]:
    return [item["item_uid"] for item in get(client, "queue/get")["items"]]


def paused(client: TestClient, option: str = "immediate") -> str:
    uid = execute(client, "sleep", duration_s=30)
    until(lambda: get(client, "status")["re_state"] == "running")
    assert post(client, "re/pause", option=option)["success"]
    until(lambda: get(client, "status")["manager_state"] == "paused")
    return uid


# ---------------------------------------------------------------------- status


@pytest.mark.parametrize("path", ["status", "ping", ""])
def test_status_has_every_key_that_blueskys_client_reads(client: TestClient, path: str) -> None:
    status = get(client, path)

    assert set(status) >= READ_BY_BLUESKYS_CLIENT | ALSO_IN_STATUS
    assert all(status[key] for key in READ_BY_BLUESKYS_CLIENT)  # null would mean "unchanged"
    assert status["manager_state"] == status["re_state"] == "idle"
    assert status["worker_environment_exists"] is True


def test_the_uids_in_status_are_those_of_what_they_stand_for(client: TestClient) -> None:
    status = get(client, "status")

    for path, uid in [
        ("plans/allowed", "plans_allowed_uid"),
        ("devices/allowed", "devices_allowed_uid"),
        ("queue/get", "plan_queue_uid"),
        ("history/get", "plan_history_uid"),
    ]:
        assert get(client, path)[uid] == status[uid]
    assert post(client, "re/runs")["run_list_uid"] == status["run_list_uid"]


def test_status_follows_an_item_through_its_life(client: TestClient) -> None:
    before = get(client, "status")
    uid = execute(client, "sleep", duration_s=30)
    running = get(client, "status")  # no longer idle when execute is answered

    assert (running["manager_state"], running["running_item_uid"]) == ("executing_queue", uid)
    assert running["worker_environment_state"] == "executing_plan"
    assert running["plan_queue_uid"] != before["plan_queue_uid"]

    post(client, "stop")
    after = get(client, "status")
    assert (after["manager_state"], after["running_item_uid"]) == ("idle", None)
    assert after["items_in_history"] == before["items_in_history"] + 1
    assert after["plan_history_uid"] != before["plan_history_uid"]


# ---------------------------------------------------------------------- what there is


def test_each_plan_is_described_as_blueskys_clients_read_it_with_our_schema_beside(
    client: TestClient,
) -> None:
    plans = get(client, "plans/allowed")["plans_allowed"]

    assert set(plans) == {
        "acquire_volume",
        "snap",
        "move_stage",
        "move_focus",
        "read_position",
        "sleep",
        "focus",
        "calibrate_piezo_galvo",
        "acquire_embryo",
        "find_embryos",
        "time_lapse",
        "burst",
        "tile_scan",
        "run_mda",
    }
    move = plans["move_stage"]
    assert move["name"] == "move_stage"
    assert move["description"] == "Move the sample in the plane."
    assert move["properties"] == {"is_generator": True}
    x_um, _, stage = move["parameters"]
    assert x_um == {
        "name": "x_um",
        "kind": {"name": "POSITIONAL_OR_KEYWORD", "value": 1},
        "annotation": {"type": "float"},
        "description": "Where to go in x, in µm.",
        "min": -10000,
        "max": 10000,
    }
    assert stage["default"] == "'xy_stage'"
    assert stage["annotation"] == {"type": "XYStage", "devices": {"XYStage": ["xy_stage"]}}
    on_short = next(p for p in plans["acquire_volume"]["parameters"] if p["name"] == "on_short")
    assert on_short["annotation"] == {"type": "Choice", "enums": {"Choice": ["discard", "keep"]}}
    assert move["schema"]["properties"]["x_um"]["maximum"] == 10000
    assert move["schema"]["additionalProperties"] is False


def test_each_device_says_what_it_can_do_and_how_far(client: TestClient) -> None:
    devices = get(client, "devices/allowed")["devices_allowed"]

    assert set(devices) == {"xy_stage", "focus", "shutter", "camera", "light_sheet", "finder"}
    focus = devices["focus"]
    assert (focus["classname"], focus["label"]) == ("FocusDrive", "Z")
    assert focus["is_readable"] is focus["is_movable"] is True
    assert focus["is_flyable"] is False
    assert focus["limits"] == {"z": {"low": -200, "high": 200, "units": "um"}}
    assert devices["shutter"]["limits"] == {}


# ---------------------------------------------------------------------- queue


def test_items_are_queued_where_they_are_asked_for(client: TestClient) -> None:
    b = add(client, "read_position")

    def placed(**where: Any) -> str:
        answer = post(client, "queue/item/add", item=plan("read_position"), **where)
        assert answer["success"], answer
        return str(answer["item"]["item_uid"])

    a = placed(pos="front")
    e = placed(pos="back")
    c = placed(after_uid=b)
    d = placed(before_uid=e)
    f = placed(pos=10**30)
    z = placed(pos=-(10**30))
    y = placed(pos=1)
    x = placed(pos=-2)

    assert waiting(client) == [z, y, a, b, c, d, e, x, f]
    assert get(client, "status")["items_in_queue"] == 9


def test_an_added_item_is_answered_as_it_was_queued(client: TestClient) -> None:
    meta = {"session_id": "a-session", "sample": "embryo"}

    answer = post(
        client, "queue/item/add", item={**plan("move_focus", z_um=5), "meta": meta, "user": "x"}
    )

    item = answer["item"]
    assert (answer["success"], answer["msg"], answer["qsize"]) == (True, "", 1)
    assert len(item["item_uid"]) == 32
    assert (item["name"], item["kwargs"], item["meta"]) == ("move_focus", {"z_um": 5}, meta)
    assert get(client, "queue/get")["items"] == [item]


def test_a_waiting_item_is_got_by_place_or_uid_in_the_body_or_the_query(
    client: TestClient,
) -> None:
    first, second = add(client, "read_position"), add(client, "snap")

    def got(**which: Any) -> str:
        in_query = client.get("/api/queue/item/get", params=which).json()
        in_body = client.request("GET", "/api/queue/item/get", json=which).json()
        assert in_query == in_body
        return str(in_body["item"]["item_uid"])

    assert got() == got(pos="back") == got(pos=-1) == got(pos=1) == got(uid=second) == second
    assert got(pos="front") == got(pos=0) == got(uid=first) == first
    assert not get(client, "queue/item/get", pos=2)["success"]
    assert not get(client, "queue/item/get", uid="nobody")["success"]


def test_a_waiting_item_can_be_removed_and_all_of_them_cleared(client: TestClient) -> None:
    first, second, third = (add(client, "read_position") for _ in range(3))

    assert post(client, "queue/item/remove", uid=second)["qsize"] == 2
    assert waiting(client) == [first, third]
    assert not post(client, "queue/item/remove", uid=second)["success"]
    assert post(client, "queue/item/remove")["item"]["item_uid"] == third
    assert post(client, "queue/clear")["success"]
    assert waiting(client) == []


def test_the_queue_runs_in_order_to_its_end(client: TestClient) -> None:
    uids = [add(client, "move_focus", z_um=z_um) for z_um in (1, 2, 3)]

    assert post(client, "queue/start")["success"]

    assert ended(client, uids[-1])["state"] == "completed"
    history = get(client, "history/get")
    assert [item["item_uid"] for item in history["items"]] == uids
    assert [item["item_uid"] for item in get(client, "history/get", size=2)["items"]] == uids[1:]
    assert get(client, "history/get", size=0)["items"] == []
    assert len(get(client, "history/get", size=5)["items"]) == 3
    assert post(client, "history/clear")["success"]
    assert get(client, "history/get")["items"] == []


def test_the_queue_can_be_told_to_stop_after_the_present_item_and_to_go_on(
    client: TestClient,
) -> None:
    for _ in range(2):
        add(client, "sleep", duration_s=30)
    post(client, "queue/start")

    assert post(client, "queue/stop")["success"]
    assert get(client, "status")["queue_stop_pending"] is True
    assert post(client, "queue/stop/cancel")["success"]
    assert get(client, "status")["queue_stop_pending"] is False


def test_an_empty_queue_is_started_and_at_its_end_at_once(client: TestClient) -> None:
    assert post(client, "queue/start")["success"]
    assert get(client, "status")["manager_state"] == "idle"


def test_what_cannot_be_now_is_answered_with_the_reason(client: TestClient) -> None:
    def refused(path: str, **body: Any) -> str:
        answer = post(client, path, **body)
        assert answer["success"] is False
        return str(answer["msg"])

    assert "not running" in refused("queue/stop")
    for order in ("pause", "resume", "stop", "abort", "halt"):
        assert refused(f"re/{order}")
    execute(client, "sleep", duration_s=30)
    assert "busy with sleep" in refused("queue/start")
    assert "busy with sleep" in refused("queue/item/execute", item=plan("snap"))
    for order in ("resume", "stop", "abort", "halt"):
        assert "paused" in refused(f"re/{order}")


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("item", "field", "says"),
    [
        (plan("move_stage", x_um=10_001, y_um=0), "x_um", "-10000 to 10000 µm"),
        (plan("move_stage", x_um=0, y_um=-1e9), "y_um", "-10000 to 10000 µm"),
        (plan("move_focus", z_um=201), "z_um", "-200 to 200 µm"),
        (plan("move_focus", z_um="20"), "z_um", "valid number, not '20'"),
        (plan("move_focus", z_um=True), "z_um", "valid number"),
        (plan("move_focus", z_um=None), "z_um", "valid number"),
        (plan("move_focus"), "z_um", "missing"),
        (plan("move_focus", z_um=1, speed=2), "speed", "known are: z_um, drive"),
        (plan("move_focus", z_um=1, drive="piezo"), "drive", "(focus)"),
        (plan("move_focus", z_um=1, drive="xy_stage"), "drive", "(focus)"),
        (plan("snap", exposure_ms=0), "exposure_ms", "0.1 to 10000 ms"),
        (plan("acquire_volume", num_slices=0), "num_slices", "greater than or equal to 1"),
        (plan("acquire_volume", num_slices=2.5), "num_slices", "integer"),
        (plan("acquire_volume", num_slices=1000, step_um=1), "step_um", "does not fit"),
        (plan("sleep", duration_s=-1), "duration_s", "greater than or equal to 0"),
        (plan("count"), "name", "acquire_volume"),
        ({"item_type": "function", "name": "sleep"}, "item_type", "uploaded code never runs"),
        ({**plan("move_focus", z_um=1), "args": [2]}, "z_um", "given twice"),
        ({**plan("snap"), "meta": {"uid": "mine"}}, "meta.uid", "by Bluesky"),
        ({**plan("snap"), "meta": {"session_id": "s" * 201}}, "meta.session_id", "200"),
        ({**plan("snap"), "meta": {"a.b": 1}}, "meta", "a.b"),
        ({"item_type": "plan"}, "item.name", "missing"),
        ({**plan("snap"), "kwargs": [1]}, "item.kwargs", "dictionary"),
        ("snap", "item", "dictionary"),
    ],
)
@pytest.mark.parametrize("path", ["queue/item/add", "queue/item/execute"])
def test_a_plan_that_must_not_run_is_refused_by_field_before_anything_moves(
    client: TestClient, layer: DeviceLayer, path: str, item: Any, field: str, says: str
) -> None:
    where = layer.read_device("xy_stage")["readings"]["xy_stage_x"]["value"]
    before = get(client, "status")

    answer = post(client, path, item=item)

    (error,) = answer["errors"]
    assert answer["success"] is False
    assert error["field"] == field
    assert says in error["message"]
    assert error["message"] in answer["msg"]
    assert answer["item"] == item
    after = get(client, "status")
    assert after["plan_queue_uid"] == before["plan_queue_uid"]
    assert layer.read_device("xy_stage")["readings"]["xy_stage_x"]["value"] == where


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + 400 * "0"])
def test_what_is_no_finite_number_is_refused_though_json_lets_it_through(
    client: TestClient, number: str
) -> None:
    body = f'{{"item": {{"name": "move_focus", "kwargs": {{"z_um": {number}}}}}}}'

    response = client.post("/api/queue/item/add", content=body)

    assert response.status_code == 200
    answer = response.json()
    assert answer["success"] is False
    assert [error["field"] for error in answer["errors"]] == ["z_um"]


def test_a_place_that_is_none_is_refused(client: TestClient) -> None:
    places: list[dict[str, Any]] = [
        {"pos": "middle"},
        {"pos": 1.5},
        {"before_uid": "nobody"},
        {"after_uid": 5},
    ]
    for where in places:
        answer = post(client, "queue/item/add", item=plan("snap"), **where)
        assert answer["success"] is False
        assert answer["msg"]
    assert waiting(client) == []


# ---------------------------------------------------------------------- results


def test_a_finished_item_is_in_the_history_with_its_result(client: TestClient) -> None:
    uid = execute(client, "move_stage", x_um=12, y_um=-3)
    ended(client, uid)

    (item,) = get(client, "history/get")["items"]

    result = item["result"]
    assert item["item_uid"] == uid
    assert result["exit_status"] == "completed"
    assert result["return_value"]["xy_stage_x"]["units"] == "um"
    assert result["return_value"]["xy_stage_x"]["value"] == pytest.approx(12, abs=0.1)
    assert result["time_start"] <= result["time_stop"]
    assert result["run_uids"] == result["scan_ids"] == []


def test_a_volume_is_answered_by_uid_and_never_by_pixels(client: TestClient) -> None:
    uid = execute(client, "acquire_volume", num_slices=3, exposure_ms=1, step_um=1)

    found = ended(client, uid)

    value = found["result"]["return_value"]
    assert found["state"] == "completed"
    assert set(value) == {"uid", "path", "shape", "dtype", "session_id"}
    assert (value["shape"], value["dtype"]) == ([3, 512, 512], "uint16")
    assert value["session_id"] == get(client, "settings")["session_id"]
    for path in (f"volumes/{value['uid']}", "history/get", f"items/{uid}"):
        assert len(client.get(f"/api/{path}").content) < 2048, path


# ---------------------------------------------------------------------- RunEngine


@pytest.mark.parametrize("option", ["immediate", "deferred"])
def test_a_plan_can_be_paused_and_resumed(client: TestClient, option: str) -> None:
    uid = paused(client, option)

    assert get(client, f"items/{uid}")["state"] == "paused"
    assert get(client, "status")["re_state"] == "paused"
    assert post(client, "re/resume")["success"]
    assert get(client, "status")["manager_state"] == "executing_queue"
    assert get(client, f"items/{uid}")["state"] == "running"


@pytest.mark.parametrize(
    ("order", "state"), [("abort", "aborted"), ("stop", "stopped"), ("halt", "halted")]
)
def test_a_paused_plan_can_be_ended(client: TestClient, order: str, state: str) -> None:
    uid = paused(client)

    assert post(client, f"re/{order}")["success"]

    assert ended(client, uid)["state"] == state


def test_a_pause_of_an_unknown_kind_is_refused(client: TestClient) -> None:
    answer = post(client, "re/pause", option="later")

    assert answer["success"] is False
    assert answer["errors"][0]["field"] == "option"


def test_the_runs_of_the_present_item_are_listed_open_and_closed(client: TestClient) -> None:
    uid = execute(client, "snap", exposure_ms=1)
    (run_uid,) = ended(client, uid)["result"]["run_uids"]

    (run,) = post(client, "re/runs")["run_list"]

    assert run["uid"] == run_uid
    assert (run["is_open"], run["exit_status"]) == (False, "success")
    assert post(client, "re/runs", option="closed")["run_list"] == [run]
    assert get(client, "re/runs/active")["run_list"] == [run]
    assert get(client, "re/runs/closed")["run_list"] == [run]
    assert get(client, "re/runs/open")["run_list"] == []
    assert post(client, "re/runs", option="all")["success"] is False
