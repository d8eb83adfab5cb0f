"""A device layer on Micro-Manager's demo configuration, as the tests use it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gently.core.device_layer import DeviceLayer
from gently.core.queue import Item
from gently.settings import DeviceLayerSettings
from tests import API_KEY


@contextmanager
def demo_layer(storage: Path) -> Iterator[DeviceLayer]:
    """Build a device layer, and close it."""
    with DeviceLayer(DeviceLayerSettings(config="demo", storage=storage)) as layer:
        yield layer


def put_back(layer: DeviceLayer) -> None:
    """Leave a device layer as the next test wants to find it."""
    assert layer.stop("the test is over").success
    layer.lock.unlock(API_KEY)
    layer.queue.set_mode(loop=False, ignore_failures=False)
    layer.queue.clear()
    layer.queue.clear_history()


def begin(layer: DeviceLayer, name: str, **kwargs: Any) -> Item:
    item = Item(name=name, kwargs=kwargs)
    layer.execute(item)
    return item


def ended(layer: DeviceLayer, item: Item) -> Item:
    assert layer.queue.wait_until_ended(item.item_uid, 30), f"{item.name} is stuck"
    return layer.queue.find(item.item_uid)
