"""The routes of runs: which there are, and their documents as they were emitted."""

import json

import httpx
import pytest
from starlette.testclient import TestClient

from gently.core.device_layer import DeviceLayer
from tests.api.talk import Client, ended, execute, get

UID = "5f0c3f8e-2b1d-4c57-9a63-7d1e8b42c90a"


def snap(client: Client) -> str:
    """Run a plan of one run and return the run's uid."""
    (run_uid,) = ended(client, execute(client, "snap", exposure_ms=1))["result"]["run_uids"]
    return str(run_uid)


def test_runs_are_listed_newest_first_with_their_start_and_stop(client: TestClient) -> None:
    older, newer = snap(client), snap(client)

    listed = get(client, "runs")["runs"]

    assert [run["run_uid"] for run in listed[:2]] == [newer, older]
    assert listed[0]["start"]["plan_name"] == "snap"
    assert listed[0]["stop"]["exit_status"] == "success"
    assert get(client, "runs", limit=1)["runs"] == listed[:1]


def test_the_documents_of_a_run_are_lines_of_json(served: httpx.Client, layer: DeviceLayer) -> None:
    run_uid = snap(served)

    response = served.get(f"/api/runs/{run_uid}/documents")

    assert response.headers["content-type"] == "application/x-ndjson"
    told = [json.loads(line) for line in response.text.splitlines()]
    assert told == [list(document) for document in layer.documents.replay(run_uid)]
    assert [name for name, _ in told] == [
        "start",
        "descriptor",
        "stream_resource",
        "stream_datum",
        "event",
        "stop",
    ]


@pytest.mark.parametrize("run_uid", ["nobody", "..%2F..%2Fstore.lock", UID])
def test_an_unknown_run_is_not_found(client: TestClient, run_uid: str) -> None:
    response = client.get(f"/api/runs/{run_uid}/documents")
    assert response.status_code == 404
    assert response.json()["detail"]
