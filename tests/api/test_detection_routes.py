"""Detections over HTTP: asked for, followed, cancelled, found again."""

from contextlib import suppress
from typing import Any

import numpy as np
import psutil
import pytest
from bluesky.utils import MsgGenerator
from starlette.testclient import TestClient

import plans
from benchmarks.phantoms import ORDINARY, Phantom
from devices import Finder, XYStage
from gently.core.access import Scope
from gently.core.catalogue import Catalogue
from gently.core.device_layer import DeviceLayer
from plans.parameters import inject
from storage import VolumeRecord, new_uid
from tests.api.talk import ended, execute, get, key_for, plan
from tests.visualization.specimen import keep
from tests.waiting import until

PHANTOM = Phantom(ORDINARY.resized((512, 512), 0.65), 7)
ENDED = {"completed", "failed", "cancelled"}


@pytest.fixture(scope="module")
def source(shared_layer: DeviceLayer) -> VolumeRecord:
    return keep(
        shared_layer.store,
        PHANTOM.pixels[None],
        pixel_size_um=PHANTOM.scene.pixel_size_um,
        positions_um={"xy_stage.x": 100.0, "xy_stage.y": 200.0},
        session_id="tuesday",
        embryo="dish 4",
    )


@pytest.fixture(autouse=True, scope="module")
def warm(shared_layer: DeviceLayer, source: VolumeRecord) -> None:
    """Let the detectors' process be there before the first test: it stays to the last."""
    from gently.core.detection_values import DetectionRequest

    record = shared_layer.detections.submit(DetectionRequest(source_uid=source.uid))
    until(lambda: shared_layer.detections.get(record.uid).has_ended)


def detect(client: TestClient, **body: Any) -> dict[str, Any]:
    response = client.post("/api/detections", json=body)
    assert response.status_code == 200, response.text
    uid = response.json()["detection_uid"]
    until(lambda: get(client, f"detections/{uid}")["state"] in ENDED)
    return get(client, f"detections/{uid}")


def test_a_detection_is_followed_to_its_label_image_and_its_table(
    client: TestClient, layer: DeviceLayer, source: VolumeRecord
) -> None:
    before = [event.seq for event in layer.events.after(0)][-1]
    found = detect(client, uid=source.uid, settings={"width_um": 29})
    assert (found["state"], found["error"]) == ("completed", "")
    assert found["time_queued"] <= found["time_started"] <= found["time_stopped"]
    assert found["settings"]["width_um"] == 29
    uid, result = found["detection_uid"], found["result"]
    labels = layer.store.verify(uid)
    assert (str(labels.path), labels.spec.embryo) == (result["path"], "dish 4")
    with layer.store.open(uid) as volume:
        drawn = set(np.unique(volume.array[0]).tolist()) - {0}
    assert {each["label"] for each in result["objects"]} == drawn
    assert len(drawn) == len(PHANTOM.ovals)
    heard = [e for e in layer.events.after(before) if e.data.get("detection_uid") == uid]
    assert [event.kind for event in heard] == [
        "detection.queued",
        "detection.started",
        "detection.completed",
    ]
    assert (heard[-1].data["objects"], heard[-1].data["source_uid"]) == (len(drawn), source.uid)


