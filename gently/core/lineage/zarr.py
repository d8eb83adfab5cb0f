"""Whether a folder is an OME-Zarr image, and what its largest level holds.

Zarr leaves out chunks that hold only the fill value, so that a lost chunk cannot be told
from one that was never written; the checksum of the folder tells it later.
"""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from gently.core.lineage.values import UNREADABLE


def inspect_zarr(path: Path) -> tuple[tuple[int, ...], str]:
    """Return the shape and dtype of level 0, or raise ValueError with what is wrong."""
    try:
        return _inspect(path)
    except UNREADABLE as error:
        raise ValueError(f"is not a readable OME-Zarr: {error}") from error


def _inspect(path: Path) -> tuple[tuple[int, ...], str]:
    if (path / "zarr.json").is_file():  # version 3, OME-Zarr 0.5
        attributes = _json(path / "zarr.json")["attributes"]["ome"]
        name, dtype = "zarr.json", "data_type"
    else:
        attributes = _json(path / ".zattrs")
        name, dtype = ".zarray", "dtype"
    levels = [_json(_within(path, level) / name) for level in _levels(attributes)]
    shapes = [tuple(map(int, level["shape"])) for level in levels]
    return shapes[0], np.dtype(levels[0][dtype]).name


def _levels(attributes: dict[str, Any]) -> list[str]:
    levels = [level["path"] for level in attributes["multiscales"][0]["datasets"]]
    if not levels:
        raise ValueError("its multiscales have no level")
    return levels


def _within(path: Path, level: str) -> Path:
    relative = PurePosixPath(level)
    if relative.is_absolute() or ".." in relative.parts:
        raise ValueError(f"its level {level!r} is outside of it")
    return path / relative


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
