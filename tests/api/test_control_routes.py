"""The control lease over HTTP: commands say under which number they come."""

from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from gently.api import ROUTES
from gently.core.access import Scope
from gently.core.device_layer import DeviceLayer
from tests.api.talk import Answer, get, key_for, plan, post

Headers = dict[str, str]


@pytest.fixture
def ada(layer: DeviceLayer) -> Headers:
    return key_for(layer, Scope.OPERATE, name="ada")


@pytest.fixture
def owl(layer: DeviceLayer) -> Headers:
    return key_for(layer, Scope.OPERATE, name="owl", kind="agent")


@pytest.fixture(autouse=True)
def nobody_holds_it_afterwards(client: TestClient) -> Iterator[None]:
    yield
    lease = control(client, "acquire", take_over=True)
    control(client, "release", {"Gently-Lease": str(lease["number"])})


def control(
    client: TestClient, what: str, headers: Headers | None = None, status: int = 200, **body: Any
) -> Answer:
    answer = client.post(f"/api/control/{what}", json=body, headers=headers)
    assert answer.status_code == status, answer.text
    found: Answer = answer.json()
    return found


def under(lease: Answer, who: Headers) -> Headers:
    return {**who, "Gently-Lease": str(lease["number"])}


def add(client: TestClient, headers: Headers) -> int:
    body = {"item": plan("sleep", duration_s=0)}
    return client.post("/api/queue/item/add", json=body, headers=headers).status_code


def test_one_holds_the_microscope_and_the_others_are_told_who(
    client: TestClient, ada: Headers, owl: Headers
) -> None:
    assert get(client, "control")["holder"] is None
    assert add(client, owl) == 200

    lease = control(client, "acquire", ada, ttl_s=60, note="beads")

    assert get(client, "control") == lease
    assert (lease["holder"], lease["kind"], lease["note"]) == ("ada", "person", "beads")
    assert add(client, under(lease, ada)) == 200
    for headers in (owl, ada, under(lease, owl), {**ada, "Gently-Lease": "0"}):
        assert add(client, headers) == 409
    body = {"item": plan("sleep", duration_s=0)}
    refused = client.post("/api/queue/item/add", json=body, headers=owl).json()["detail"]
    assert "ada, a person, has the microscope since" in refused
    assert "(beads)" in refused
    assert len(get(client, "queue/get")["items"]) == 2


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.commands], ids=lambda route: route.name
)
def test_every_command_needs_the_lease_while_somebody_holds_it(
    client: TestClient, ada: Headers, route: Any
) -> None:
    control(client, "acquire", ada)
    path = route.template.replace("{", "").replace("}", "")
    refused = client.request(route.method, path)
    assert refused.status_code == 409
    assert "ada" in refused.json()["detail"]


def test_looking_and_stopping_need_none(client: TestClient, ada: Headers, owl: Headers) -> None:
    control(client, "acquire", ada)
    for path in ("status", "queue/get", "history/get", "control", "events?kinds=none&after=0"):
        if "events" not in path:
            assert client.get(f"/api/{path}", headers=owl).status_code == 200
    stopped = client.post("/api/stop", headers=owl)
    assert stopped.status_code == 200
    assert stopped.json()["success"]


def test_a_person_takes_over_from_an_agent_whose_late_command_is_refused(
    client: TestClient, ada: Headers, owl: Headers
) -> None:
    its = control(client, "acquire", owl)
    assert "take_over" in control(client, "acquire", ada, status=409)["detail"]
    hers = control(client, "acquire", ada, take_over=True)
    assert hers["number"] == its["number"] + 1
    assert add(client, under(its, owl)) == 409
    assert control(client, "renew", under(its, owl), status=409)["detail"].startswith("ada")
    assert control(client, "acquire", owl, status=409, take_over=True)
    assert add(client, under(hers, ada)) == 200


def test_the_lease_is_renewed_and_released_under_its_number(
    client: TestClient, ada: Headers
) -> None:
    lease = control(client, "acquire", ada, ttl_s=10)
    assert control(client, "renew", under(lease, ada), ttl_s=60)["expires"] > lease["expires"]
    assert "Gently-Lease" in control(client, "release", ada, status=409)["detail"]
    assert control(client, "release", under(lease, ada))["holder"] is None
    assert add(client, ada) == 200
    assert add(client, under(lease, ada)) == 409


@pytest.mark.parametrize("number", ["", "x", "-1", "1.0", "²"])
def test_what_is_no_number_is_refused(client: TestClient, number: str) -> None:
    headers = {"Gently-Lease": number.encode()}
    refused = client.post("/api/queue/clear", headers=headers)  # type: ignore[arg-type]
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "Gently-Lease"


@pytest.mark.parametrize("ttl_s", [0, -1, 3601, "60", None])
def test_a_lease_is_for_an_hour_at_most(client: TestClient, ttl_s: Any) -> None:
    if ttl_s == "60":
        pytest.skip("a number in a query is text")
    control(client, "acquire", status=422, ttl_s=ttl_s)


def test_each_change_is_an_event(client: TestClient, layer: DeviceLayer, ada: Headers) -> None:
    first = layer.events.last_seq
    lease = control(client, "acquire", ada)
    control(client, "release", under(lease, ada))
    said = [event.data["lease"] for event in layer.events.after(first) if event.kind == "control"]
    assert [event["holder"] for event in said] == ["ada", None]


def test_a_lease_does_not_open_the_lock_of_the_dialect(client: TestClient, ada: Headers) -> None:
    post(client, "lock", lock_key="mine", queue=True)
    lease = control(client, "acquire", ada)
    body = {"item": plan("sleep", duration_s=0)}
    refused = client.post("/api/queue/item/add", json=body, headers=under(lease, ada))
    assert "Invalid lock key" in refused.json()["msg"]
    unlock = client.post("/api/unlock", json={"lock_key": "mine"}, headers=under(lease, ada))
    assert unlock.json()["success"]
