"""Each volume is registered and announced once, whatever happens to the connection."""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gently.agent.follower import VolumeFollower
from gently.agent.image_manager import ImageManager
from gently.client import DeviceLayerClient
from storage import VolumeRecord, new_uid
from tests.scripted_device_layer import ScriptedDeviceLayer

Acquire = Callable[[], VolumeRecord]


class Heard:
    """What the follower announced and said, to be waited for."""

    def __init__(self) -> None:
        self.announced: list[str] = []
        self.said: list[str] = []
        self._changed = threading.Condition()

    def announce(self, metadata: Mapping[str, Any]) -> None:
        with self._changed:
            self.announced.append(str(metadata["uid"]))
            self._changed.notify_all()

    def notify(self, sentence: str) -> None:
        with self._changed:
            self.said.append(sentence)
            self._changed.notify_all()

    def wait_for(self, happened: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(happened, timeout=20), (self.announced, self.said)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def published(seq: int, uid: str) -> dict[str, Any]:
    return {"seq": seq, "time": 0.0, "kind": "volume.published", "uid": uid}


def follow(device_layer: DeviceLayerClient, images: ImageManager, heard: Heard) -> VolumeFollower:
    return VolumeFollower(device_layer, images, heard.announce, heard.notify)


def test_a_published_volume_is_registered_then_announced(
    server: ScriptedDeviceLayer,
    device_layer: DeviceLayerClient,
    images: ImageManager,
    acquire: Acquire,
    heard: Heard,
) -> None:
    with follow(device_layer, images, heard):
        heard.wait_for(lambda: any("connected" in s for s in heard.said))
        volume = acquire()
        server.publish(published(1, volume.uid))
        heard.wait_for(lambda: volume.uid in heard.announced)
    assert images.catch_up().registered == ()  # there was nothing left to register
    assert server.kinds == ["volume.published"]


def test_volumes_of_before_are_caught_up_with(
    device_layer: DeviceLayerClient, images: ImageManager, acquire: Acquire, heard: Heard
) -> None:
    volume = acquire()
    with follow(device_layer, images, heard):
        heard.wait_for(lambda: heard.announced == [volume.uid])


def test_volumes_on_disk_need_no_device_layer(
    images: ImageManager, acquire: Acquire, heard: Heard
) -> None:
    volume = acquire()
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    with (
        DeviceLayerClient(f"http://127.0.0.1:{port}") as nobody,
        follow(nobody, images, heard),
    ):
        heard.wait_for(lambda: heard.announced == [volume.uid])
        heard.wait_for(lambda: any("start_device_layer.py" in s for s in heard.said))
        # It appears, and is found without anybody's help.
        back = ScriptedDeviceLayer(port)
        back.answers["GET settings"] = {
            "storage": str(images.store.root),
            "instrument": "twin",
            "session_id": "s",
        }
        with back:
            heard.wait_for(lambda: any("connected" in s for s in heard.said))


def test_volumes_published_while_away_are_announced_on_return(
    server: ScriptedDeviceLayer,
    device_layer: DeviceLayerClient,
    images: ImageManager,
    acquire: Acquire,
    heard: Heard,
) -> None:
    lost = {"seq": 5, "time": 0.0, "kind": "events.lost", "first_available": 6}
    with follow(device_layer, images, heard):
        heard.wait_for(lambda: any("connected" in s for s in heard.said))
        volume = acquire()
        server.publish(lost)
        heard.wait_for(lambda: heard.announced == [volume.uid])


def test_a_volume_that_cannot_be_registered_is_told_and_the_next_is_taken(
    server: ScriptedDeviceLayer,
    device_layer: DeviceLayerClient,
    images: ImageManager,
    acquire: Acquire,
    heard: Heard,
) -> None:
    with follow(device_layer, images, heard):
        heard.wait_for(lambda: any("connected" in s for s in heard.said))
        volume = acquire()
        server.publish(published(1, new_uid()))
        server.publish({"seq": 2, "time": 0.0, "kind": "volume.published"})
        server.publish(published(3, volume.uid))
        heard.wait_for(lambda: heard.announced == [volume.uid])
    assert sum("could not be registered" in sentence for sentence in heard.said) == 2


def test_a_device_layer_that_writes_elsewhere_is_told(
    server: ScriptedDeviceLayer,
    device_layer: DeviceLayerClient,
    images: ImageManager,
    heard: Heard,
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "elsewhere"
    server.answers["GET settings"]["storage"] = str(elsewhere)
    with follow(device_layer, images, heard):
        heard.wait_for(lambda: any(f"--storage {elsewhere}" in s for s in heard.said))
