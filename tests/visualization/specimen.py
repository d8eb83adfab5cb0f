"""Volumes to look at: a synthetic embryo, and the way to put one into a store."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage import FrameInfo, VolumeRecord, VolumeSpec, VolumeStore, new_uid


def embryo(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.uint16]:
    """Return an ellipsoid of faint cytoplasm with bright nuclei, on a camera's offset and noise."""
    rng = np.random.default_rng(seed)
    z, y, x = ((np.arange(n, dtype=np.float32) + 0.5) * 2 / n - 1 for n in shape)
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    inside = 1 - (x / 0.82) ** 2 - (y / 0.55) ** 2 - (z / 0.9) ** 2
    counts = 100 + 220 / (1 + np.exp(-18 * inside.clip(-2, 2)))
    for _ in range(40):
        centre = rng.uniform(-0.62, 0.62, 3) * (0.9, 0.55 / 0.62 * 0.8, 1.1)
        if 1 - (centre[2] / 0.82) ** 2 - (centre[1] / 0.55) ** 2 - (centre[0] / 0.9) ** 2 < 0.15:
            continue
        away = ((z - centre[0]) / 0.2) ** 2 + ((y - centre[1]) / 0.07) ** 2
        away = away + ((x - centre[2]) / 0.07) ** 2
        counts = counts + rng.uniform(400, 1100) * np.exp(-(away**2))
    counts = counts + rng.normal(0, 1, shape) * np.sqrt(counts) * 0.6
    drawn: NDArray[np.uint16] = counts.clip(0, 65535).astype(np.uint16)
    return drawn


def keep(store: VolumeStore, pixels: NDArray[Any], **spec: Any) -> VolumeRecord:
    """Write an array of shape (z, y, x) into the store, as an acquisition would."""
    described = {
        "uid": new_uid(),
        "shape": pixels.shape,
        "dtype": str(pixels.dtype),
        "pixel_size_um": 0.1625,
        "step_um": 0.5,
        "exposure_ms": 5.0,
    }
    asked = VolumeSpec.model_validate(described | spec)
    with store.create(asked) as writer:
        for index, frame in enumerate(pixels):
            where = FrameInfo(index=index, delta_t_s=0.01 * index, z_um=asked.step_um * index)
            writer.write(frame, where)
        return writer.finish()
