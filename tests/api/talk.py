"""What a client of the API does again and again."""

from typing import Any
from uuid import uuid4

import httpx
from starlette.testclient import TestClient

from gently.core.access import Scope
from gently.core.device_layer import DeviceLayer
from tests import API_KEY
from tests.waiting import until

Answer = dict[str, Any]
Client = TestClient | httpx.Client


def key_for(layer: DeviceLayer, scope: Scope, **more: Any) -> dict[str, str]:
    """Make a key, and return it as a header."""
    local = layer.access.keys.check(API_KEY).principal
    whose = {"name": f"somebody {uuid4().hex[:6]}", **more}
    return {"Authorization": f"ApiKey {layer.access.keys.create(local, scope=scope, **whose)[1]}"}


def post(client: Client, path: str, **body: Any) -> Answer:
    """Return the answer of a dialect route, which is 200 whatever became of it."""
    response = client.post(f"/api/{path}", json=body)
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


def get(client: Client, path: str, **query: Any) -> Answer:
    response = client.get(f"/api/{path}", params=query)
    assert response.status_code == 200, response.text
    answer: Answer = response.json()
    return answer


def plan(name: str, /, **kwargs: Any) -> Answer:
    return {"item_type": "plan", "name": name, "kwargs": kwargs}


def add(client: Client, name: str, /, **kwargs: Any) -> str:
    """Queue a plan and return its uid."""
    answer = post(client, "queue/item/add", item=plan(name, **kwargs))
    assert answer["success"], answer
    return str(answer["item"]["item_uid"])


def execute(client: Client, name: str, /, **kwargs: Any) -> str:
    """Run a plan now and return its uid."""
    answer = post(client, "queue/item/execute", item=plan(name, **kwargs))
    assert answer["success"], answer
    return str(answer["item"]["item_uid"])


def ended(client: Client, item_uid: str) -> Answer:
    """Wait for an item to end and return what is said of it."""
    until(lambda: item_uid not in _present(client))
    return get(client, f"items/{item_uid}")


def _present(client: Client) -> list[str]:
    queue = get(client, "queue/get")
    return [item["item_uid"] for item in [*queue["items"], queue["running_item"]] if item]
