"""Keys and sessions over HTTP, as Bluesky's clients use them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from gently import local_key
from gently.core.access import Scope, Sessions
from gently.core.device_layer import DeviceLayer
from tests import API_KEY
from tests.api.talk import Answer, key_for

OWNER = local_key.owner()


def good(response: httpx2.Response) -> Any:
    assert response.status_code == 200, response.text
    return response.json()


def make_key(client: TestClient, **body: Any) -> Answer:
    answer: Answer = good(client.post("/api/auth/apikey", json=body))
    return answer


def with_key(answer: Answer) -> dict[str, str]:
    return {"Authorization": f"ApiKey {answer['secret']}"}


def log_in(client: TestClient, name: str = OWNER, password: str = API_KEY) -> Answer:
    form = {"username": name, "password": password}
    answer: Answer = good(client.post("/api/auth/provider/key/token", data=form))
    return answer


def bearer(tokens: Answer) -> dict[str, str]:
    return {"Authorization": f"Bearer {tokens['access_token']}"}


# ---------------------------------------------------------------------- keys


def test_a_new_key_is_told_once_with_what_it_is_good_for(client: TestClient) -> None:
    made = make_key(client, expires_in=3600, scopes=["propose"], note="night", name="owl")

    assert made["secret"].startswith(made["first_eight"])
    assert made["scopes"] == ["view", "propose"]
    expires = datetime.fromisoformat(made["expiration_time"]) - datetime.now(UTC)
    assert timedelta(seconds=3590) < expires <= timedelta(seconds=3600)
    known = good(client.get("/api/auth/apikey", headers=with_key(made)))
    assert known == {
        **{key: made[key] for key in ("first_eight", "expiration_time", "note", "scopes")},
        "latest_activity": known["latest_activity"],
    }


def test_one_who_makes_a_key_for_themselves_has_the_same_name(client: TestClient) -> None:
    own = make_key(client)
    who = good(client.get("/api/auth/whoami", headers=with_key(own)))
    assert who["identities"][0]["id"] == OWNER
    assert own["scopes"] == ["view", "propose", "operate", "admin"]
    assert own["expiration_time"] is None


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (["read:status", "read:queue"], ["view"]),
        (["read:status", "write:queue:edit"], ["view", "propose", "operate"]),
        (["inherit"], ["view", "propose", "operate", "admin"]),
        (["admin:apikeys"], ["view", "propose", "operate", "admin"]),
    ],
)
def test_blueskys_scopes_are_the_least_of_ours_that_includes_them(
    client: TestClient, asked: list[str], found: list[str]
) -> None:
    assert make_key(client, scopes=asked, name="ada")["scopes"] == found


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["everything"]}, "scopes"),
        ({"scopes": ["queue:read"]}, "scopes"),
        ({"expires_in": 0}, "expires_in"),
        ({"expires_in": 1e300}, "expires_in"),
        ({"note": "x" * 256}, "note"),
        ({"name": ""}, "name"),
        ({"kind": "robot"}, "kind"),
    ],
)
def test_what_cannot_be_a_key_is_refused_by_field(
    client: TestClient, body: Answer, field: str
) -> None:
    refused = client.post("/api/auth/apikey", json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == field


def test_nobody_makes_a_key_that_is_good_for_more_than_theirs(
    client: TestClient, layer: DeviceLayer
) -> None:
    headers = key_for(layer, Scope.OPERATE)
    for body in ({"scopes": ["admin"]}, {"name": "eve"}, {"kind": "agent"}):
        refused = client.post("/api/auth/apikey", json=body, headers=headers)
        assert refused.status_code == 403, body
    own = good(client.post("/api/auth/apikey", json={}, headers=headers))
    assert own["scopes"] == ["view", "propose", "operate"]


def test_a_revoked_key_opens_nothing(client: TestClient) -> None:
    made = make_key(client, name="owl")
    revoked = client.delete("/api/auth/apikey", params={"first_eight": made["first_eight"]})
    assert good(revoked) == {"success": True, "msg": ""}
    assert client.get("/api/status", headers=with_key(made)).status_code == 401
    again = client.delete("/api/auth/apikey", params={"first_eight": made["first_eight"]})
    assert again.status_code == 404


def test_keys_of_others_are_for_the_admin_to_revoke(client: TestClient, layer: DeviceLayer) -> None:
    made = make_key(client, name="owl", scopes=["operate"])
    refused = client.delete(
        "/api/auth/apikey",
        params={"first_eight": made["first_eight"]},
        headers=key_for(layer, Scope.OPERATE, name="bat"),
    )
    assert refused.status_code == 404
    assert good(client.get("/api/status", headers=with_key(made)))


# ---------------------------------------------------------------------- sessions


def test_a_login_gives_tokens_that_open_like_the_key(stranger: TestClient) -> None:
    tokens = log_in(stranger)
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == 900
    assert good(stranger.get("/api/status", headers=bearer(tokens)))
    with stranger.websocket_connect(
        "ws://127.0.0.1/api/status/ws", headers=bearer(tokens)
    ) as socket:
        assert socket.receive_json()["msg"]["status"]


@pytest.mark.parametrize(
    "form", [{}, {"username": OWNER}, {"username": "eve", "password": API_KEY}]
)
def test_a_login_with_a_wrong_name_or_key_is_refused(
    stranger: TestClient, form: dict[str, str]
) -> None:
    refused = stranger.post("/api/auth/provider/key/token", data=form)
    assert refused.status_code == 401
    assert "Name or key is wrong" in refused.json()["detail"]


def test_an_expired_token_is_told_in_the_words_that_clients_look_for_and_refreshed(
    stranger: TestClient, layer: DeviceLayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = layer.access
    brief = Sessions(access.keys._database, access.keys, access_s=0.0)
    monkeypatch.setattr(access, "sessions", brief)
    tokens = log_in(stranger)
    expired = stranger.get("/api/status", headers=bearer(tokens))
    assert expired.status_code == 401
    assert expired.json()["detail"].startswith("Access token has expired")
    monkeypatch.undo()

    body = {"refresh_token": tokens["refresh_token"]}
    again = good(stranger.post("/api/auth/session/refresh", json=body, headers=bearer(tokens)))

    assert good(stranger.get("/api/status", headers=bearer(again)))
    wrong = {"refresh_token": tokens["access_token"]}
    assert stranger.post("/api/auth/session/refresh", json=wrong).status_code == 401


def test_a_session_is_listed_and_ends_when_it_is_revoked(
    client: TestClient, stranger: TestClient
) -> None:
    made = make_key(client, name="ada lovelace", scopes=["operate"])
    tokens = log_in(stranger, "ada lovelace", made["secret"])
    who = good(stranger.get("/api/auth/whoami", headers=bearer(tokens)))
    (session,) = who["sessions"]
    assert not session["revoked"]
    assert who["api_key_scopes"] is None

    path = f"/api/auth/session/revoke/{session['uuid']}"
    assert good(client.delete(path)) == {"success": True, "msg": ""}

    assert stranger.get("/api/status", headers=bearer(tokens)).status_code == 401
    assert client.delete("/api/auth/session/revoke/nobody").status_code == 404


def test_logging_out_ends_the_session_and_leaves_keys_alone(
    client: TestClient, stranger: TestClient
) -> None:
    tokens = log_in(stranger)
    assert good(stranger.post("/api/auth/logout", headers=bearer(tokens))) == {}
    assert stranger.get("/api/status", headers=bearer(tokens)).status_code == 401
    assert good(client.post("/api/auth/logout")) == {}
    assert good(client.get("/api/status"))


def test_a_token_is_no_key_to_be_told_about(stranger: TestClient) -> None:
    refused = stranger.get("/api/auth/apikey", headers=bearer(log_in(stranger)))
    assert refused.status_code == 401
    assert "No API key was provided" in refused.json()["detail"]


# ---------------------------------------------------------------------- principals


def test_whoever_asks_is_told_who_they_are(client: TestClient, layer: DeviceLayer) -> None:
    headers = key_for(layer, Scope.PROPOSE, name="night owl", kind="agent")
    who = good(client.get("/api/auth/whoami", headers=headers))
    assert (who["type"], who["identities"][0]["id"]) == ("service", "night owl")
    assert who["scopes"] == who["api_key_scopes"] == ["view", "propose"]
    assert good(client.get("/api/auth/scopes", headers=headers)) == {
        "roles": ["propose"],
        "scopes": ["view", "propose"],
    }


def test_an_admin_sees_everybody_and_makes_keys_for_them(
    client: TestClient, layer: DeviceLayer
) -> None:
    key_for(layer, Scope.OPERATE, name="barn owl", kind="agent")
    everybody = good(client.get("/api/auth/principal"))
    (owl,) = (one for one in everybody if one["identities"][0]["id"] == "barn owl")
    assert good(client.get(f"/api/auth/principal/{owl['uuid']}")) == owl

    body = {"expires_in": 60, "scopes": ["view"]}
    another = good(client.post(f"/api/auth/principal/{owl['uuid']}/apikey", json=body))

    who = good(client.get("/api/auth/whoami", headers=with_key(another)))
    assert (who["uuid"], who["type"], len(who["api_keys"])) == (owl["uuid"], "service", 2)
    assert client.get("/api/auth/principal/nobody").status_code == 404
    assert client.post("/api/auth/principal/nobody/apikey", json=body).status_code == 404
