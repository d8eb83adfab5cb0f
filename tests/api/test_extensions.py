"""The routes of our own: volumes, devices, items, settings, stop and events."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import bluesky.plan_stubs as bps
import httpx
import pytest
from bluesky.utils import MsgGenerator
from starlette.testclient import TestClient

from devices import CoreTimeoutError
from gently.core.catalogue import BoundPlan
from gently.core.device_layer import DeviceLayer
from gently.core.queue import Item
from storage import new_uid
from tests import AUTHORIZATION
from tests.api.talk import add, ended, execute, get, plan, post
from tests.core.lab import BlockingRead
from tests.waiting import until


def volume(client: TestClient) -> dict[str, Any]:
    uid = execute(client, "acquire_volume", num_slices=2, exposure_ms=1, step_um=0)
    value: dict[str, Any] = ended(client, uid)["result"]["return_value"]
    return value


def snapped(client: TestClient, meta: dict[str, Any]) -> str:
    item = {**plan("snap", exposure_ms=1), "meta": meta}
    uid = post(client, "queue/item/execute", item=item)["item"]["item_uid"]
    return str(ended(client, uid)["result"]["return_value"]["uid"])


# ---------------------------------------------------------------------- volumes


def test_volumes_are_listed_newest_first(client: TestClient) -> None:
    older, newer = volume(client), volume(client)

    listed = get(client, "volumes")["volumes"]

    assert [found["uid"] for found in listed[:2]] == [newer["uid"], older["uid"]]
    assert get(client, "volumes", limit=1)["volumes"] == listed[:1]


def test_volumes_are_found_by_what_they_are(client: TestClient) -> None:
    acquisition = new_uid()
    labels = {"embryo": "e7", "tags": ["late"], "acquisition_uid": acquisition, "channel": "488"}
    begun = datetime.now(UTC)
    old, new = (
        snapped(client, {**labels, "session_id": session, "time_point": number})
        for number, session in enumerate(("monday", "tuesday"))
    )

    def found(**asked: object) -> list[str]:
        return [volume["uid"] for volume in get(client, "volumes", **asked)["volumes"]]

    for asked in ({"embryo": "e7"}, {"tag": "late"}, {"acquisition": acquisition}):
        assert found(**asked) == [new, old]
    assert found(since=begun.isoformat(), plan="snap") == [new, old]
    assert found(until=begun.isoformat(), plan="snap", embryo="e7") == []
    assert found(session="monday", embryo="e7") == [old]
    assert found(embryo="e7", after=new) == [old]
    told = get(client, f"volumes/{new}")
    assert told.items() >= {**labels, "session_id": "tuesday", "time_point": 1}.items()


def test_volumes_are_listed_by_their_status(client: TestClient, layer: DeviceLayer) -> None:
    taken = volume(client)
    layer.store.trash(taken["uid"], reason="blurred", by="me")

    trashed = get(client, "volumes", status="trashed", limit=1)["volumes"]

    assert [found["uid"] for found in trashed] == [taken["uid"]]
    assert taken["uid"] not in {found["uid"] for found in get(client, "volumes")["volumes"]}
    assert get(client, "volumes", status="incomplete")["volumes"] == []


def test_a_page_after_a_volume_that_is_not_there_is_not_found(client: TestClient) -> None:
    assert client.get(f"/api/volumes?after={'0' * 32}").status_code == 404


def test_a_volume_is_told_by_its_uid(client: TestClient) -> None:
    taken = volume(client)

    told = get(client, f"volumes/{taken['uid']}")

    assert told.items() >= taken.items()
    assert told["instrument"] == "demo"
    assert told["plan_name"] == "acquire_volume"
    assert get(client, f"items/{told['item_uid']}")["result"]["run_uids"] == [told["run_uid"]]


@pytest.mark.parametrize(
    "uid",
    [
        "../../etc/passwd",
        "..%2F..%2Fetc%2Fpasswd",
        "%2Fetc%2Fpasswd",
        "0" * 31,
        "A" * 32,
        "0" * 32 + ".tif",
        "0" * 31 + "%00",
        "%F0%9F%94%AC",
    ],
)
def test_a_path_in_place_of_a_uid_is_refused(client: TestClient, uid: str) -> None:
    response = client.get(f"/api/volumes/{uid}")

    assert response.status_code in (404, 422)
    assert response.json()["detail"]
    if not uid.startswith(".."):  # what the client's own library has resolved is another path
        assert response.status_code == 422
        assert "32 lower-case hexadecimal" in response.json()["detail"]


def test_a_volume_that_is_not_there_is_not_found(client: TestClient) -> None:
    response = client.get(f"/api/volumes/{'0' * 32}")

    assert response.status_code == 404
    assert "0" * 32 in response.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "limit=99999",
        "last=5",
        "status=good",
        "since=2026-11-21T08:00",
        "since=0001-01-01T00:00:00%2B14:00",
        "until=0.5",
        "until=tomorrow",
    ],
)
def test_a_list_that_cannot_be_given_is_refused_by_field(client: TestClient, query: str) -> None:
    response = client.get(f"/api/volumes?{query}")

    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert error["field"] == query.partition("=")[0]
    if error["field"] in ("since", "until"):
        assert "such as 2026-11-21T09:30:00Z" in error["message"]


# ---------------------------------------------------------------------- devices


def test_a_device_is_read_now_with_units_and_age(client: TestClient) -> None:
    execution = execute(client, "move_focus", z_um=7.5)
    ended(client, execution)

    answer = get(client, "devices/focus/read")

    reading = answer["readings"]["focus"]
    assert (answer["name"], answer["stale"], answer["error"]) == ("focus", False, None)
    assert reading["value"] == pytest.approx(7.5, abs=0.1)
    assert reading["units"] == "um"
    assert 0 <= reading["age_s"] < 60


def test_a_device_that_does_not_answer_is_told_so_with_what_was_read_last(
    client: TestClient, layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = get(client, "devices/focus/read")["readings"]["focus"]

    def silence() -> None:
        raise CoreTimeoutError("Z did not answer within 5 s")

    monkeypatch.setattr(layer.device("focus"), "readback", silence)

    answer = get(client, "devices/focus/read")

    assert (answer["stale"], answer["error"]) == (True, "Z did not answer within 5 s")
    assert answer["readings"]["focus"]["value"] == before["value"]
    assert answer["readings"]["focus"]["timestamp"] == before["timestamp"]
    assert answer["readings"]["focus"]["age_s"] >= before["age_s"]


def test_an_unknown_device_is_not_found_and_the_known_ones_are_named(client: TestClient) -> None:
    response = client.get("/api/devices/piezo/read")

    assert response.status_code == 404
    assert "'piezo'" in response.json()["detail"]
    assert "xy_stage, focus, shutter, camera, light_sheet" in response.json()["detail"]


# ---------------------------------------------------------------------- items, settings


def test_an_item_is_told_in_every_state(client: TestClient) -> None:
    waits = add(client, "read_position")
    assert get(client, f"items/{waits}")["state"] == "queued"
    runs = execute(client, "sleep", duration_s=30)
    running = get(client, f"items/{runs}")
    assert (running["state"], running["result"]) == ("running", None)
    assert running["item"]["properties"]["time_start"] > 0

    post(client, "stop", reason="seen enough")

    stopped = get(client, f"items/{runs}")
    assert (stopped["state"], stopped["progress"]) == ("aborted", None)
    assert stopped["result"]["msg"] == "seen enough"


def test_an_unknown_item_is_not_found(client: TestClient) -> None:
    response = client.get("/api/items/nobody")

    assert response.status_code == 404
    assert "'nobody'" in response.json()["detail"]


def test_settings_tell_where_volumes_go(client: TestClient, layer: DeviceLayer) -> None:
    settings = get(client, "settings")

    assert settings["storage"] == str(layer.store.root)
    assert settings["instrument"] == "demo"
    assert settings["session_id"] == layer.session_id
    assert settings["version"] == layer.version


# ---------------------------------------------------------------------- stop


def test_stop_ends_a_motion_and_tells_where_each_device_came_to_rest(client: TestClient) -> None:
    ended(client, execute(client, "move_stage", x_um=0, y_um=0))
    uid = execute(client, "move_stage", x_um=9000, y_um=0)
    until(lambda: position_um(client) > 1)

    report = post(client, "stop")

    x_um = report["devices"]["xy_stage"]["readings"]["xy_stage_x"]["value"]
    assert report["success"] is True
    assert 1 < x_um < 8999
    assert position_um(client) == x_um
    assert report["item_uid"] == uid
    assert get(client, f"items/{uid}")["state"] == "aborted"


def position_um(client: TestClient) -> float:
    reading = get(client, "devices/xy_stage/read")["readings"]["xy_stage_x"]
    return float(reading["value"])


@pytest.mark.parametrize("body", [b"", b"stop!", b"[]", b'{"reason": 5}', b'{"why": "?"}'])
def test_stop_is_never_refused_for_its_body(client: TestClient, body: bytes) -> None:
    uid = execute(client, "sleep", duration_s=30)

    response = client.post("/api/stop", content=body)

    assert response.json()["success"] is True
    assert get(client, f"items/{uid}")["state"] == "aborted"


def test_stop_in_mid_volume_leaves_no_file(client: TestClient, layer: DeviceLayer) -> None:
    def volumes() -> list[str]:
        return sorted(path.name for path in layer.store.volumes.iterdir())

    before = volumes()
    uid = execute(client, "acquire_volume", num_slices=1000, exposure_ms=10, step_um=0)
    until(lambda: (get(client, f"items/{uid}")["progress"] or {}).get("current", 0) > 2)

    report = post(client, "stop", reason="wrong sample")

    assert report["success"] is True
    assert report["devices"]["shutter"]["readings"]["shutter"]["value"] == "closed"
    assert get(client, f"items/{uid}")["state"] == "aborted"
    assert volumes() == before


# ---------------------------------------------------------------------- nobody waits


@pytest.fixture
def dead(layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingRead]:
    """Let any plan meet a device that holds up the RunEngine's loop."""
    dead = BlockingRead()

    def reads() -> MsgGenerator[Any]:
        return (yield from bps.read(dead))

    def prepare(item: Item) -> BoundPlan:
        return BoundPlan(item.name, {}, reads)

    monkeypatch.setattr(layer.runner, "_prepare", prepare)
    yield dead
    dead.let_go.set()


