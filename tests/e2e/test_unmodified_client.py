"""Bluesky's own client, unmodified, works through every one of its calls.

The client raises `RequestFailedError` where an answer says ``"success": false``, keeps what it
has read until a uid of the status changes, and waits by polling the status.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bluesky_queueserver_api import BFunc, BInst, BPlan
from bluesky_queueserver_api.http import REManagerAPI
from bluesky_queueserver_api.http.aio import REManagerAPI as AsyncREManagerAPI

from tests import API_KEY
from tests.e2e.conftest import DeviceLayers, Script

WAIT_S = 30


class Walk:
    """A client, and how many of its calls were made."""

    def __init__(self, url: str) -> None:
        self.client = REManagerAPI(http_server_uri=url)
        self.client.set_authorization_key(api_key=API_KEY)
        self.steps = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self.client, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.steps += 1
            return call(*args, **kwargs)

        return counted

    def refused(self, name: str, *args: Any, **kwargs: Any) -> str:
        """Make a call that is refused; return the reason."""
        with pytest.raises(self.client.RequestFailedError) as caught:
            getattr(self, name)(*args, **kwargs)
        return str(caught.value)

    def names(self) -> list[str]:
        return [item["name"] for item in self.queue_get()["items"]]

    def uids(self) -> list[str]:
        return [item["item_uid"] for item in self.queue_get()["items"]]


@contextmanager
def walk(layer: Script) -> Iterator[Walk]:
    found = Walk(layer.url)
    try:
        yield found
    finally:
        found.client.close()


def sleep(duration_s: float = 0.01) -> BPlan:
    return BPlan("sleep", duration_s=duration_s)


# ---------------------------------------------------------------------- the parts of the walk


def look_around(rm: Walk) -> None:
    assert rm.ping()["manager_state"] == rm.status()["manager_state"] == "idle"
    assert rm.config_get()["config"] == {"ip_connect_info": {}}
    assert "acquire_volume" in rm.plans_allowed()["plans_allowed"]
    assert set(rm.plans_existing()["plans_existing"]) == set(rm.plans_allowed()["plans_allowed"])
    assert "focus" in rm.devices_allowed()["devices_allowed"]
    assert "focus" in rm.devices_existing()["devices_existing"]
    permissions = rm.permissions_get()["user_group_permissions"]
    assert rm.permissions_set(permissions)["success"]
    assert "fixed" in rm.refused("permissions_set", {"user_groups": {}})
    assert rm.permissions_reload()["success"]


def ask_of_the_environment(rm: Walk) -> None:
    assert rm.status()["worker_environment_exists"]
    assert "open already" in rm.refused("environment_open")
    assert "device layer itself" in rm.refused("environment_close")
    assert "device layer itself" in rm.refused("environment_destroy")
    task = rm.environment_update()["task_uid"]
    assert rm.wait_for_completed_task(task, timeout=WAIT_S) == {task: "completed"}
    assert rm.task_status([task, "nobody"])["status"] == {task: "completed", "nobody": "not_found"}
    assert rm.task_result(task)["result"]["success"]
    assert rm.task_result("nobody")["result"] == {}
    assert "never runs" in rm.refused("script_upload", "import os")
    assert "never runs" in rm.refused("function_execute", BFunc("rm"))
    assert "no IPython kernel" in rm.refused("kernel_interrupt")


def fill_and_order(rm: Walk) -> None:
    first = rm.item_add(sleep())["item"]["item_uid"]
    answer = rm.item_add_batch([BPlan("read_position"), BPlan("snap", exposure_ms=5)])
    assert (answer["qsize"], [one["success"] for one in answer["results"]]) == (3, [True, True])
    assert rm.names() == ["sleep", "read_position", "snap"]
    assert "1 out of 2" in rm.refused("item_add_batch", [sleep(), BPlan("nobody")])
    assert "duration_s" in rm.refused("item_add", BPlan("sleep", duration_s="long"))
    assert "after_uid" in rm.refused("item_add", sleep(), pos=0, after_uid=first)
    rm.item_add(BInst("queue_stop"), after_uid=first)
    assert rm.names() == ["sleep", "queue_stop", "read_position", "snap"]
    rm.item_move(pos="back", pos_dest="front")
    assert rm.names() == ["snap", "sleep", "queue_stop", "read_position"]
    snap, sleeping, stop, reading = rm.uids()
    rm.item_move(uid=snap, after_uid=stop)
    assert rm.uids() == [sleeping, stop, snap, reading]
    rm.item_move_batch(uids=[reading, sleeping], pos_dest="front", reorder=True)
    assert rm.uids() == [sleeping, reading, stop, snap]
    assert "nobody" in rm.refused("item_move", uid=snap, before_uid="nobody")
    update_and_remove(rm, sleeping, reading)


def update_and_remove(rm: Walk, sleeping: str, reading: str) -> None:
    item = rm.item_get(uid=sleeping)["item"]
    assert rm.item_get(pos=0)["item"] == item
    item["kwargs"] = {"duration_s": 0.02}
    assert rm.item_update(item)["item"]["item_uid"] == sleeping
    replaced = rm.item_update(item, replace=True)["item"]
    assert replaced["item_uid"] != sleeping
    assert rm.uids()[0] == replaced["item_uid"]
    assert "is missing" in rm.refused("item_update", sleep())
    assert rm.item_remove(uid=reading)["item"]["name"] == "read_position"
    assert len(rm.item_remove_batch(uids=[rm.uids()[-1], "nobody"])["items"]) == 1
    assert "nobody" in rm.refused("item_remove_batch", uids=["nobody"], ignore_missing=False)
    assert rm.names() == ["sleep", "queue_stop"]


def run_the_queue(rm: Walk) -> None:
    rm.item_add(BPlan("read_position"))
    rm.queue_start()
    rm.wait_for_idle(timeout=WAIT_S)  # the instruction has stopped it
    assert rm.names() == ["read_position"]
    rm.item_update({**rm.item_get()["item"], **sleep(1).to_dict()})
    rm.queue_mode_set(loop=True)
    assert rm.status()["plan_queue_mode"] == {"loop": True, "ignore_failures": False}
    rm.queue_start()
    rm.queue_stop()
    rm.queue_stop_cancel()
    rm.queue_stop()
    rm.wait_for_idle(timeout=WAIT_S)
    assert rm.names() == ["sleep"]
    rm.queue_mode_set(mode="default")
    assert "loop" in rm.refused("queue_mode_set", loop="often")
    rm.queue_autostart(True)
    rm.wait_for_condition(lambda status: not status["items_in_queue"], timeout=WAIT_S)
    rm.wait_for_idle(timeout=WAIT_S)
    rm.queue_autostart(False)
    rm.item_add(sleep())
    rm.queue_clear()
    assert rm.names() == []
    assert "not running" in rm.refused("queue_stop")
    look_back(rm)


def look_back(rm: Walk) -> None:
    history = rm.history_get()["items"]
    assert [item["result"]["exit_status"] for item in history] == ["completed"] * len(history)
    assert len(history) >= 3
    rm.history_clear(size=2)
    assert [item["item_uid"] for item in rm.history_get()["items"]] == [
        item["item_uid"] for item in history[-2:]
    ]
    rm.history_clear(item_uid=history[-2]["item_uid"])
    assert len(rm.history_get()["items"]) == 1
    rm.history_clear()
    assert rm.history_get()["items"] == []


def pause_and_end(rm: Walk, end: str, status: str) -> None:
    item = rm.item_execute(sleep(30))["item"]
    rm.wait_for_condition(lambda status: status["re_state"] == "running", timeout=WAIT_S)
    assert "only while it is paused" in rm.refused(f"re_{end}")
    rm.re_pause("immediate")
    rm.wait_for_idle_or_paused(timeout=WAIT_S)
    assert rm.status()["manager_state"] == "paused"
    getattr(rm, f"re_{end}")()
    rm.wait_for_idle(timeout=WAIT_S)
    last = rm.history_get()["items"][-1]
    assert (last["item_uid"], last["result"]["exit_status"]) == (item["item_uid"], status)


def resume(rm: Walk) -> None:
    rm.item_execute(BPlan("acquire_volume", num_slices=200, exposure_ms=20, step_um=0.1))
    rm.wait_for_condition(lambda status: status["re_state"] == "running", timeout=WAIT_S)
    assert "busy" in rm.refused("item_execute", sleep())
    rm.re_pause("deferred")
    rm.wait_for_idle_or_paused(timeout=WAIT_S)
    if rm.status()["manager_state"] == "paused":
        assert [run["is_open"] for run in rm.re_runs("open")["run_list"]] in ([], [True])
        rm.re_resume()
    rm.wait_for_idle(timeout=WAIT_S)
    assert rm.history_get()["items"][-1]["result"]["exit_status"] == "completed"
    (run,) = rm.re_runs()["run_list"]
    assert (run["is_open"], run["exit_status"]) == (False, "success")
    assert rm.re_runs("closed")["run_list"] == [run]


def lock_out(rm: Walk, other: Walk) -> None:
    rm.lock("mine", environment=True, queue=True, note="sample change")
    assert other.lock_info(reload=True)["lock_info"]["note"] == "sample change"
    refusal = other.refused("item_add", sleep())
    assert "Invalid lock key" in refusal
    assert "sample change" in refusal
    assert "mine" not in refusal
    assert "Invalid lock key" in other.refused("queue_start", lock_key="wrong")
    assert "Invalid lock key" in other.refused("item_execute", sleep(), lock_key="wrong")
    assert "different key" in other.refused("lock", "theirs", queue=True)
    assert "Invalid lock key" in other.refused("lock_info", lock_key="wrong")
    assert other.status(reload=True)["lock"] == {"environment": True, "queue": True}
    rm.item_add(sleep(), lock_key="mine")
    assert "Invalid lock key" in other.refused("queue_clear")
    assert "Invalid lock key" in other.refused("unlock", "wrong")
    rm.lock_queue("mine")
    other.queue_start()  # the environment is not locked any more
    other.wait_for_idle(timeout=WAIT_S)
    rm.unlock("mine")
    other.item_add(sleep())
    rm.queue_clear()


def listen(rm: Walk) -> None:
    rm.client.system_info_monitor.enable()
    rm.client.console_monitor.enable()
    first = rm.client.system_info_monitor.next_msg(timeout=WAIT_S)
    assert first["msg"]["status"]["manager_state"] == "idle"
    uid = rm.item_execute(sleep())["item"]["item_uid"]
    states = {first["msg"]["status"]["manager_state"]}
    while "executing_queue" not in states:
        message = rm.client.system_info_monitor.next_msg(timeout=WAIT_S)
        states.add(message["msg"]["status"]["manager_state"])
    rm.wait_for_idle(timeout=WAIT_S)
    text = ""
    while f"item.completed: sleep {uid}" not in text:
        text += rm.client.console_monitor.next_msg(timeout=WAIT_S)["msg"]
    rm.client.console_monitor.disable_wait()
    rm.client.system_info_monitor.disable_wait()
    rm.steps += 6


def lose_the_way(rm: Walk) -> None:
    for method, path in [("GET", "/api/nowhere"), ("POST", "/nowhere"), ("DELETE", "/api/status")]:
        with pytest.raises(rm.client.HTTPClientError, match=path):
            rm.send_request(method=(method, path))


def test_bluesky_s_client_works_through_every_one_of_its_calls(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    layer = device_layer(storage=tmp_path / "data")
    with walk(layer) as rm, walk(layer) as other:
        look_around(rm)
        ask_of_the_environment(rm)
        fill_and_order(rm)
        assert other.names() == rm.names()
        run_the_queue(rm)
        for end, status in [("stop", "stopped"), ("abort", "aborted"), ("halt", "halted")]:
            pause_and_end(rm, end, status)
        resume(other)
        lock_out(rm, other)
        listen(rm)
        lose_the_way(rm)

        before = rm.status(reload=True)
        assert layer.end() == 0
        with pytest.raises(rm.client.HTTPRequestError):
            rm.status(reload=True)
        device_layer(storage=tmp_path / "data", port=int(layer.url.rpartition(":")[2]))
        after = rm.status(reload=True)
        assert after["plans_allowed_uid"] != before["plans_allowed_uid"]
        assert "snap" in rm.plans_allowed()["plans_allowed"]
        rm.item_execute(BPlan("snap", exposure_ms=5))
        rm.wait_for_idle(timeout=WAIT_S)
        assert rm.history_get()["items"][-1]["result"]["exit_status"] == "completed"
        assert rm.steps + other.steps >= 80


def test_bluesky_s_asynchronous_client_does_too(device_layer: DeviceLayers) -> None:
    asyncio.run(walk_asynchronously(device_layer().url))


async def walk_asynchronously(url: str) -> None:
    rm = AsyncREManagerAPI(http_server_uri=url)
    other = AsyncREManagerAPI(http_server_uri=url)
    for one in (rm, other):
        one.set_authorization_key(api_key=API_KEY)
    try:
        await fill_asynchronously(rm, other)
        await run_asynchronously(rm)
        await lock_asynchronously(rm, other)
    finally:
        await asyncio.gather(rm.close(), other.close())


async def fill_asynchronously(rm: Any, other: Any) -> None:
    for name in ("ping", "config_get", "plans_allowed", "plans_existing", "devices_allowed"):
        assert (await getattr(rm, name)())["msg"] is not None
    assert "focus" in (await rm.devices_existing())["devices_existing"]
    task = (await rm.environment_update())["task_uid"]
    assert await rm.wait_for_completed_task(task, timeout=WAIT_S) == {task: "completed"}
    assert (await rm.task_result(task))["result"]["success"]
    added = await asyncio.gather(*(one.item_add(sleep()) for one in (rm, other) for _ in range(5)))
    assert len({answer["item"]["item_uid"] for answer in added}) == 10
    await rm.item_add_batch([BPlan("read_position"), BInst("queue_stop")], pos="front")
    first = (await other.queue_get())["items"][0]
    assert first["name"] == "read_position"
    await rm.item_update({**first, "meta": {"note": "mine"}})
    assert (await rm.item_get(pos="front"))["item"]["meta"] == {"note": "mine"}
    await rm.item_move(pos="front", pos_dest="back")
    uids = [item["item_uid"] for item in (await rm.queue_get(reload=True))["items"]]
    assert uids[-1] == first["item_uid"]
    await rm.item_move_batch(uids=[uids[-1]], pos_dest="front")
    await rm.item_remove(pos="back")
    removed = await rm.item_remove_batch(uids=uids[2:8])
    assert len(removed["items"]) == 6


async def run_asynchronously(rm: Any) -> None:
    await rm.queue_start()
    await rm.wait_for_idle(timeout=WAIT_S)
    await rm.queue_autostart(True)
    await rm.wait_for_condition(lambda status: not status["items_in_queue"], timeout=WAIT_S)
    await rm.wait_for_idle(timeout=WAIT_S)
    await rm.queue_autostart(False)
    assert len((await rm.history_get(reload=True))["items"]) == 4
    await rm.queue_mode_set(ignore_failures=True)
    await rm.queue_mode_set(mode="default")
    await rm.item_execute(sleep(30))
    await rm.wait_for_condition(lambda status: status["re_state"] == "running", timeout=WAIT_S)
    await rm.re_pause("immediate")
    await rm.wait_for_idle_or_paused(timeout=WAIT_S)
    await rm.re_resume()
    await rm.wait_for_idle_or_running(timeout=WAIT_S)
    await rm.re_pause("immediate")
    await rm.wait_for_idle_or_paused(timeout=WAIT_S)
    await rm.re_abort()
    await rm.wait_for_idle(timeout=WAIT_S)
    assert (await rm.re_runs(reload=True))["run_list"] == []
    await rm.history_clear()
    await rm.queue_clear()


async def lock_asynchronously(rm: Any, other: Any) -> None:
    await rm.lock_all("mine")
    with pytest.raises(other.RequestFailedError, match="Invalid lock key"):
        await other.item_add(sleep(), lock_key="wrong")
    assert (await other.lock_info(reload=True))["lock_info"]["queue"]
    await rm.unlock("mine")
    with pytest.raises(rm.RequestFailedError, match="never runs"):
        await rm.script_upload("import os")
    with pytest.raises(rm.HTTPClientError):
        await rm.send_request(method=("GET", "/api/nowhere"))
    rm.system_info_monitor.enable()
    message = await rm.system_info_monitor.next_msg(timeout=WAIT_S)
    assert message["msg"]["status"]["manager_state"] == "idle"
    await rm.system_info_monitor.disable_wait()
