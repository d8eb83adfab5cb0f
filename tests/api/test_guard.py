"""Nothing answers somebody whom nobody knows, and nobody does more than their key is good for."""

import base64
import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse

from gently.api import ROUTES
from gently.api.routes import ApiRoute
from gently.api.sockets import SOCKETS
from gently.core.access import Patience, Scope
from gently.core.device_layer import DeviceLayer
from tests import API_KEY
from tests.api.talk import get, key_for, plan, post

HOST = "ws://127.0.0.1"
UID = "0" * 32


@pytest.fixture
def at_once(layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to wait for being refused."""
    monkeypatch.setattr(layer.access, "patience", Patience(longest_s=0.0))


def url(route: ApiRoute) -> str:
    return route.template.replace("{uid}", UID).replace("{", "").replace("}", "")


def basic(password: str, name: str = "") -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


# ---------------------------------------------------------------------- whom nobody knows


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"ApiKey {UID}"}], ids=["none", "wrong"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_route_without_a_key_answers_401(
    stranger: TestClient, at_once: None, route: ApiRoute, headers: dict[str, str]
) -> None:
    answer = stranger.request(route.method, url(route), headers=headers)
    assert answer.status_code == 401
    assert answer.json().keys() == {"detail"}
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert UID not in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/api/nothing"), ("PATCH", "/api/status"), ("GET", "/docs")],
)
def test_what_is_no_route_does_not_tell_a_stranger_so(
    stranger: TestClient, method: str, path: str
) -> None:
    assert stranger.request(method, path).status_code == 401


@pytest.mark.parametrize("socket", SOCKETS, ids=lambda socket: socket.path)
@pytest.mark.parametrize("headers", [{}, {"Authorization": "ApiKey wrong"}], ids=["none", "wrong"])
def test_a_websocket_is_refused_before_it_is_accepted(
    stranger: TestClient, at_once: None, socket: Any, headers: dict[str, str]
) -> None:
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        stranger.websocket_connect(f"{HOST}{socket.path}", headers=headers),
    ):
        pass
    assert refused.value.status_code == 401


def test_a_stranger_does_not_get_to_send_a_body(stranger: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        yield b"x"
        pytest.fail("the body was read")

    assert stranger.post("/api/queue/item/add", content=endless()).status_code == 401


@pytest.mark.parametrize(
    "authorization",
    ["", "ApiKey", "ApiKey ", "Bearer ", "Basic ", "Basic %%%", "Basic /w==", "Digest x", "key"],
)
def test_what_is_no_key_is_none(stranger: TestClient, at_once: None, authorization: str) -> None:
    answer = stranger.get("/api/status", headers={"Authorization": authorization})
    assert answer.status_code == 401


# ---------------------------------------------------------------------- who comes with what


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"ApiKey {API_KEY}"},
        {"Authorization": f"apikey {API_KEY}"},
        basic(API_KEY),
        basic(API_KEY, "whoever"),
    ],
    ids=["ApiKey", "any case", "password", "password of somebody"],
)
def test_a_key_opens_in_each_of_its_forms(stranger: TestClient, headers: dict[str, str]) -> None:
    assert stranger.get("/api/status", headers=headers).status_code == 200
    with stranger.websocket_connect(f"{HOST}/api/status/ws", headers=headers) as socket:
        assert socket.receive_json()["msg"]["status"]["manager_state"] == "idle"


def test_a_key_in_the_address_opens_nothing(stranger: TestClient, layer: DeviceLayer) -> None:
    key = key_for(layer, Scope.VIEW)["Authorization"].removeprefix("ApiKey ")
    assert stranger.get("/api/status", params={"api_key": key}).status_code == 401


PAGES = {
    "elsewhere": {"Sec-Fetch-Site": "cross-site"},
    "another port": {"Sec-Fetch-Site": "same-site"},
    "another port, said by an old browser": {"Origin": "http://127.0.0.1:8080"},
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_page_cannot_use_the_password_that_the_browser_keeps_for_ours(
    stranger: TestClient, page: dict[str, str]
) -> None:
    refused = stranger.post("/api/stop", headers={**basic(API_KEY), **page})
    assert refused.status_code == 403
    assert "behind the back" in refused.json()["detail"]
    given = {"Authorization": f"ApiKey {API_KEY}", **page}
    assert stranger.get("/api/status", headers=given).status_code == 200


@pytest.mark.parametrize(
    "page",
    [
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1"},
    ],
    ids=["typed in", "one of ours"],
)
def test_our_own_pages_can(stranger: TestClient, page: dict[str, str]) -> None:
    assert stranger.get("/api/status", headers={**basic(API_KEY), **page}).status_code == 200


# ---------------------------------------------------------------------- what a key is good for


@pytest.mark.parametrize(
    ("route", "scope"),
    [
        (route, scope)
        for route in ROUTES
        for scope in Scope
        if scope < route.scope and not route.is_login
    ],
    ids=lambda value: value.name if isinstance(value, ApiRoute) else str(value),
)
def test_every_route_with_too_small_a_scope_answers_403(
    client: TestClient, layer: DeviceLayer, route: ApiRoute, scope: Scope
) -> None:
    refused = client.request(route.method, url(route), headers=key_for(layer, scope))
    assert refused.status_code == 403
    assert f"the scope {route.scope} or more" in refused.json()["detail"]


@pytest.mark.parametrize("scope", list(Scope))
def test_whoever_may_look_may_stop(client: TestClient, layer: DeviceLayer, scope: Scope) -> None:
    answer = client.post("/api/stop", headers=key_for(layer, scope))
    assert answer.status_code == 200
    assert answer.json()["success"]


def test_an_item_says_who_has_asked_for_it(client: TestClient, layer: DeviceLayer) -> None:
    headers = key_for(layer, Scope.OPERATE, name="grace")
    body = {"item": plan("sleep", duration_s=0)}
    added = client.post("/api/queue/item/add", json=body, headers=headers).json()["item"]
    assert added["user"] == "grace"
    (waiting,) = get(client, "queue/get")["items"]
    assert waiting["user"] == "grace"


# ---------------------------------------------------------------------- those who guess


@pytest.fixture
def waited(layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long those who guess had to wait, without that they do."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(anyio, "sleep", sleep)
    patience = Patience(at_once=3, every_s=1.0, longest_s=10.0, clock=lambda: 0.0)
    monkeypatch.setattr(layer.access, "patience", patience)
    return found


def test_those_who_guess_wait_and_whoever_has_the_key_does_not(
    stranger: TestClient, waited: list[float]
) -> None:
    wrong = {"Authorization": "ApiKey wrong"}
    for _ in range(6):
        assert stranger.get("/api/status", headers=wrong).status_code == 401
        right = {"Authorization": f"ApiKey {API_KEY}"}
        assert stranger.get("/api/status", headers=right).status_code == 200
        assert stranger.get("/api/status").status_code == 401
    assert waited == [0, 0, 0, 1, 2, 3]


def test_so_do_those_who_guess_at_the_login(stranger: TestClient, waited: list[float]) -> None:
    for number in range(3):
        form = {"username": "ada", "password": f"guess {number}"}
        assert stranger.post("/api/auth/provider/key/token", data=form).status_code == 401
        refresh = {"refresh_token": f"guess {number}"}
        assert stranger.post("/api/auth/session/refresh", json=refresh).status_code == 401
    assert waited == [0, 0, 0, 1, 2, 3]


# ---------------------------------------------------------------------- what is never told


def test_no_key_comes_out_in_an_answer_an_event_or_the_log(
    client: TestClient,
    stranger: TestClient,
    layer: DeviceLayer,
    at_once: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = layer.events.last_seq
    made = client.post("/api/auth/apikey", json={"name": "owl", "scopes": ["view"]}).json()
    wrong = "a-wrong-key-that-somebody-typed"
    with caplog.at_level(logging.DEBUG):
        told = [
            stranger.get("/api/status", headers={"Authorization": f"ApiKey {wrong}"}).text,
            stranger.get("/api/status", headers=basic(wrong)).text,
            stranger.post(
                "/api/auth/provider/key/token", data={"username": "ada", "password": wrong}
            ).text,
            client.get("/api/auth/whoami").text,
            client.get("/api/auth/principal").text,
            client.get("/api/settings").text,
            client.get("/api/control").text,
            str(post(client, "lock", lock_key="the-key-of-the-lock", queue=True)),
            str(post(client, "queue/clear", lock_key="the-wrong-key-of-the-lock")),
            str(post(client, "unlock", lock_key=API_KEY)),
            get(client, "console_output", nlines=10_000)["text"],
            caplog.text,
            *(str(event.message()) for event in layer.events.after(first)),
        ]
    secrets = (API_KEY, wrong, made["secret"][8:], "the-key-of-the-lock", "the-wrong-key-of")
    for text in told:
        assert not [secret for secret in secrets if secret in text], text
