"""What the routes work with."""

from typing import TypedDict

from gently.client import DeviceLayerClient
from gently.visualization.feed import VolumeFeed
from gently.visualization.images import VolumeImages
from gently.visualization.virtual_zarr import VirtualZarr
from storage import VolumeStore


class State(TypedDict):
    """What lives as long as the application does."""

    store: VolumeStore
    feed: VolumeFeed
    images: VolumeImages
    zarr: VirtualZarr
    device_layer: DeviceLayerClient | None
    heartbeat_s: float
