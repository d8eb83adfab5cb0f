"""Who sees volumes: whoever comes with the key of this machine, or by the link, and nobody else."""

import base64
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from gently import local_key
from gently.client import DeviceLayerClient
from gently.visualization import Door, VolumeFeed, create_app
from storage import VolumeStore
from tests import API_KEY
from tests.scripted_device_layer import ScriptedDeviceLayer
from tests.visualization.specimen import embryo, keep

ASKED = ["/api/volumes", "/api/events", "/api/control", f"/api/images/{'0' * 32}", "/nothing"]
BASIC = base64.b64encode(f":{API_KEY}".encode()).decode()


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def stranger(store: VolumeStore, feed: VolumeFeed, door: Door) -> Iterator[TestClient]:
    with TestClient(create_app(store, feed, door), base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("path", ASKED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "ApiKey another-key-of-16"},
        {"Authorization": "Basic ***"},
        {"Authorization": f"Bearer {API_KEY}"},
        {"Cookie": "gently-page-127.0.0.1=guess"},
    ],
)
def test_without_the_key_nothing_is_told(
    stranger: TestClient, path: str, headers: dict[str, str]
) -> None:
    refused = stranger.get(path, headers=headers)
    assert refused.status_code == 401
    assert "python -m gently.local_key" in refused.json()["detail"]
    assert "basic" not in refused.headers["www-authenticate"].lower(), "no dialog on an old page"


def test_stop_and_the_page_itself_need_it_too(stranger: TestClient) -> None:
    assert stranger.post("/api/stop").status_code == 401
    page = stranger.get("/")
    assert (page.status_code, "<form" in page.text) == (401, True)
    assert stranger.get("/static/style.css").status_code == 200


@pytest.mark.parametrize("given", [f"ApiKey {API_KEY}", f"Basic {BASIC}"])
def test_the_key_opens_in_each_of_its_forms(stranger: TestClient, given: str) -> None:
    assert stranger.get("/api/volumes", headers={"Authorization": given}).status_code == 200


def test_the_link_and_the_form_let_a_browser_in_for_as_long_as_the_process_lives(
    stranger: TestClient, door: Door
) -> None:
    stranger.follow_redirects = False
    for method, path, form in (
        ("GET", f"/enter?ticket={door.ticket}", {}),
        ("POST", "/enter", {"key": API_KEY}),
    ):
        answer = stranger.request(method, path, data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert API_KEY not in cookie
        assert door.ticket.lower() not in cookie
        assert stranger.get("/api/volumes").status_code == 200
        stranger.cookies.clear()
    assert stranger.get("/enter?ticket=old").status_code == 401
    assert stranger.post("/enter", data={"key": "k" * 5000}).status_code == 401
    assert stranger.get("/api/volumes").status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://x.org"}],
)
def test_a_browser_that_was_let_in_is_not_used_by_other_pages(
    stranger: TestClient, door: Door, headers: dict[str, str]
) -> None:
    stranger.get(f"/enter?ticket={door.ticket}")
    assert stranger.get("/api/volumes", headers=headers).status_code == 403
    assert stranger.post("/api/stop", headers=headers).status_code == 403
    assert stranger.get("/", headers=headers).status_code == 200, "it may be linked to"
    stranger.cookies.clear()
    assert stranger.post("/enter", data={"key": API_KEY}, headers=headers).status_code == 401


def test_who_knows_a_uid_reads_that_volume_as_viewers_on_websites_do(
    stranger: TestClient, store: VolumeStore
) -> None:
    uid = keep(store, embryo((2, 16, 16))).uid
    for path in (f"/volumes/{uid}.tif", f"/volumes/{uid}.zarr/zarr.json"):
        assert stranger.get(path, headers={"Origin": "http://viewer.org"}).status_code == 200


@pytest.mark.parametrize("path", ["/volumes/../api/volumes", "/volumes/%2e%2e/api/volumes"])
def test_no_path_leads_around_the_door(stranger: TestClient, path: str) -> None:
    assert stranger.get(path).status_code in (401, 404, 422)


def test_without_a_key_on_this_machine_the_link_is_the_only_way_in(
    store: VolumeStore, feed: VolumeFeed
) -> None:
    def unreadable() -> str | None:
        raise local_key.LocalKeyError("others can read it")

    for find in (lambda: None, unreadable):
        door = Door(find)
        with TestClient(create_app(store, feed, door), base_url="http://127.0.0.1") as client:
            for given in (API_KEY, "", "None"):
                headers = {"Authorization": f"ApiKey {given}"}
                assert client.get("/api/volumes", headers=headers).status_code == 401
            assert client.get(f"/enter?ticket={door.ticket}").status_code == 200


# ---------------------------------------------------------------------- the microscope


def test_control_and_stop_are_told_as_the_device_layer_tells_them(
    store: VolumeStore, feed: VolumeFeed, door: Door, client: TestClient
) -> None:
    assert client.get("/api/control").json() is None, "this page has no device layer"
    assert client.post("/api/stop").status_code == 404
    headers = {"Authorization": f"ApiKey {API_KEY}"}
    with ScriptedDeviceLayer() as server, DeviceLayerClient(server.url) as device_layer:
        app = create_app(store, feed, door, device_layer=device_layer)
        server.answers["GET control"] = {"number": 3, "holder": "ada", "kind": "person"}
        server.answers["POST stop"] = {"success": True, "devices": {}}
        with TestClient(app, base_url="http://127.0.0.1", headers=headers) as page:
            told = page.get("/api/control").json()
            assert (told["holder"], told["told"]) == ("ada", "ada, a person, has control")
            assert page.post("/api/stop").json()["told"] == ["everything stopped"]
            assert page.post("/api/stop?force=1").status_code == 422
            server.answers["GET control"] = (409, {"detail": "the disk is gone"})
            broken = page.get("/api/control")
            assert (broken.status_code, "the disk is gone" in broken.text) == (502, True)
