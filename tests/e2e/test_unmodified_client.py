"""Bluesky's own client, unmodified, works through every one of its calls.

The client raises `RequestFailedError` where an answer says ``"success": false``, keeps what it
has read until a uid of the status changes, and waits by polling the status. The one that blocks
and the one that is awaited go the same way.
"""

import asyncio
import inspect
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from bluesky_queueserver_api import BFunc, BInst, BPlan
from bluesky_queueserver_api.http import REManagerAPI
from bluesky_queueserver_api.http.aio import REManagerAPI as AsyncREManagerAPI

from gently import local_key
from tests import API_KEY
from tests.e2e.conftest import DeviceLayers, Script

WAIT_S = 30
TOKEN, KEY = ("TOKEN", "API_KEY")
OFTEN = dict.fromkeys(
    ("status_polling_period", "console_monitor_poll_period", "system_info_monitor_poll_period"), 0.1
)
"""The periods in which it asks: settings of its own."""


class Walk:
    """A client, of which every call is awaited, and how often each was made."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.made: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(self.client, name)

        async def counted(*args: Any, **kwargs: Any) -> Any:
            self.made[name] += 1
            if isinstance(self.client, REManagerAPI):
                return await asyncio.to_thread(call, *args, **kwargs)
            found = call(*args, **kwargs)
            return await found if inspect.isawaitable(found) else found

        return counted

    async def refused(self, name: str, *args: Any, **kwargs: Any) -> str:
        """Make a call that is refused; return the reason."""
        with pytest.raises(self.client.RequestFailedError) as caught:
            await getattr(self, name)(*args, **kwargs)
        return str(caught.value)

    async def failed(self, name: str, *args: Any, **kwargs: Any) -> str:
        """Make a call that is answered with an error; return the reason."""
        with pytest.raises(self.client.HTTPClientError) as caught:
            await getattr(self, name)(*args, **kwargs)
        return str(caught.value)

    async def next_message(self, monitor: str) -> dict[str, Any]:
        """Return the next message of a monitor, however long it takes to come."""
        self.made[monitor] += 1
        found = getattr(self.client, monitor).next_msg(timeout=WAIT_S)
        message: dict[str, Any] = await found if inspect.isawaitable(found) else found
        return message

    async def names(self) -> list[str]:
        return [item["name"] for item in (await self.queue_get())["items"]]

    async def uids(self) -> list[str]:
        return [item["item_uid"] for item in (await self.queue_get())["items"]]


@asynccontextmanager
async def walks(kind: type[Any], layer: Script) -> AsyncIterator[tuple[Walk, Walk]]:
    """Two clients at once, which have the key."""
    rm, other = (Walk(kind(http_server_uri=layer.url, **OFTEN)) for _ in range(2))
    try:
        for walk in (rm, other):
            await walk.set_authorization_key(api_key=API_KEY)
        yield rm, other
    finally:
        await rm.close()
        await other.close()


def sleep(duration_s: float = 0.01) -> BPlan:
    return BPlan("sleep", duration_s=duration_s)


# ---------------------------------------------------------------------- keys and sessions


async def log_in(rm: Walk, storage: Path) -> None:
    await rm.set_authorization_key()
    assert "401" in await rm.failed("status", reload=True)
    wrong = await rm.failed("login", local_key.owner(), password="wrong", provider="key/token")
    assert "Name or key is wrong" in wrong
    await rm.login(local_key.owner(), password=API_KEY, provider="key/token")
    assert rm.client.auth_method.name == TOKEN
    assert (await rm.status(reload=True))["manager_state"] == "idle"
    await let_tokens_expire_and_refresh(rm, storage)
    await make_keys(rm)


async def let_tokens_expire_and_refresh(rm: Walk, storage: Path) -> None:
    expired, _ = rm.client.auth_key
    with closing(sqlite3.connect(storage / "access.sqlite")) as database, database:
        database.execute("UPDATE token SET expires = 1 WHERE purpose = 'access'")
    assert await rm.plans_allowed(reload=True), "it refreshes by itself"
    fresh, _ = rm.client.auth_key
    assert fresh != expired
    await rm.session_refresh()
    assert rm.client.auth_key[0] != fresh
    assert "has ended" in await rm.failed("session_refresh", refresh_token="nothing")


async def make_keys(rm: Walk) -> None:
    made = await rm.apikey_new(expires_in=900, scopes=["read:status"], note="to look")
    assert (made["scopes"], made["note"]) == (["view"], "to look")
    assert (await rm.apikey_info(api_key=made["secret"]))["first_eight"] == made["first_eight"]
    who = await rm.whoami()
    assert who["identities"][0]["id"] == local_key.owner()
    assert (await rm.whoami(api_key=made["secret"]))["api_key_scopes"] == ["view"]
    assert (await rm.api_scopes())["scopes"] == ["view", "propose", "operate", "admin"]
    assert [one["uuid"] for one in await rm.principal_info()] == [who["uuid"]]
    assert (await rm.principal_info(principal_uid=who["uuid"]))["type"] == "user"
    other = await rm.apikey_new(expires_in=60, principal_uid=who["uuid"])
    for key in (made, other):
        assert (await rm.apikey_delete(first_eight=key["first_eight"]))["success"]
    assert "not known" in await rm.failed("apikey_info", api_key=made["secret"])


async def log_out(rm: Walk) -> None:
    sessions = (await rm.whoami())["sessions"]
    await rm.login(local_key.owner(), password=API_KEY, provider="key/token")
    await rm.session_revoke(session_uid=sessions[0]["uuid"])
    assert [one["revoked"] for one in (await rm.whoami())["sessions"]] == [True, False]
    assert await rm.logout() == {}
    assert "401" in await rm.failed("status", reload=True)
    await rm.set_authorization_key(api_key=API_KEY)
    assert rm.client.auth_method.name == KEY


# ---------------------------------------------------------------------- what there is


async def look_around(rm: Walk) -> None:
    assert (await rm.ping())["manager_state"] == (await rm.status())["manager_state"] == "idle"
    assert (await rm.config_get())["config"] == {"ip_connect_info": {}}
    allowed, existing = await rm.plans_allowed(), await rm.plans_existing()
    assert "acquire_volume" in allowed["plans_allowed"]
    assert set(existing["plans_existing"]) == set(allowed["plans_allowed"])
    assert "focus" in (await rm.devices_allowed())["devices_allowed"]
    assert "focus" in (await rm.devices_existing())["devices_existing"]
    permissions = (await rm.permissions_get())["user_group_permissions"]
    assert (await rm.permissions_set(permissions))["success"]
    assert "fixed" in await rm.refused("permissions_set", {"user_groups": {}})
    assert (await rm.permissions_reload())["success"]
    await rm.set_user_name_to_login_name()


async def ask_of_the_environment(rm: Walk) -> None:
    assert (await rm.status())["worker_environment_exists"]
    assert "open already" in await rm.refused("environment_open")
    assert "device layer itself" in await rm.refused("environment_close")
    assert "device layer itself" in await rm.refused("environment_destroy")
    task = (await rm.environment_update())["task_uid"]
    assert await rm.wait_for_completed_task(task, timeout=WAIT_S) == {task: "completed"}
    found = (await rm.task_status([task, "nobody"]))["status"]
    assert found == {task: "completed", "nobody": "not_found"}
    assert (await rm.task_result(task))["result"]["success"]
    assert (await rm.task_result("nobody"))["result"] == {}
    assert "never runs" in await rm.refused("script_upload", "import os")
    assert "never runs" in await rm.refused("function_execute", BFunc("rm"))
    assert "no IPython kernel" in await rm.refused("kernel_interrupt")


# ---------------------------------------------------------------------- the queue


async def fill_and_order(rm: Walk) -> None:
    first = (await rm.item_add(sleep()))["item"]["item_uid"]
    answer = await rm.item_add_batch([BPlan("read_position"), BPlan("snap", exposure_ms=5)])
    assert (answer["qsize"], [one["success"] for one in answer["results"]]) == (3, [True, True])
    assert await rm.names() == ["sleep", "read_position", "snap"]
    assert "1 out of 2" in await rm.refused("item_add_batch", [sleep(), BPlan("nobody")])
    assert "duration_s" in await rm.refused("item_add", BPlan("sleep", duration_s="long"))
    assert "after_uid" in await rm.refused("item_add", sleep(), pos=0, after_uid=first)
    await rm.item_add(BInst("queue_stop"), after_uid=first)
    assert await rm.names() == ["sleep", "queue_stop", "read_position", "snap"]
    await rm.item_move(pos="back", pos_dest="front")
    assert await rm.names() == ["snap", "sleep", "queue_stop", "read_position"]
    snap, sleeping, stop, reading = await rm.uids()
    await rm.item_move(uid=snap, after_uid=stop)
    assert await rm.uids() == [sleeping, stop, snap, reading]
    await rm.item_move_batch(uids=[reading, sleeping], pos_dest="front", reorder=True)
    assert await rm.uids() == [sleeping, reading, stop, snap]
    assert "nobody" in await rm.refused("item_move", uid=snap, before_uid="nobody")
    await update_and_remove(rm, sleeping, reading)


async def update_and_remove(rm: Walk, sleeping: str, reading: str) -> None:
    item = (await rm.item_get(uid=sleeping))["item"]
    assert (await rm.item_get(pos=0))["item"] == item
    assert item["user"] == local_key.owner()
    item["kwargs"] = {"duration_s": 0.02}
    assert (await rm.item_update(item))["item"]["item_uid"] == sleeping
    replaced = (await rm.item_update(item, replace=True))["item"]
    assert replaced["item_uid"] != sleeping
    assert (await rm.uids())[0] == replaced["item_uid"]
    assert "is missing" in await rm.refused("item_update", sleep())
    assert (await rm.item_remove(uid=reading))["item"]["name"] == "read_position"
    removed = await rm.item_remove_batch(uids=[(await rm.uids())[-1], "nobody"])
    assert len(removed["items"]) == 1
    missing = await rm.refused("item_remove_batch", uids=["nobody"], ignore_missing=False)
    assert "nobody" in missing
    assert await rm.names() == ["sleep", "queue_stop"]


async def fill_at_once(rm: Walk, other: Walk) -> None:
    async def fill(walk: Walk) -> list[str]:
        return [(await walk.item_add(sleep()))["item"]["item_uid"] for _ in range(5)]

    added = [uid for uids in await asyncio.gather(fill(rm), fill(other)) for uid in uids]
    assert len(set(added)) == 10
    for one in (rm, other):  # each looks anew: what the other does is seen half a second later
        found = (await one.queue_get(reload=True))["items"]
        assert {item["item_uid"] for item in found} == set(added)
    await other.item_remove_batch(uids=added)
    assert (await rm.queue_get(reload=True))["items"] == []


async def run_the_queue(rm: Walk) -> None:
    await rm.item_add(BPlan("read_position"))
    await rm.queue_start()
    await rm.wait_for_idle(timeout=WAIT_S)  # the instruction has stopped it
    assert await rm.names() == ["read_position"]
    await rm.item_update({**(await rm.item_get())["item"], **sleep(1).to_dict()})
    await rm.queue_mode_set(loop=True)
    mode = (await rm.status())["plan_queue_mode"]
    assert mode == {"loop": True, "ignore_failures": False}
    await rm.queue_start()
    await rm.queue_stop()
    await rm.queue_stop_cancel()
    await rm.queue_stop()
    await rm.wait_for_idle(timeout=WAIT_S)
    assert await rm.names() == ["sleep"]
    await rm.queue_mode_set(mode="default")
    assert "loop" in await rm.refused("queue_mode_set", loop="often")
    await rm.queue_autostart(True)
    await rm.wait_for_condition(lambda status: not status["items_in_queue"], timeout=WAIT_S)
    await rm.wait_for_idle(timeout=WAIT_S)
    await rm.queue_autostart(False)
    await rm.item_add(sleep())
    await rm.queue_clear()
    assert await rm.names() == []
    assert "not running" in await rm.refused("queue_stop")
    await look_back(rm)


async def look_back(rm: Walk) -> None:
    history = (await rm.history_get())["items"]
    assert [item["result"]["exit_status"] for item in history] == ["completed"] * len(history)
    assert len(history) >= 3
    await rm.history_clear(size=2)
    kept = [item["item_uid"] for item in (await rm.history_get())["items"]]
    assert kept == [item["item_uid"] for item in history[-2:]]
    await rm.history_clear(item_uid=history[-2]["item_uid"])
    assert len((await rm.history_get())["items"]) == 1
    await rm.history_clear()
    assert (await rm.history_get())["items"] == []


# ---------------------------------------------------------------------- the RunEngine


async def pause_and_end(rm: Walk, end: str, status: str) -> None:
    item = (await rm.item_execute(sleep(30)))["item"]
    await rm.wait_for_condition(lambda status: status["re_state"] == "running", timeout=WAIT_S)
    assert "only while it is paused" in await rm.refused(f"re_{end}")
    await rm.re_pause("immediate")
    await rm.wait_for_idle_or_paused(timeout=WAIT_S)
    assert (await rm.status())["manager_state"] == "paused"
    await rm.re_resume()
    await rm.wait_for_idle_or_running(timeout=WAIT_S)
    await rm.re_pause("immediate")
    await rm.wait_for_idle_or_paused(timeout=WAIT_S)
    await getattr(rm, f"re_{end}")()
    await rm.wait_for_idle(timeout=WAIT_S)
    last = (await rm.history_get())["items"][-1]
    assert (last["item_uid"], last["result"]["exit_status"]) == (item["item_uid"], status)


async def resume(rm: Walk) -> None:
    await rm.item_execute(BPlan("acquire_volume", num_slices=200, exposure_ms=10, step_um=0.1))
    await rm.wait_for_condition(lambda status: status["re_state"] == "running", timeout=WAIT_S)
    assert "busy" in await rm.refused("item_execute", sleep())
    await rm.re_pause("deferred")
    await rm.wait_for_idle_or_paused(timeout=WAIT_S)
    if (await rm.status())["manager_state"] == "paused":
        runs = (await rm.re_runs("open"))["run_list"]
        assert [run["is_open"] for run in runs] in ([], [True])
        await rm.re_resume()
    await rm.wait_for_idle(timeout=WAIT_S)
    assert (await rm.history_get())["items"][-1]["result"]["exit_status"] == "completed"
    (run,) = (await rm.re_runs())["run_list"]
    assert (run["is_open"], run["exit_status"]) == (False, "success")
    assert (await rm.re_runs("closed"))["run_list"] == [run]


# ---------------------------------------------------------------------- the lock


async def lock_out(rm: Walk, other: Walk) -> None:
    await rm.lock("mine", environment=True, queue=True, note="sample change")
    info = (await other.lock_info(reload=True))["lock_info"]
    assert (info["note"], info["user"]) == ("sample change", local_key.owner())
    refusal = await other.refused("item_add", sleep())
    assert "Invalid lock key" in refusal
    assert "sample change" in refusal
    assert "mine" not in refusal
    assert "Invalid lock key" in await other.refused("queue_start", lock_key="wrong")
    assert "Invalid lock key" in await other.refused("item_execute", sleep(), lock_key="wrong")
    assert "different key" in await other.refused("lock", "theirs", queue=True)
    assert "Invalid lock key" in await other.refused("lock_info", lock_key="wrong")
    status = await other.status(reload=True)
    assert status["lock"] == {"environment": True, "queue": True}
    await rm.item_add(sleep(), lock_key="mine")
    assert "Invalid lock key" in await other.refused("queue_clear")
    assert "Invalid lock key" in await other.refused("unlock", "wrong")
    await rm.lock_queue("mine")
    await other.queue_start()  # the environment is not locked any more
    await other.wait_for_idle(timeout=WAIT_S)
    await rm.unlock("mine")
    await other.item_add(sleep())
    await rm.queue_clear()


async def lock_with_the_default_key(rm: Walk, other: Walk, folder: Path) -> None:
    rm.client.default_lock_key_path = str(folder / "default_lock_key.txt")
    key = await rm.get_default_lock_key()
    await rm.set_default_lock_key(f"{key}, mine")
    rm.client.lock_key = await rm.get_default_lock_key()
    rm.client.enable_locked_api = True
    await rm.lock_environment()
    assert "Invalid lock key" in await other.refused("item_execute", sleep())
    await rm.lock_all()
    assert "Invalid lock key" in await other.refused("item_add", sleep())
    await rm.item_add(sleep())
    await rm.queue_clear()


# ---------------------------------------------------------------------- monitors, wrong ways


async def listen(rm: Walk) -> None:
    rm.client.system_info_monitor.enable()
    rm.client.console_monitor.enable()
    first = await rm.next_message("system_info_monitor")
    assert first["msg"]["status"]["manager_state"] == "idle"
    uid = (await rm.item_execute(sleep()))["item"]["item_uid"]
    states = {first["msg"]["status"]["manager_state"]}
    while "executing_queue" not in states:
        message = await rm.next_message("system_info_monitor")
        states.add(message["msg"]["status"]["manager_state"])
    await rm.wait_for_idle(timeout=WAIT_S)
    text = ""
    while f"item.completed: sleep {uid}" not in text:
        text += (await rm.next_message("console_monitor"))["msg"]
    for monitor in (rm.client.console_monitor, rm.client.system_info_monitor):
        left = monitor.disable_wait()
        await left if inspect.isawaitable(left) else None


async def lose_the_way(rm: Walk) -> None:
    for method, path in [("GET", "/api/nowhere"), ("POST", "/nowhere"), ("DELETE", "/api/status")]:
        assert path in await rm.failed("send_request", method=(method, path))


# ---------------------------------------------------------------------- all of it


def public_calls(kind: type[Any]) -> set[str]:
    return {
        name
        for name, found in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize("kind", [REManagerAPI, AsyncREManagerAPI], ids=["blocking", "awaited"])
def test_bluesky_s_client_works_through_every_one_of_its_calls(
    device_layer: DeviceLayers, tmp_path: Path, kind: type[Any]
) -> None:
    made = asyncio.run(walk(kind, device_layer, tmp_path))
    assert sum(made.values()) >= 80
    assert public_calls(kind) - set(made) == set()


async def walk(kind: type[Any], device_layer: DeviceLayers, folder: Path) -> Counter[str]:
    layer = device_layer(storage=folder / "data")
    async with walks(kind, layer) as (rm, other):
        await look_around(rm)
        await ask_of_the_environment(rm)
        await fill_and_order(rm)
        assert await other.names() == await rm.names()
        await run_the_queue(rm)
        await fill_at_once(rm, other)
        for end, status in [("stop", "stopped"), ("abort", "aborted"), ("halt", "halted")]:
            await pause_and_end(rm, end, status)
        await log_in(rm, folder / "data")
        await listen(rm)
        await resume(other)
        await lock_out(rm, other)
        await lose_the_way(rm)
        await lock_with_the_default_key(rm, other, folder)
        await restart(rm, other, device_layer, layer, folder)
        await log_out(rm)
    return rm.made + other.made


async def restart(
    rm: Walk, other: Walk, device_layer: DeviceLayers, layer: Script, folder: Path
) -> None:
    before = await rm.status(reload=True)
    assert layer.end() == 0
    with pytest.raises(rm.client.HTTPRequestError):
        await rm.status(reload=True)
    device_layer(storage=folder / "data", port=int(layer.url.rpartition(":")[2]))
    after = await rm.status(reload=True)  # with the token that it had
    assert after["plans_allowed_uid"] != before["plans_allowed_uid"]
    assert "snap" in (await rm.plans_allowed())["plans_allowed"]
    assert "Invalid lock key" in await other.refused("item_execute", sleep())
    await rm.item_execute(BPlan("snap", exposure_ms=5))
    await rm.wait_for_idle(timeout=WAIT_S)
    assert (await rm.history_get())["items"][-1]["result"]["exit_status"] == "completed"
    await rm.unlock()