def test_what_was_found_is_found_again_and_keeps_its_names_after_a_restart(
    client: TestClient, layer: DeviceLayer, source: VolumeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = detect(client, uid=source.uid)
    for memory in ("_records", "_known"):  # all that a restart would take
        monkeypatch.setattr(layer.detections, memory, type(getattr(layer.detections, memory))())

    again = get(client, f"detections/{first['detection_uid']}")
    assert again["result"] == first["result"]
    assert again["time_started"] is None
    for asked in ({"source": source.uid}, {"session": "tuesday"}):
        listed = get(client, "detections", **asked)["detections"]
        assert again in listed
    assert get(client, "detections", session="wednesday") == {"detections": []}
    second = detect(client, uid=source.uid)
    names = {each["name"] for each in first["result"]["objects"]}
    assert {each["name"] for each in second["result"]["objects"]} == names
    elsewhere = detect(client, uid=source.uid, session_id="thursday")
    assert "embryo 1" in {each["name"] for each in elsewhere["result"]["objects"]}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"uid": "../../etc/passwd"}, 422, "is not a UID"),
        ({"uid": new_uid()}, 404, "no volume"),
        ({"detector": "guess"}, 422, "choose from: classical, sam"),
        ({"settings": {"length_um": -1}}, 422, "settings.length_um"),
        ({"settings": {"checkpoint": "/tmp/x"}}, 422, "settings.checkpoint: is unknown here"),
        ({"plane": 1}, 422, "planes 0 to 0, not 1"),
        ({"projection": "median"}, 422, "projection"),
        ({"timeout_s": 0}, 422, "timeout_s"),
    ],
)
def test_what_no_detector_could_answer_is_refused_by_its_field(
    client: TestClient, source: VolumeRecord, body: dict[str, Any], status: int, words: str
) -> None:
    response = client.post("/api/detections", json={"uid": source.uid, **body})
    assert response.status_code == status
    assert words in response.text


def test_a_label_image_is_no_volume_to_look_for_embryos_in_nor_a_volume_a_detection(
    client: TestClient, source: VolumeRecord
) -> None:
    (latest, *_) = get(client, "detections", source=source.uid)["detections"]
    response = client.post("/api/detections", json={"uid": latest["detection_uid"]})
    assert response.status_code == 422
    assert "name the volume that it is of" in response.text
    response = client.get(f"/api/detections/{source.uid}")
    assert response.status_code == 404
    assert client.get(f"/api/detections/{new_uid()}").status_code == 404


def test_a_detection_is_cancelled_leaves_no_file_and_cannot_be_cancelled_twice(
    client: TestClient, layer: DeviceLayer, source: VolumeRecord
) -> None:
    # Stopped, so that it is at work for as long as the test needs.
    process = psutil.Process(get(client, "detector")["pid"])
    process.suspend()
    response = client.post("/api/detections", json={"uid": source.uid, "timeout_s": 3600})
    uid = response.json()["detection_uid"]
    waiting = client.post("/api/detections", json={"uid": source.uid}).json()["detection_uid"]
    until(lambda: get(client, "detector")["working_on"] == uid)
    assert get(client, f"detections/{waiting}")["state"] == "queued"
    assert client.post(f"/api/detections/{waiting}/cancel").status_code == 200
    until(lambda: get(client, f"detections/{waiting}")["state"] == "cancelled")
    process.resume()
    until(lambda: get(client, f"detections/{uid}")["state"] == "completed")
    response = client.post(f"/api/detections/{uid}/cancel")
    assert response.status_code == 409
    assert "it is completed" in response.text
    assert layer.store.path(waiting).exists() is False


