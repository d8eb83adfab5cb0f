"""Whatever is asked, the answer is one that the OpenAPI document knows, and never a 5xx."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gently.core.device_layer import DeviceLayer
from tests import API_KEY
from tests.demo import demo_layer

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
ENDLESS = "/api/events"
"""It answers for as long as one listens; its form is looked at in other tests."""


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[DeviceLayer]:
    """Give a device layer of its own: it is left locked with a key that nobody knows."""
    with demo_layer(tmp_path / "data") as layer:
        yield layer


def test_schemathesis_finds_nothing(served: httpx.Client, tmp_path: Path) -> None:
    """Coverage goes through the edges of each schema, fuzzing draws from it."""
    document = served.get("/api/openapi.json")
    (tmp_path / "openapi.json").write_bytes(document.content)
    options = {
        "--url": str(served.base_url),
        "--phases": "coverage,fuzzing",
        "--checks": ",".join(CHECKS),
        "--exclude-path": ENDLESS,
        "--max-examples": "4",
    }
    found = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            "openapi.json",
            *(word for option in options.items() for word in option),
            *("--header", f"Authorization: ApiKey {API_KEY}"),
            *("--generation-deterministic", "--continue-on-failure", "--no-color", "--no-shrink"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    operations = sum(len(methods) for methods in document.json()["paths"].values())
    assert f"Tested: {operations - 1}\n" in found.stdout
