"""Files of each format that the data store can check, as other programs write them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import tifffile

SHAPE = (2, 8, 12)
PIXELS = np.arange(np.prod(SHAPE), dtype=np.uint16).reshape(SHAPE)


def write_zarr(path: Path) -> None:
    """Write OME-Zarr 0.5 with one level of one chunk."""
    multiscales = [{"axes": [], "datasets": [{"path": "0"}]}]
    group = {"node_type": "group", "attributes": {"ome": {"multiscales": multiscales}}}
    (path / "0" / "c" / "0" / "0").mkdir(parents=True)
    (path / "zarr.json").write_text(json.dumps(group))
    array = {"node_type": "array", "shape": list(SHAPE), "data_type": "uint16"}
    (path / "0" / "zarr.json").write_text(json.dumps(array))
    (path / "0" / "c" / "0" / "0" / "0").write_bytes(PIXELS.tobytes())


def write_old_zarr(path: Path) -> None:
    """Write OME-Zarr 0.4 with one level of one chunk."""
    (path / "0").mkdir(parents=True)
    attributes = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    (path / ".zattrs").write_text(json.dumps(attributes))
    (path / "0" / ".zarray").write_text(json.dumps({"shape": list(SHAPE), "dtype": "<u2"}))
    (path / "0" / "0.0.0").write_bytes(PIXELS.tobytes())


def write_parquet(path: Path) -> None:
    """Write what a Parquet file has at its ends; no reader looks at the rest here."""
    footer = b"the footer"
    path.write_bytes(b"PAR1" + bytes(100) + footer + len(footer).to_bytes(4, "little") + b"PAR1")


IMAGES: Mapping[str, Callable[[Path], object]] = {
    "a.ome.tif": lambda path: tifffile.imwrite(path, PIXELS, ome=True),
    "a.tiff": lambda path: tifffile.imwrite(path, PIXELS),
    "a.ome.zarr": write_zarr,
    "a.zarr": write_old_zarr,
}
OTHERS: Mapping[str, Callable[[Path], object]] = {
    "a.npy": lambda path: np.save(path, PIXELS),
    "a.csv": lambda path: path.write_text("z,y,x\n1,2,3\n"),
    "a.tsv": lambda path: path.write_text("z\ty\n1\t2\n"),
    "a.parquet": write_parquet,
}
KNOWN = {**IMAGES, **OTHERS}


def sample(folder: Path, name: str) -> Path:
    """Write one of them."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    KNOWN[name](path)
    return path
