"""How the device layer is spoken to: the replies, the errors, the transport, the events.

The only package that imports an HTTP library. Users want `gently.client`.
"""

from gently.wire.errors import ClientError, DeviceLayerFault, DeviceLayerUnreachable, Refused
from gently.wire.events import EventStream
from gently.wire.replies import (
    Device,
    DeviceReading,
    Event,
    FieldError,
    HistoryItem,
    Item,
    ItemState,
    Plan,
    Progress,
    Queue,
    Reading,
    Reply,
    Result,
    ServerSettings,
    Status,
    StoppedDevice,
    StopReport,
    Volume,
)
from gently.wire.transport import DEFAULT_URL, Transport, read

__all__ = [
    "DEFAULT_URL",
    "ClientError",
    "Device",
    "DeviceLayerFault",
    "DeviceLayerUnreachable",
    "DeviceReading",
    "Event",
    "EventStream",
    "FieldError",
    "HistoryItem",
    "Item",
    "ItemState",
    "Plan",
    "Progress",
    "Queue",
    "Reading",
    "Refused",
    "Reply",
    "Result",
    "ServerSettings",
    "Status",
    "StopReport",
    "StoppedDevice",
    "Transport",
    "Volume",
    "read",
]