def test_while_a_device_hangs_everything_else_is_answered(
    served: httpx.Client, dead: BlockingRead
) -> None:
    uid = execute(served, "sleep", duration_s=1)
    assert dead.is_held.wait(30)

    for path in ("status", "queue/get", "history/get", f"items/{uid}", "settings", "volumes"):
        get(served, path)
    get(served, "devices/focus/read")
    assert post(served, "re/pause", option="immediate")["success"]
    assert get(served, f"items/{uid}")["state"] == "running"  # and all that while it hung

    dead.let_go.set()


def test_status_is_answered_while_a_long_plan_runs_and_stop_is_under_way(
    served: httpx.Client, layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    let_go = threading.Event()

    def hang() -> None:
        held.set()
        assert let_go.wait(30)

    monkeypatch.setattr(layer.device("focus"), "stop", hang)
    uid = execute(served, "sleep", duration_s=30)
    reports: list[dict[str, Any]] = []
    stopping = threading.Thread(target=lambda: reports.append(post(served, "stop")))
    stopping.start()
    assert held.wait(30)

    assert get(served, "status")["manager_state"] in ("executing_queue", "idle")

    let_go.set()
    stopping.join()
    assert reports[0]["success"] is True
    assert reports[0]["item_uid"] == uid


def test_stop_is_answered_while_as_many_requests_as_may_wait_for_a_device(
    served: httpx.Client, layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    waiting = threading.Semaphore(0)

    def silence() -> dict[str, Any]:
        waiting.release()
        assert let_go.wait(30)
        return {}

    monkeypatch.setattr(layer.device("camera"), "readback", silence)
    url = str(served.base_url).rstrip("/")
    readers = [
        threading.Thread(
            target=httpx.get,
            args=(f"{url}/api/devices/camera/read",),
            kwargs={"headers": AUTHORIZATION},
        )
        for _ in range(40)
    ]
    for reader in readers:
        reader.start()
    for _ in readers:
        assert waiting.acquire(timeout=30)
    monkeypatch.undo()

    assert post(served, "stop")["success"] is True

    let_go.set()
    for reader in readers:
        reader.join()


# ---------------------------------------------------------------------- events


def events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream, as a browser would."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            data = json.loads(fields["data"])
            assert (int(fields["id"]), fields["event"]) == (data["seq"], data["kind"])
            yield data
            fields = {}


def until_kind(stream: httpx.Response, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for event in events(stream.iter_lines()):
        found.append(event)
        if event["kind"] == kind:
            return found
    raise AssertionError(f"the stream ended before {kind}")


def test_an_items_life_is_told_as_events_and_its_volume_before_its_end(
    served: httpx.Client, layer: DeviceLayer
) -> None:
    start = layer.events.last_seq
    uid = execute(served, "acquire_volume", num_slices=2, exposure_ms=1, step_um=0)

    with served.stream("GET", "/api/events", params={"after": start}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        found = until_kind(stream, "item.completed")

    kinds = [event["kind"] for event in found]
    assert kinds[:2] == ["item.queued", "item.started"]
    assert kinds.index("volume.published") < kinds.index("item.completed")
    assert [event["seq"] for event in found] == list(range(start + 1, start + 1 + len(found)))
    documents = [event["name"] for event in found if event["kind"] == "document"]
    assert (documents[0], documents[-1]) == ("start", "stop")
    assert found[-1]["item_uid"] == uid
    assert found[-1]["item"]["result"]["return_value"]["path"].endswith(".tif")
    published = next(event for event in found if event["kind"] == "volume.published")
    assert published["item_uid"] == uid


def test_one_who_comes_back_gets_what_was_missed(served: httpx.Client, layer: DeviceLayer) -> None:
    events_ = [layer.events.publish("tick", number=number) for number in range(3)]

    for asked in (
        {"headers": {"Last-Event-ID": str(events_[0].seq)}},
        {"params": {"after": events_[0].seq}},
    ):
        with served.stream("GET", "/api/events", **asked) as stream:
            stream_events = events(stream.iter_lines())
            assert [next(stream_events)["number"], next(stream_events)["number"]] == [1, 2]


def test_one_who_does_not_say_where_begins_now_and_may_ask_for_some_kinds(
    served: httpx.Client, layer: DeviceLayer
) -> None:
    layer.events.publish("wanted", number=0)
    with served.stream("GET", "/api/events", params={"kinds": "wanted,also"}) as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": gently"
        for kind in ("noise", "wanted", "noise", "also"):
            layer.events.publish(kind, number=1)

        following = events(lines)
        assert [next(following)["kind"], next(following)["kind"]] == ["wanted", "also"]


def test_one_who_was_away_for_too_long_is_told_so(served: httpx.Client, layer: DeviceLayer) -> None:
    layer.events.publish("tick")

    with served.stream("GET", "/api/events", headers={"Last-Event-ID": "1"}) as stream:
        first = next(events(stream.iter_lines()))

    assert first["kind"] == "events.lost"
    assert first["first_available"] == first["seq"] + 1


@pytest.mark.parametrize("number", ["-1", "x", "1.5", "9" * 5000])
def test_a_number_that_is_none_is_refused(client: TestClient, number: str) -> None:
    response = client.get("/api/events", headers={"Last-Event-ID": number})

    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "after"
