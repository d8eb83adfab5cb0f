"""The threads that zarr-python starts once and keeps for the process's lifetime."""

import numpy as np
import zarr


def start_the_threads_of_zarr() -> None:
    """Start them now: a test that starts them would be held to have left them behind."""
    zarr.config.set({"threading.max_workers": 1})
    array = zarr.create_array({}, data=np.ones((4, 4)), chunks=(2, 2))
    np.testing.assert_array_equal(array[:], np.ones((4, 4)))
