"""Follows the device layer: each published volume is registered and shown, without being asked."""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from pydantic import JsonValue

from gently.agent.image_manager import ImageManager
from gently.client import DeviceLayerClient
from gently.core.data_store import DataStoreError
from gently.wire import ClientError, Event
from storage import StorageError

LOGGER = logging.getLogger(__name__)


class VolumeFollower:
    """A thread that hears of each volume; a context manager around its life.

    It goes on when the device layer goes away and comes back, and then catches up from
    disk with what it has missed.

    Parameters
    ----------
    device_layer : DeviceLayerClient
        Whose events are followed.
    images : ImageManager
        Registers the volumes.
    announce : callable
        Called in this thread with the metadata of each volume that was new.
    notify : callable
        Called in this thread with a sentence that a person should read.
    """

    def __init__(
        self,
        device_layer: DeviceLayerClient,
        images: ImageManager,
        announce: Callable[[Mapping[str, JsonValue]], None],
        notify: Callable[[str], None],
    ) -> None:
        self._device_layer = device_layer
        self._images = images
        self._announce = announce
        self._notify = notify
        self._events = device_layer.events(
            kinds=["volume.published"],
            on_connect=self._connected,
            on_lost=self._lost,
            timeout_s=math.inf,
            patience_s=math.inf,
        )
        self._thread = threading.Thread(target=self._follow, name="volume-follower")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._events.close()
        self._thread.join()

    def _follow(self) -> None:
        self._catch_up()
        for event in self._events:
            if event.kind == "volume.published":
                self._published(event)
            else:  # events.lost: some volumes may be among them
                self._catch_up()

    def _published(self, event: Event) -> None:
        try:
            record = self._images.register(str(event.data.get("uid")))
        except DataStoreError as error:
            self._notify(f"a volume was published but could not be registered: {error}")
        else:
            self._announce(record.metadata)

    def _connected(self) -> None:
        try:
            settings = self._device_layer.settings()
        except ClientError as error:
            self._notify(str(error))
            return
        self._notify(f"connected to {self._device_layer.url} ({settings.instrument})")
        if settings.storage.resolve() != self._images.store.root.resolve():
            self._notify(
                f"the device layer writes to {settings.storage}, and this copilot reads "
                f"{self._images.store.root}: start it again with --storage {settings.storage}"
            )
        self._catch_up()

    def _lost(self, error: ClientError) -> None:
        self._notify(f"{error}. Trying again until it is there")

    def _catch_up(self) -> None:
        try:
            found = self._images.catch_up()
        except (DataStoreError, StorageError, OSError) as error:
            self._notify(f"volumes on disk could not be registered: {error}")
            return
        for reason in found.refused:
            LOGGER.warning("not registered: %s", reason)
        for record in found.registered:
            self._announce(record.metadata)
