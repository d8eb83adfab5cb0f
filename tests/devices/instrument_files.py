"""Instrument files with something wrong in them."""

from pathlib import Path
from typing import Any

import yaml

from devices import built_in_instruments

DEMO = built_in_instruments()["demo"].read_text(encoding="utf-8")


def write(folder: Path, text: str) -> str:
    path = folder / "rig.yml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def changed(where: str, value: object) -> str:
    """Return the demo's file with one key, such as ``devices.focus.label``, set or removed."""
    content: dict[str, Any] = yaml.safe_load(DEMO)
    *path, last = where.split(".")
    inner = content
    for key in path:
        inner = inner[key]
    if value is REMOVED:
        del inner[last]
    else:
        inner[last] = value
    return yaml.safe_dump(content)


REMOVED = object()
