"""Volumes for tests: frames that carry their own slice, so that order is proven after reading."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from storage import FrameInfo, VolumeRecord, VolumeSpec, VolumeStore, VolumeWriter, new_uid

Pixels = npt.NDArray[np.generic]


def make_spec(**changes: Any) -> VolumeSpec:
    """Return a small, complete spec with a fresh UID."""
    values: dict[str, Any] = {
        "uid": new_uid(),
        "shape": (5, 32, 64),
        "dtype": "uint16",
        "pixel_size_um": 0.1625,
        "step_um": 0.5,
        "exposure_ms": 5.0,
        "session_id": "morning",
        "item_uid": "item-1",
        "run_uid": "run-1",
        "plan_name": "acquire_volume",
        "instrument": "twin",
        "camera": "HamCam1",
        "positions_um": {"xy_stage.x": 12.5, "xy_stage.y": -3.25, "focus": 40.0},
        "metadata": {"num_slices": 5, "note": "<&> é"},
    }
    return VolumeSpec.model_validate(values | changes)


def make_pixels(spec: VolumeSpec) -> Pixels:
    """Return seeded noise in which each slice begins with its own index."""
    noise = np.random.default_rng(7).integers(0, 255, spec.shape)
    noise[:, 0, 0] = np.arange(spec.shape[0])
    return noise.astype(spec.dtype)


def info(index: int) -> FrameInfo:
    """Return what a frame of a steady acquisition knows."""
    return FrameInfo(index=index, delta_t_s=0.1 * index, z_um=10 + 0.5 * index)


def fill(writer: VolumeWriter, pixels: Pixels, order: Iterable[int] | None = None) -> None:
    """Write all slices, or those of `order`."""
    for index in range(len(pixels)) if order is None else order:
        writer.write(pixels[index], info(index))


def write_volume(store: VolumeStore, spec: VolumeSpec | None = None) -> VolumeRecord:
    """Write one finished volume."""
    spec = spec or make_spec()
    with store.create(spec) as writer:
        fill(writer, make_pixels(spec))
        return writer.finish()


def names(store: VolumeStore) -> list[str]:
    """Return the names in the store's folder."""
    return sorted(path.name for path in store.volumes.iterdir())
