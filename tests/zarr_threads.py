"""The threads that zarr-python and fsspec start once and keep for the process's lifetime.

A test that starts them would be held to have left them behind.
"""

from pathlib import Path

import numpy as np
import pytest
import zarr

from gently.visualization import VizServer, VolumeFeed
from storage import VolumeStore


def start_the_threads_of_zarr() -> None:
    """Start zarr-python's now."""
    zarr.config.set({"threading.max_workers": 1})
    array = zarr.create_array({}, data=np.ones((4, 4)), chunks=(2, 2))
    np.testing.assert_array_equal(array[:], np.ones((4, 4)))


def start_the_threads_of_http(folder: Path) -> None:
    """Start those too with which it reads by URL."""
    start_the_threads_of_zarr()
    with (
        VizServer(VolumeStore(folder), VolumeFeed(), port=0) as viz,
        pytest.raises(FileNotFoundError),
    ):
        zarr.open(f"{viz.url}volumes/{'0' * 32}.zarr", mode="r")
