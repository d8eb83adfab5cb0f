"""The OpenAPI document says what the table and the catalogue say, and is one."""

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient

from gently.api import ROUTES, SOCKETS
from gently.api.routes import ApiRoute
from gently.core.device_layer import DeviceLayer
from tests.api.talk import ended
from tests.waiting import until

Document = dict[str, Any]


@pytest.fixture
def document(client: TestClient) -> Document:
    found: Document = client.get("/api/openapi.json").json()
    return found


def operations(document: Document) -> dict[str, Document]:
    return {
        f"{method.upper()} {path}": operation
        for path, found in document["paths"].items()
        for method, operation in found.items()
    }


def test_it_is_valid_openapi(document: Document) -> None:
    OpenAPIV31SpecValidator(document).validate()


def test_it_has_every_route_and_each_plan_as_one(document: Document, layer: DeviceLayer) -> None:
    expected = {route.name for route in ROUTES if "{plan}" not in route.path}
    expected |= {f"POST /api/plans/{name}/execute" for name in layer.catalogue}
    assert set(operations(document)) == expected
    assert {socket["path"] for socket in document["x-websockets"]} == {s.path for s in SOCKETS}


def test_the_body_of_a_plan_is_what_the_catalogue_validates_it_by(
    document: Document, layer: DeviceLayer
) -> None:
    for name, entry in layer.catalogue.items():
        operation = operations(document)[f"POST /api/plans/{name}/execute"]
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][reference.rpartition("/")[2]]
        here = json.dumps(entry.json_schema["properties"]).replace("$defs", "components/schemas")
        assert schema["properties"] == json.loads(here)
        assert operation["summary"] == entry.description


def test_operations_and_models_have_names_of_their_own(document: Document) -> None:
    ids = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(ids)) == len(ids)
    # pydantic tells two models of one name apart by the modules that they are in
    assert not [name for name in document["components"]["schemas"] if "__" in name]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_each_parameter_of_a_path_is_described(route: ApiRoute) -> None:
    assert set(route.path_names) <= set(route.body.model_fields) | {"plan"}


def test_it_says_how_a_key_is_sent_and_what_it_has_to_be_good_for(document: Document) -> None:
    schemes = document["components"]["securitySchemes"]
    assert {name for scheme in document["security"] for name in scheme} == set(schemes)
    for route in ROUTES:
        if "{plan}" not in route.path:
            assert operations(document)[route.name]["x-scope"] == route.scope


# ---------------------------------------------------------------------- each plan as a route


def test_a_plan_is_run_by_its_own_route(client: TestClient) -> None:
    answer = client.post("/api/plans/move_focus/execute", json={"z_um": 3.5})

    assert answer.status_code == 200
    item = answer.json()["item"]
    assert (item["name"], item["kwargs"]) == ("move_focus", {"z_um": 3.5})
    assert ended(client, item["item_uid"])["state"] == "completed"


def test_a_wrong_argument_is_refused_by_field(client: TestClient) -> None:
    answer = client.post("/api/plans/move_focus/execute", json={"z_um": 1e6, "speed": 1})

    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {"speed"}


def test_a_plan_that_there_is_not_is_not_found_and_the_others_are_named(
    client: TestClient,
) -> None:
    answer = client.post("/api/plans/bleach/execute")

    assert answer.status_code == 404
    assert re.search("'bleach'.*acquire_volume", answer.json()["detail"])


def test_a_plan_is_refused_while_another_runs(client: TestClient) -> None:
    client.post("/api/plans/sleep/execute", json={"duration_s": 30})
    until(lambda: client.get("/api/status").json()["running_item_uid"] is not None)

    assert client.post("/api/plans/snap/execute").status_code == 409


def test_with_the_same_key_a_plan_is_run_once(client: TestClient) -> None:
    key = {"Idempotency-Key": "focus at seven"}
    asked = [
        client.post("/api/plans/move_focus/execute", json={"z_um": 7}, headers=key)
        for _ in range(2)
    ]

    assert len({answer.json()["item"]["item_uid"] for answer in asked}) == 1


def test_a_plan_respects_the_lock_of_the_environment(client: TestClient) -> None:
    client.post("/api/lock", json={"lock_key": "mine", "environment": True})

    assert client.post("/api/plans/snap/execute").status_code == 409
    unlocked = client.post("/api/plans/snap/execute?lock_key=mine")
    assert unlocked.status_code == 200, unlocked.text
