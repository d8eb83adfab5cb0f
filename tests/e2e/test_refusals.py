"""Bad input gets a clear refusal, before anything moves."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests import AUTHORIZATION
from tests.e2e.conftest import Script, device_layers

REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "out of limits": (
        {"name": "move_stage", "kwargs": {"x_um": 5000, "y_um": 0}},
        "x_um",
        "-2252.1 to 983 µm",
    ),
    "a string for a number": (
        {"name": "move_stage", "kwargs": {"x_um": "10", "y_um": 0}},
        "x_um",
        "number",
    ),
    "a truth value for a number": (
        {"name": "move_focus", "kwargs": {"z_um": True}},
        "z_um",
        "number",
    ),
    "an unknown device": (
        {"name": "move_focus", "kwargs": {"z_um": 100, "drive": "elevator"}},
        "drive",
        "piezo",
    ),
    "a device of the wrong type": (
        {"name": "move_stage", "kwargs": {"x_um": 0, "y_um": 0, "stage": "focus"}},
        "stage",
        "xy_stage",
    ),
    "an unknown key": (
        {"name": "snap", "kwargs": {"exposure": 5}},
        "exposure",
        "exposure_ms",
    ),
    "a missing key": ({"name": "move_stage", "kwargs": {"x_um": 0}}, "y_um", "missing"),
    "an unknown plan": ({"name": "jump", "kwargs": {}}, "name", "acquire_volume"),
    "a sweep beyond the piezo": (
        {"name": "acquire_volume", "kwargs": {"num_slices": 1000, "step_um": 1}},
        "step_um",
        "-200 to 200 µm",
    ),
    "no plan at all": ({"name": "f", "item_type": "function"}, "item_type", "plans"),
}


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    """One that is asked for nothing it does."""
    with device_layers(tmp_path_factory.mktemp("refusals")) as begin:
        yield begin()


def test_each_names_the_field_and_what_is_allowed(layer: Script) -> None:
    with layer.client() as client:
        before = client.read_device("xy_stage").readings["xy_stage_x"].value
        for case, (item, field, words) in REFUSED.items():
            body = {"item": {"item_type": "plan", **item}}
            for route in ("execute", "add"):
                answer = httpx2.post(
                    f"{layer.url}/api/queue/item/{route}", json=body, headers=AUTHORIZATION
                )
                assert answer.status_code == 200, case
                refused = answer.json()
                assert refused["success"] is False, case
                assert field in [error["field"] for error in refused["errors"]], (case, refused)
                assert words in refused["msg"], (case, refused)
        assert client.history() == []
        assert client.read_device("xy_stage").readings["xy_stage_x"].value == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_finite_number_is_refused(layer: Script, number: str) -> None:
    item = '{"item_type": "plan", "name": "move_focus", "kwargs": {"z_um": NUMBER}}'
    body = f'{{"item": {item.replace("NUMBER", number)}}}'
    answer = httpx2.post(f"{layer.url}/api/queue/item/execute", content=body, headers=AUTHORIZATION)
    assert answer.json()["success"] is False
    assert "z_um" in answer.json()["msg"]


def test_what_is_no_json_object_is_refused(layer: Script) -> None:
    for body in ("stop", "[1, 2]", '"x"', "{", "[" * 100_000):
        answer = httpx2.post(
            f"{layer.url}/api/queue/item/execute", content=body, headers=AUTHORIZATION
        )
        assert answer.status_code == 400, body[:10]
        assert "JSON" in answer.json()["detail"]


def test_a_path_in_place_of_a_uid_is_refused(layer: Script) -> None:
    for path in ("..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "x.tif", "0" * 31, "A" * 32):
        answer = httpx2.get(f"{layer.url}/api/volumes/{path}", headers=AUTHORIZATION)
        assert answer.status_code == 422, path
        assert "UID" in answer.json()["detail"]
    absent = httpx2.get(f"{layer.url}/api/volumes/{'0' * 32}", headers=AUTHORIZATION)
    assert absent.status_code == 404
