"""The queue survives the end of its process, however it ends."""

import concurrent.futures
from pathlib import Path

import httpx2

from tests import AUTHORIZATION
from tests.e2e.conftest import DeviceLayers, Script
from tests.e2e.kill_service import Tormentor


def post(layer: Script, path: str, **body: object) -> dict[str, object]:
    answer = httpx2.post(f"{layer.url}/api/{path}", json=body, headers=AUTHORIZATION, timeout=30)
    found: dict[str, object] = answer.json()
    assert found["success"], found
    return found


def sleep(duration_s: float) -> dict[str, object]:
    return {"name": "sleep", "kwargs": {"duration_s": duration_s}}


def test_nothing_is_lost_doubled_or_stuck_whenever_the_process_is_killed(tmp_path: Path) -> None:
    tally = Tormentor(tmp_path, seed=4).run(rounds=3, limit_s=600)
    assert tally.kills == 3
    assert tally.requests > 6


def test_after_a_crash_what_ran_is_interrupted_and_the_queue_waits_in_its_order(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    layer = device_layer("demo", tmp_path / "data")
    for duration_s in (30, 0.01, 0.02):
        post(layer, "queue/item/add", item=sleep(duration_s))
    post(layer, "queue/start")
    ran = httpx2.get(f"{layer.url}/api/queue/get", headers=AUTHORIZATION).json()["running_item"][
        "item_uid"
    ]
    layer.kill()

    again = device_layer("demo", tmp_path / "data")

    found = httpx2.get(f"{again.url}/api/items/{ran}", headers=AUTHORIZATION).json()
    assert (found["state"], found["result"]["exit_status"]) == ("interrupted", "interrupted")
    queue = httpx2.get(f"{again.url}/api/queue/get", headers=AUTHORIZATION).json()
    assert queue["running_item"] == {}
    assert [item["kwargs"]["duration_s"] for item in queue["items"]] == [30, 0.01, 0.02]
    page = httpx2.get(
        f"{again.url}/api/history", headers=AUTHORIZATION, params={"state": "interrupted"}
    ).json()
    assert [item["item_uid"] for item in page["items"]] == [ran]


def test_a_hundred_retries_of_a_request_are_one_run_even_across_a_restart(
    device_layer: DeviceLayers, tmp_path: Path
) -> None:
    layer = device_layer("demo", tmp_path / "data")

    def submit(_: int) -> str:
        answer = httpx2.post(
            f"{layer.url}/api/queue/item/execute",
            json={"item": sleep(0.2)},
            headers={**AUTHORIZATION, "Idempotency-Key": "one and only"},
            timeout=30,
        ).json()
        assert answer["success"], answer
        return str(answer["item"]["item_uid"])

    with concurrent.futures.ThreadPoolExecutor(20) as threads:
        uids = set(threads.map(submit, range(100)))
    assert len(uids) == 1
    assert layer.end() == 0

    layer = device_layer("demo", tmp_path / "data")
    assert {submit(0)} == uids
    history = httpx2.get(f"{layer.url}/api/history/get", headers=AUTHORIZATION).json()["items"]
    assert [item["item_uid"] for item in history] == list(uids)
