"""Bodies: what is no JSON object, or too much of it, is refused with the reason."""

from collections.abc import Iterator

import numpy as np
import pytest
from starlette.testclient import TestClient

from gently.api.messages import MAX_BODY_BYTES, Json

ROUTES_WITH_BODIES = ["queue/item/add", "queue/item/execute", "queue/start", "re/pause"]


@pytest.mark.parametrize("path", ROUTES_WITH_BODIES)
@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"{'item': 1}",
        b'{"item": ',
        b"\xff\xfe\x00",
        b'{"item": "\xff"}',
        b'{"item": "\\ud800"}',
        b"{} {}",
        b'{"item": ' + 100_000 * b"[" + 100_000 * b"]" + b"}",
        b"\x00",
        b" ",
    ],
)
def test_a_body_that_is_no_json_is_refused(client: TestClient, path: str, body: bytes) -> None:
    response = client.post(f"/api/{path}", content=body)

    assert response.status_code == 400
    assert response.json()["detail"].startswith("the body is no JSON: ")


@pytest.mark.parametrize("body", ["[]", "5", '"snap"', "null", "true"])
def test_a_body_that_is_no_object_is_refused(client: TestClient, body: str) -> None:
    response = client.post("/api/queue/item/add", content=body)

    assert response.status_code == 400
    assert "has to be a JSON object, not" in response.json()["detail"]


def test_a_body_that_is_too_large_is_refused(client: TestClient) -> None:
    body = b'{"item": "' + MAX_BODY_BYTES * b"x" + b'"}'

    response = client.post("/api/queue/item/add", content=body)

    assert response.status_code == 413
    assert f"larger than {MAX_BODY_BYTES} bytes" in response.json()["detail"]


def test_a_body_in_pieces_is_refused_as_soon_as_it_is_too_large(client: TestClient) -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        for _ in range(100):
            sent.append(1)
            yield 100_000 * b"x"

    assert client.post("/api/queue/item/add", content=pieces()).status_code == 413


def test_no_body_is_as_good_as_an_empty_one(client: TestClient) -> None:
    for answer in (client.post("/api/queue/clear"), client.post("/api/queue/clear", json={})):
        assert answer.json() == {"success": True, "msg": ""}


def test_what_json_has_no_word_for_is_sent_as_null_and_numpy_as_numbers() -> None:
    answer = Json(
        {"nan": float("nan"), "inf": float("-inf"), "x": np.float64(1.5), "n": np.int8(2)}
    )

    assert answer.body == b'{"nan":null,"inf":null,"x":1.5,"n":2}'
