"""Write the OpenAPI document of the twin anew: ``python -m tests.docs.openapi``."""

import json
import tempfile
from pathlib import Path
from typing import Any

from gently.api import SOCKETS
from gently.api.app import GROUPS
from gently.api.openapi import openapi_document
from gently.core.device_layer import DeviceLayer
from gently.settings import DeviceLayerSettings
from tests.docs.markdown import DOCS

FILE = DOCS / "reference" / "openapi.json"


def write(document: dict[str, Any], file: Path) -> None:
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    file.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as storage,
        DeviceLayer(DeviceLayerSettings(config="twin", storage=Path(storage))) as layer,
    ):
        write(openapi_document(GROUPS, SOCKETS, layer.catalogue), FILE)