def test_what_the_detector_wrote_is_proven_before_it_counts(
    client: TestClient, layer: DeviceLayer, source: VolumeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = layer.store.verify

    def damaged(uid: str) -> VolumeRecord:
        path = layer.store.path(uid)
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
        return verify(uid)

    monkeypatch.setattr(layer.store, "verify", damaged)
    found = detect(client, uid=source.uid)
    assert found["state"] == "failed"
    assert "are not what was written there" in found["error"]
    assert layer.store.path(found["detection_uid"]).exists() is False
    assert found["detection_uid"] in {note.uid for note in layer.store.trashed()}


def test_sam_without_its_checkpoint_gives_the_classical_result_and_says_so(
    client: TestClient, source: VolumeRecord
) -> None:
    found = detect(client, uid=source.uid, detector="sam")
    assert (found["state"], found["result"]["detector"]) == ("completed", "classical")
    assert "no checkpoint of vit_b is set up" in found["result"]["fallback_reason"]
    assert len(found["result"]["objects"]) == len(PHANTOM.ovals)


def test_a_volume_that_was_just_taken_is_looked_at_where_the_stage_was(client: TestClient) -> None:
    item_uid = execute(client, "snap", exposure_ms=1)
    uid = ended(client, item_uid)["result"]["return_value"]["uid"]
    found = detect(client, uid=uid, plane=0)
    assert found["state"] == "completed"
    assert found["result"]["on_stage"] is True


def test_whoever_may_look_sees_detections_and_only_who_operates_has_any_done(
    client: TestClient, stranger: TestClient, layer: DeviceLayer, source: VolumeRecord
) -> None:
    viewer = key_for(layer, Scope.VIEW)
    for path in ("detections", "detector"):
        assert stranger.get(f"/api/{path}").status_code == 401
        assert stranger.get(f"/api/{path}", headers=viewer).status_code == 200
    response = stranger.post("/api/detections", json={"uid": source.uid}, headers=viewer)
    assert response.status_code == 403


def test_the_status_says_which_detectors_there_are_and_what_they_need(client: TestClient) -> None:
    status = get(client, "detector")
    assert status["state"] == "running"
    assert status["memory_bytes"] > 1e7
    assert status["memory_limit_bytes"] == 4e9
    kinds = {kind["name"]: kind for kind in status["detectors"]}
    assert kinds["sam"]["extra"] == "sam"
    assert "length_um" in kinds["classical"]["settings"]["properties"]


# ---------------------------------------------------------------------- in the middle of a plan


def test_a_plan_finds_embryos_in_what_it_has_just_taken(
    client: TestClient, layer: DeviceLayer
) -> None:
    item_uid = execute(client, "find_embryos", num_slices=2, exposure_ms=1, step_um=1)
    result = ended(client, item_uid)["result"]
    assert result["exit_status"] == "completed", result
    value = result["return_value"]
    (picture,) = value["pictures"]
    found = get(client, f"detections/{picture['detection_uid']}")
    assert (found["source_uid"], found["item_uid"]) == (picture["uid"], item_uid)
    told = [{key: each[key] for key in each} for each in value["objects"]]
    assert [each["name"] for each in told] == [o["name"] for o in found["result"]["objects"]]


def test_a_plan_detects_in_the_middle_and_goes_where_the_embryo_is(
    client: TestClient,
    layer: DeviceLayer,
    source: VolumeRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def visit(
        stage: XYStage = inject("xy_stage"), finder: Finder = inject("finder")
    ) -> MsgGenerator[str]:
        """Go to the first embryo."""
        found = yield from plans.detect(finder, source.uid)
        for each in found["objects"][:1]:
            yield from plans.move_stage(each["x_um"], each["y_um"], stage)
            return str(each["name"])
        return "nobody"

    monkeypatch.setattr(layer, "catalogue", Catalogue([visit], layer.devices))
    report = client.post("/api/plans/preflight", json={"item": plan("visit")}).json()
    assert report["ok"]
    assert "what finder finds is known only then" in report["warnings"][0]["message"]
    result = ended(client, execute(client, "visit"))["result"]
    (first, *_) = get(client, "detections", source=source.uid)["detections"][0]["result"]["objects"]
    assert result["return_value"] == first["name"]
    readings = get(client, "devices/xy_stage/read")["readings"]
    where = [reading["value"] for reading in readings.values()]
    assert where == pytest.approx([first["x_um"], first["y_um"]], abs=1)


def test_a_plan_that_asks_a_detector_that_there_is_not_is_refused_before_it_takes_anything(
    client: TestClient,
) -> None:
    item = plan("find_embryos", detector="guess")
    answer = client.post("/api/queue/item/execute", json={"item": item}).json()
    assert answer["success"] is False
    assert "detector: input should be 'classical' or 'sam'" in answer["msg"]


def test_a_plan_that_is_aborted_gives_its_detection_up(
    client: TestClient, layer: DeviceLayer
) -> None:
    """The last one here: it costs the process, which the next one would have to start."""
    process = psutil.Process(get(client, "detector")["pid"])
    process.suspend()
    try:
        item_uid = execute(client, "find_embryos", exposure_ms=1)
        until(lambda: get(client, "detector")["working_on"] is not None)
        uid = get(client, "detector")["working_on"]
        stopped = layer.stop("the test wants to")
        assert stopped.success
        assert ended(client, item_uid)["state"] == "aborted"
        until(lambda: get(client, f"detections/{uid}")["state"] == "cancelled")
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()
